"""Recipes and flags: what would take forever or mean two things is refused at once, and no message repeats a token."""

import json
import time

import pytest
import yaml
from command_line import flags

from hf_distill import DistillationTrainingArguments
from hf_distill.cli import main
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.early_checks import check_flags, flags_of_recipe
from hf_distill.cli.flags import flags_of
from hf_distill.cli.model_arguments import ModelArguments
from hf_distill.cli.parsing import parse, read_command_line
from hf_distill.cli.recipe import recipe_flags
from hf_distill.cli.recipe_hints import advise_about_recipe
from hf_distill.cli.suggestions import similar_flags

RECIPES = {
    "aliases": ("a: &a [1, 2]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 2, column 8 .* has an alias"),
    "many aliases": (
        "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30)),
        "has an alias",
    ),
    "an alias of itself": ("objectives: &o {kl: *o}\n", "has an alias"),
    "a merge": ("a: &a {kl: 1}\nobjectives: {<<: *a}\n", "has an alias"),
    "deep lists": ("objectives: " + "[" * 100_000, "nested more than 10 levels deep"),
    "deep mappings": ("objectives: " + "{a: " * 100_000, "nested more than 10 levels deep"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(3000)), "nested more than 10 levels deep"),
    "a name twice": ("seed: 1\nlearning_rate: 1\nseed: 2\n", "line 3, column 1 .* has a name for the second time"),
    "an objective twice": ("objectives:\n  kl: 1\n  ce: 1\n  kl: 2\n", "line 4, column 3 .* for the second time"),
    "a huge number": (f"seed: {'9' * 100_000}\n", "is not YAML"),
    "no text": ("seed: \x00\n", "is not YAML"),
    "no mapping": ("- seed\n", "must map names of flags to values, got list"),
    "a list as a name": ("[a, b]: 1\n", "line 1, column 1 .* has a name that is not a text"),
    "a merge of a mapping": ("objectives: {<<: {kl: 1}}\n", "line 1, column 14 .* has a name that is not a text"),
    "nothing": ("", "must map names of flags to values, got NoneType"),
}


@pytest.mark.parametrize("what", RECIPES)
def test_a_recipe_that_would_take_forever_or_mean_two_things_is_refused_at_once(tmp_path, what):
    text, message = RECIPES[what]
    (tmp_path / "recipe.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        recipe_flags(tmp_path / "recipe.yaml", {"objectives": "dict", "seed": "int", "learning_rate": "float"})
    assert time.process_time() - start < 2


def test_a_recipe_that_does_not_exist_is_named_with_the_place_of_the_recipes(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--config", str(tmp_path / "distill.yaml")])
    error = capsys.readouterr().err
    assert f"There is no recipe {tmp_path / 'distill.yaml'} (--config). The recipes of hf_distill are in the" in error
    with pytest.raises(ValueError, match="names the folder .* Name a recipe, a YAML file"):
        recipe_flags(tmp_path, {})


def test_a_recipe_with_schedules_is_not_too_deep(tmp_path):
    schedule = {"schedule": "linear", "start": 4.0, "end": 1.0}
    objectives = {"kl": {"weight": 1.0, "temperature": schedule}, "hidden_mse": {"layer_mapping": {1: 2}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"objectives": objectives}))
    (word,) = recipe_flags(tmp_path / "recipe.yaml", {"objectives": "dict"})
    assert json.loads(word.removeprefix("--objectives="))["kl"]["temperature"] == schedule


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (
            "It needs labels. Leave out --baseline, or name rows.",
            "Pass --baseline False (the recipe sets it), or name",
        ),
        ("It is for text, so leave out --train_file.", "so remove `train_file` from the recipe."),
        ("Leave out --seed, or --baseline.", "Leave out --seed, or --baseline."),
        ("--augment 4 needs rows. Leave it out.", "Leave it out. The recipe sets `augment`: remove it there."),
        ("--seed and --baseline differ. Leave one of them out.", "The recipe sets `baseline`: pass --baseline False."),
        ("--baseline failed.", "--baseline failed."),
    ],
)
def test_advice_to_leave_out_a_flag_that_the_recipe_sets_says_how(message, advice):
    changed = advise_about_recipe(message, {"baseline": "bool", "augment": "int", "train_file": "str"})
    assert advice in changed


def test_a_recipe_does_not_cut_a_pretrained_student_that_the_command_line_names(folder, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("student_layers: last\nstudent_num_hidden_layers: 2\n")
    words = flags(folder, tmp_path / "out", student_num_hidden_layers=None, config=recipe)
    check_flags("train", words)
    with_student, parts = [*words, "--student_model_name_or_path", "encoder"], ["--student_layers", "first"]
    with pytest.raises(ValueError, match="The recipe sets `student_num_hidden_layers: 2, student_layers: last`"):
        check_flags("train", with_student)
    with pytest.raises(ValueError, match="pass --student_num_hidden_layers too"):
        check_flags("train", [*with_student, *parts])
    check_flags("train", [*with_student, *parts, "--student_num_hidden_layers", "2"])
    with pytest.raises(ValueError, match="both say how many layers the student gets. Leave one of them out"):
        check_flags("train", [*with_student, "--student_layers", "0,2"])
    recipe.write_text(f"{recipe.read_text()}student_model_name_or_path: encoder\n")
    check_flags("train", words)


def test_a_flag_of_the_command_line_is_not_taken_for_one_of_the_recipe(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("baseline: true\nseed: 3\n")
    words = ["--transfer_file", "a.txt", "--teacher_model_name_or_path", "t", "--output_dir", str(tmp_path / "out")]
    words += ["--student_num_hidden_layers", "1", "--config", str(tmp_path / "recipe.yaml")]
    for more, advice in ([], "Pass --baseline False (the recipe sets it), or name"), (["--baseline"], "Leave out --b"):
        with pytest.raises(SystemExit):
            main(["train", *words, *more])
        assert advice in capsys.readouterr().err
    assert flags_of_recipe("train", [*words, "--baseline=False"]) == {"seed": "int"}


@pytest.mark.parametrize("words", [["--label_names", "a", "b"], ["--label-names=a"]])
def test_names_of_columns_are_not_taken_for_names_of_classes(tmp_path, folder, words):
    with pytest.raises(ValueError, match="Names of classes go to --class_names"):
        read_command_line(COMMANDS["train"].classes, [*flags(folder, tmp_path), *words])


def test_a_file_beside_the_program_sets_no_flags(folder, tmp_path, monkeypatch):
    (tmp_path / "hf-distill.args").write_text("--teacher_trust_remote_code True --max_steps 7")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "hf-distill")])
    models, args = parse(
        (ModelArguments, DistillationTrainingArguments), flags(folder, tmp_path, train_file=None, validation_file=None)
    )
    assert not models.teacher_trust_remote_code
    assert args.max_steps == -1


# ---- Tokens ----

# A key without the form of a Hub token.
# pragma: allowlist nextline secret
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "words",
    [
        ["--hub_tokn", KEY],
        [f"--hub_tokn={KEY}"],
        ["--hub_tokn", "short-secret"],
        ["--learning_rate", KEY],
        [f"--learning_rate={KEY}"],
        ["--save_strategy", KEY],
        ["--fp16", KEY],
        [f"--objectives={KEY}"],
        [f"--teacher_dtype={KEY}"],
        ["--student_layers", KEY],
        [KEY],
        ["--hub_token", "short-secret", "--learning_rate", "short-secret"],
        ["--hub_strategy", KEY],
    ],
    ids=lambda words: words[0].split("=")[0],
)
def test_an_error_of_the_parser_does_not_repeat_a_value_that_can_be_a_token(folder, tmp_path, capsys, words):
    changes = {"student_num_hidden_layers": None} if words[0] == "--student_layers" else {}
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flags(folder, tmp_path / "out", **changes), *words])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert "short-secret" not in said.out + said.err


@pytest.mark.parametrize(
    "text",
    [
        f"hub_token: {KEY}: {KEY}\n", f"hub_tokn: {KEY}\n", f"hub_token: [{KEY}\nseed: 1\n", f"learning_rate: {KEY}\n",
        f"hub_token: &a {KEY}\nseed: *{KEY}\n", f"include_for_metrics: ['-{KEY}']\n", f"hub_token: '{KEY}\n",
        f"{KEY}\n", f"hub_token: !{KEY} x\n",
    ],
)  # fmt: skip
def test_an_error_in_a_recipe_does_not_repeat_a_value_that_can_be_a_token(folder, tmp_path, capsys, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main(["train", "--config", f"{tmp_path}/recipe.yaml", *flags(folder, tmp_path / "out")])
    said = capsys.readouterr().err
    assert "recipe" in said or "learning_rate" in said
    assert KEY not in said


def test_an_unknown_flag_is_named_with_the_flag_that_it_resembles(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", *flags(folder, tmp_path / "out"), "--learning_rat", "1"])
    assert "Unknown flag: --learning_rat. Did you mean --learning_rate?" in capsys.readouterr().err


# What was typed -> the flag of `train` that was meant.
MEANT = {
    "techer": "teacher_model_name_or_path",  # misspelled
    "teacher_modle": "teacher_model_name_or_path",
    "studnet": "student_model_name_or_path",  # letters exchanged
    "bacth-size": "per_device_train_batch_size",
    "weigth_decay": "weight_decay",
    "Learning-Rate": "learning_rate",  # another spelling
    "lr": "learning_rate",  # a usual short name
    "model": "student_model_name_or_path",
    "teacher": "teacher_model_name_or_path",
    "student": "student_model_name_or_path",
    "epochs": "num_train_epochs",
    "output": "output_dir",
    "max_length": "max_seq_length",
    "eval_batch_size": "per_device_eval_batch_size",  # some of the words
    "grad_accum": "gradient_accumulation_steps",
    "train_epochs": "num_train_epochs",
    "cache": "cache_teacher_outputs",
}


def flag_names(command):
    return [flag.name for flag in flags_of(COMMANDS[command].classes)]


@pytest.mark.parametrize("typed", MEANT)
def test_an_unknown_flag_suggests_the_flag_that_was_most_likely_meant(typed):
    assert similar_flags(typed, flag_names("train")) == [MEANT[typed]]


def test_a_short_name_suggests_what_the_command_has(capsys):
    assert similar_flags("model", flag_names("export")) == ["model_name_or_path"]
    assert similar_flags("epochs", flag_names("export")) == []
    with pytest.raises(SystemExit):
        main(["train", "--data", "rows.csv"])
    assert "Unknown flag: --data. Did you mean --train_file or --dataset_name?" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["xyz", "gpu", "", "-"])
def test_a_name_that_is_like_no_flag_suggests_none(typed):
    assert similar_flags(typed, flag_names("train")) == []
