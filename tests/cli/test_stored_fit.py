"""Logits that the training rows carry: do they know anything of the labels?"""

import json
import math

import numpy as np
import pytest
import torch
from command_line import flags
from tiny import LABEL_NAMES, named_model, tiny_rows

from hf_distill import DistillationTrainingArguments
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli import main
from hf_distill.data import load_text_dataset, name_teacher_logits, soft_labels
from hf_distill.pipeline import ModelReference, load_inputs
from hf_distill.pipeline.stored_fit import informed_loss, measure_stored_logits

SINGLE, SEVERAL, NUMBERS = (
    PROBLEM_TYPES[name] for name in ("single_label_classification", "multi_label_classification", "regression")
)


def test_the_informed_loss_is_the_best_one_with_a_factor_and_a_bias_of_each_class():
    # In each half of the rows 3 of 4 are of one class: the best probabilities are 3/4, whatever the bias is.
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    logits = torch.tensor([[0.2, 7.0]] * 4 + [[0.1, 7.0]] * 4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert informed_loss(logits, labels, SINGLE) == pytest.approx(entropy, abs=1e-4)
    # The other way round a factor of 0 is the best, which leaves the class frequencies.
    assert informed_loss(-logits, labels, SINGLE) == pytest.approx(math.log(2), abs=1e-4)
    assert informed_loss(torch.zeros(8, 2), labels, SINGLE) == pytest.approx(math.log(2), abs=1e-4)
    # A class that is forbidden in the row whose label it is does not outweigh the other rows.
    odd = torch.tensor([[3.0, 0.0]] * 20 + [[0.0, 3.0]] * 19 + [[0.0, -math.inf]])
    assert informed_loss(odd, torch.tensor([0] * 20 + [1] * 20), SINGLE) < 0.2
    forbidden = torch.where(torch.arange(2) == labels[:, None], 0.0, -math.inf)
    assert informed_loss(forbidden, labels, SINGLE) < 0.01


def test_the_informed_loss_of_several_labels_and_of_numbers():
    rare = torch.zeros(100, 2)
    rare[:10, 0] = 1.0  # all logits are below 0, so that F1 is 0, and yet they know the label
    logits = rare * 2 - 6
    assert informed_loss(logits, rare, SEVERAL) < 0.01
    frequencies = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9)) / 2
    assert informed_loss(-logits, rare, SEVERAL) == pytest.approx(frequencies, abs=1e-3)
    numbers = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert informed_loss((numbers * 100 - 7)[:, None], numbers, NUMBERS) == pytest.approx(0.0, abs=1e-4)
    assert informed_loss((-numbers)[:, None], numbers, NUMBERS) == pytest.approx(3.5, abs=1e-4)  # the variance


def write_rows(path, kind, seed=0, num_rows=120):
    """Write rows with the logits of a teacher that is good, knows nothing, or has another order of the classes."""
    draw, lines = np.random.default_rng(seed), []
    for row in tiny_rows(num_rows, seed):
        logits = draw.normal(size=3) * 0.5
        if kind != "random":
            logits[row["label"] if kind == "good" else (row["label"] + 1) % 3] += 3
        lines.append({"text": row["text"], "label": LABEL_NAMES[row["label"]], "teacher_logits": logits.tolist()})
    path.write_text("\n".join(map(json.dumps, lines)))


@pytest.fixture(scope="module")
def places(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("stored")
    named_model(*LABEL_NAMES).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    for kind in ("good", "random", "shifted"):
        (folder / kind).mkdir()
        write_rows(folder / kind / "train.jsonl", kind)
        write_rows(folder / kind / "validation.jsonl", kind, seed=1)
    return folder


def run(places, kind, output_dir, **changes):
    files = {name: places / kind / f"{name.removesuffix('_file')}.jsonl" for name in ("train_file", "validation_file")}
    values = {
        "teacher_model_name_or_path": None, "student_num_hidden_layers": None, "max_steps": 1,
        "student_model_name_or_path": places / "student", "class_names": ",".join(LABEL_NAMES), **files,
    }  # fmt: skip
    main(["train", *flags(places, output_dir, **{**values, **changes})])
    return json.loads((output_dir / "distillation.json").read_text())


def test_logits_that_know_the_labels_are_measured_without_a_forward_pass(places, tmp_path, capsys):
    check = run(places, "good", tmp_path / "out")["teacher_check"]["stored_logits"]
    assert (check["metric_name"], check["train"]["rows"]) == ("accuracy", 120)
    assert check["train"]["metric"] > 0.95
    assert check["train"]["informed_loss"] < 0.5 * check["train"]["trivial_loss"]
    assert "Stored logits: accuracy " in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["random", "shifted"])
def test_logits_that_say_nothing_of_the_labels_stop_the_command_before_the_student(places, tmp_path, capsys, kind):
    with pytest.raises(SystemExit) as stopped:
        run(places, kind, tmp_path / "out")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "THE STORED LOGITS SAY NOTHING OF THE LABELS: on 120 labelled training rows" in message
    assert "--class_names" in message
    assert not (tmp_path / "out" / "model.safetensors").exists()
    check = run(places, kind, tmp_path / "out", allow_weak_teacher=True)["teacher_check"]
    assert check["stored_logits"]["train"]["informed_loss"] > 0.98 * check["stored_logits"]["train"]["trivial_loss"]


def inputs_of(places, tmp_path, rows=None, kind="good"):
    task = load_text_dataset(
        train_file=places / kind / "train.jsonl", validation_file=places / kind / "validation.jsonl",
        class_names=LABEL_NAMES,
    )  # fmt: skip
    if rows is not None:
        task.datasets["train"] = rows(task.datasets["train"])
    args = DistillationTrainingArguments(str(tmp_path), use_cpu=True)
    return load_inputs(task, None, ModelReference(str(places / "student")), args)


def test_few_labelled_rows_decide_nothing(places, tmp_path):
    assert measure_stored_logits(inputs_of(places, tmp_path, lambda rows: rows.select(range(99)))) is None


def test_other_widths_and_rows_without_a_number_are_named(places, tmp_path):
    def broken(rows, logits):
        return name_teacher_logits(
            rows.remove_columns("teacher_logits").add_column("teacher_logits", logits), LABEL_NAMES
        )

    logits = [[1.0, 0.0, 0.0]] * 120
    unusable = [*logits[:7], [0.0, math.nan, 0.0], *logits[8:]]
    with pytest.raises(ValueError, match="no usable value in row 7 of the training dataset"):
        measure_stored_logits(inputs_of(places, tmp_path, lambda rows: broken(rows, unusable)))
    lines = [{"text": row["text"], "label": [0.5, row["label"]], "teacher_logits": [1.0, 2.0, 3.0]}
             for row in tiny_rows(120)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    task = load_text_dataset(
        train_file=tmp_path / "rows.jsonl", validation_file=tmp_path / "rows.jsonl", problem_type="regression"
    )
    args = DistillationTrainingArguments(str(tmp_path), use_cpu=True)
    inputs = load_inputs(task, None, ModelReference(str(places / "student")), args)
    with pytest.raises(ValueError, match=r"has the shape \(120, 3\); the student has 2 classes"):
        measure_stored_logits(inputs)


def test_votes_for_the_wrong_class_and_unsure_votes_are_told_apart(places, tmp_path):
    """Votes of 4 of 10 for the label, and of 3 of 10 for each other class, are unsure and yet know the label."""

    def vote(rows, offset):
        votes = [[*[name for name in LABEL_NAMES for _ in range(3)], LABEL_NAMES[(label + offset) % 3]]
                 for label in rows["label"]]  # fmt: skip
        voted = rows.remove_columns("teacher_logits").add_column("votes", votes)
        return soft_labels(voted, "votes", LABEL_NAMES, kind="votes")

    right, wrong = (
        measure_stored_logits(inputs_of(places, tmp_path, lambda rows, offset=offset: vote(rows, offset)))
        for offset in (0, 1)
    )
    assert right.fit.metric == 1.0
    assert right.fit.loss == pytest.approx(math.log(13 / 5))  # (4 + 1) of 13 votes, with 1 more for each class
    assert right.informed_loss < 0.1
    assert wrong.informed_loss == pytest.approx(wrong.fit.trivial_loss, rel=1e-3)
