"""Every recipe trains a student, and its names are read as they are written."""

import json
from pathlib import Path

import pytest
import yaml
from command_line import flags
from tiny import named_model, tiny_rows

from hf_distill.cli import main
from hf_distill.objectives.hard_labels import HardLabels

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = sorted(path.name for path in RECIPES.glob("*.yaml"))
OTHERS = [name for name in NAMES if name != "distill.yaml"]  # the test of the README runs distill.yaml


def train(folder, recipe, output_dir, **changes):
    unset = {"student_num_hidden_layers": None, "per_device_train_batch_size": None}
    settings = {"config": recipe, "teacher_cache_dir": output_dir / "cache", "max_steps": 1, **unset, **changes}
    main(["train", *flags(folder, output_dir / "student", **settings)])
    return json.loads((output_dir / "student" / "distillation.json").read_text())


@pytest.mark.parametrize("name", OTHERS)
def test_a_recipe_trains_a_student_with_its_settings(folder, tmp_path, name, capsys):
    changes = {"student_static_dim": 8} if name == "static.yaml" else {}  # the tiny teacher has 16 dimensions
    record = train(folder, RECIPES / name, tmp_path, **changes)
    recipe = yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))
    for setting in ("learning_rate", "warmup_steps"):
        assert record["training"][setting] == recipe[setting]
    assert record["training"]["total_train_batch_size"] == recipe["per_device_train_batch_size"]
    assert "baseline (no teacher)" in capsys.readouterr().out
    num_variants = record["dataset"]["unlabelled_rows"]  # at most 4 for each of 24 rows; equal ones are dropped
    assert num_variants > 24 if name == "augment.yaml" else num_variants == 0


def test_no_recipe_sets_what_some_machines_or_problem_types_cannot_do():
    for name in NAMES:
        recipe = yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))
        assert recipe.keys() & {"bf16", "fp16", "use_cpu", "torch_compile", "teacher_dtype", "temperature"} == set()


def test_recipes_differ_only_in_what_they_are_for():
    recipes = {name: yaml.safe_load((RECIPES / name).read_text(encoding="utf-8")) for name in NAMES}
    base = recipes.pop("distill.yaml")
    changed = {
        name: {key for key in base.keys() | recipe.keys() if base.get(key) != recipe.get(key)}
        for name, recipe in recipes.items()
    }
    assert changed == {
        "augment.yaml": {"augment"},
        "static.yaml": {"student_num_hidden_layers", "student_static_dim", "learning_rate"},
    }


def test_the_index_lists_every_recipe():
    index = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"({name})" not in index] == []


def test_a_class_that_is_called_no_can_have_a_weight(tmp_path, tokenizer):
    named_model("no", "yes").save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    lines = [f"{row['text']},{('no', 'yes')[row['label'] > 0]}" for row in tiny_rows(20)]
    for name in ("train.csv", "validation.csv"):
        (tmp_path / name).write_text("\n".join(["text,label", *lines]))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("objectives:\n  kl: {weight: 1, temperature: 2}\n  ce: {weight: 1, class_weights: {no: 2}}\n")
    record = train(tmp_path, recipe, tmp_path, student_num_hidden_layers=1)
    assert record["objectives"]["ce"]["class_weights"] == {"no": 2.0, "yes": 1.0}


def test_the_boolean_name_of_a_class_in_python_is_explained():
    with pytest.raises(
        ValueError, match=r"got {False: 2}. YAML reads the names no, off, yes and on as false and true"
    ):
        HardLabels(class_weights={False: 2})
