"""A teacher on its training rows and on new ones: is it weak, or memorized?"""

import dataclasses
import json
import math

import numpy as np
import pytest
from command_line import flags, write_folder
from datasets import DatasetDict
from tiny import LABEL_NAMES, named_model, tiny_model, tiny_rows
from transformers import BertConfig, BertForTokenClassification

from hf_distill import DistillationTrainingArguments
from hf_distill.cli import main
from hf_distill.data import Task, load_text_dataset
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.pipeline import ModelReference, load_inputs
from hf_distill.pipeline.teacher_fit import Fit, TeacherFit, check_teacher, measure_fit, measure_teacher

LOG_2 = math.log(2)


def make_task(problem_type, metric_name, names=("no", "yes")):
    compute_metrics = as_compute_metrics(metric_name, problem_type, names)
    return Task("rows", DatasetDict(), ("text",), problem_type, list(names), metric_name, compute_metrics, "rows")


def logits_of(*probabilities):
    return [np.log(np.array(row, dtype=np.float32)) for row in probabilities]


def test_the_loss_of_classes_the_best_factor_and_the_frequencies_are_those_of_hand():
    task = make_task("single_label_classification", "accuracy")
    # Three of four rows are right with odds of 3: the best probability of the answer is 3/4, which it has.
    fit = measure_fit([0, 0, 0, 1], logits_of((0.75, 0.25), (0.75, 0.25), (0.75, 0.25), (0.75, 0.25)), task)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert (fit.metric, fit.loss) == (0.75, pytest.approx(entropy))
    assert fit.rescaled_loss == pytest.approx(entropy, abs=1e-6)
    assert fit.trivial_loss == pytest.approx(entropy)
    # The same answers with less confidence: a factor on the logits gets the loss back.
    timid = measure_fit([0, 0, 0, 1], logits_of(*[(0.55, 0.45)] * 4), task)
    assert timid.is_timid
    bold = measure_fit([0, 0, 0, 1], logits_of(*[(0.99, 0.01)] * 4), task)
    assert not bold.is_timid
    assert timid.loss == pytest.approx(-(0.75 * math.log(0.55) + 0.25 * math.log(0.45)))
    assert timid.rescaled_loss == pytest.approx(entropy, abs=1e-5)


def test_several_labels_a_number_and_words_have_their_own_losses():
    task = make_task("multi_label_classification", "f1_micro")
    logit = math.log(3)  # a probability of 3/4
    fit = measure_fit([[1.0, 0.0], [0.0, 0.0]], [np.array([logit, -logit]), np.array([-logit, -logit])], task)
    assert (fit.metric, fit.loss) == (1.0, pytest.approx(-math.log(0.75)))
    assert fit.trivial_loss == pytest.approx(math.log(2) / 2, abs=1e-4)  # half of the first label, none of the second
    task = make_task("regression", "pearson", ("score",))
    fit = measure_fit([1.0, 2.0, 3.0], [np.array([value]) for value in (0.0, 0.5, 1.0)], task)
    assert fit.metric == pytest.approx(1.0)
    assert (fit.loss, fit.trivial_loss) == (pytest.approx((1 + 2.25 + 4) / 3), pytest.approx(2 / 3))
    assert fit.rescaled_loss == pytest.approx(0.0, abs=1e-9)  # 2 x + 1
    task = make_task("token_classification", "token_accuracy", ("O", "B-x"))
    words = [np.stack(logits_of((0.75, 0.25), (0.5, 0.5), (0.25, 0.75))), np.stack(logits_of((0.5, 0.5)))]
    fit = measure_fit([[0, -100, 1], [1]], words, task)
    assert list(fit.losses) == [pytest.approx(-math.log(0.75)), pytest.approx(math.log(2))]
    assert fit.metric == pytest.approx(2 / 3)


def make_fit(train, new, rescaled=None, trivial=LOG_2):
    def fit(losses):
        losses = np.asarray(losses)
        return Fit(0.5, losses, float(losses.mean()) if rescaled is None else rescaled, trivial)

    return TeacherFit("accuracy", "cross-entropy", fit(train), fit(new))


def spread(mean, num_rows=1000):
    """Losses with a deviation as large as their mean."""
    return mean * np.tile([0.0, 2.0], num_rows // 2)


def test_a_teacher_is_weak_if_its_loss_would_still_fall_or_if_it_has_learned_nothing():
    entropy = math.log(150)
    assert "still falling" in make_fit(spread(2.6), spread(3.0), rescaled=1.2, trivial=entropy).weakness(
        stopped_early=False
    )
    assert "no better than the class frequencies" in make_fit(spread(0.69), spread(0.7)).weakness(stopped_early=False)
    assert (
        make_fit(spread(0.61), spread(0.62)).weakness(stopped_early=False) is None
    )  # a noisy task, of which 12 % can be learned
    assert (
        make_fit(spread(0.19), spread(0.46), rescaled=0.183).weakness(stopped_early=False) is None
    )  # the teacher of `make demo`
    few_rows = make_fit(spread(0.25), spread(0.5), rescaled=0.0)  # all are right, and become more certain
    assert few_rows.weakness(stopped_early=False) is None
    timid = make_fit(spread(2.6), spread(3.0), rescaled=1.2, trivial=entropy)
    assert timid.weakness(stopped_early=True) is None
    assert "no better" in make_fit(spread(0.69), spread(0.7)).weakness(stopped_early=True)
    bold = dataclasses.replace(timid, train=dataclasses.replace(timid.train, is_timid=False))
    assert bold.weakness(stopped_early=False) is None
    assert make_fit(spread(0.01), spread(2.0), rescaled=0.0).weakness(stopped_early=False) is None


def test_a_teacher_is_memorized_if_new_rows_have_three_times_the_loss_beyond_chance():
    assert make_fit(spread(0.08), spread(0.42)).is_memorized()  # SST-2 with 8,000 labels
    assert not make_fit(spread(0.19), spread(0.46)).is_memorized()  # `make demo`
    rare = np.zeros(1000)
    rare[:2] = 5.0  # two errors in 1,000 rows, against seven
    often = np.zeros(1000)
    often[:7] = 5.0
    assert not make_fit(rare, often).is_memorized()


def test_what_the_student_is_trained_on_decides_whether_memorized_rows_matter():
    memorized, weak = make_fit(spread(0.08), spread(0.42)), make_fit(spread(0.69), spread(0.7))
    message = check_teacher(memorized, 1000, 999, was_fine_tuned=False, stopped_early=False, allow_weak_teacher=False)
    assert "MEMORIZED THE TRAINING ROWS: its cross-entropy is 0.080 on them and 0.420 on new ones" in message
    assert (
        check_teacher(memorized, 1000, 1000, was_fine_tuned=True, stopped_early=False, allow_weak_teacher=False)
        is None
    )
    assert check_teacher(weak, 1000, 0, was_fine_tuned=False, stopped_early=False, allow_weak_teacher=False) is None
    assert "NOT LEARNED" in check_teacher(
        weak, 1000, 0, was_fine_tuned=True, stopped_early=False, allow_weak_teacher=True
    )
    with pytest.raises(
        ValueError, match="without --teacher_num_train_epochs and --max_steps.*pass --allow_weak_teacher"
    ):
        check_teacher(weak, 1000, 0, was_fine_tuned=True, stopped_early=False, allow_weak_teacher=False)


def write_rows(folder, num_rows):
    for name, seed in (("train", 0), ("validation", 1)):
        rows = [f"{row['text']},{LABEL_NAMES[row['label']]}" for row in tiny_rows(num_rows, seed)]
        (folder / f"{name}.csv").write_text("\n".join(["text,label", *rows]))


@pytest.fixture(scope="module")
def many_rows(tmp_path_factory, tokenizer):
    """A teacher and 120 labelled rows, and an encoder without a head."""
    folder = write_folder(tmp_path_factory.mktemp("rows"), tokenizer)
    write_rows(folder, 120)
    tiny_model(2, seed=4).bert.save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    return folder


def test_stored_outputs_and_a_live_teacher_have_the_same_fit(many_rows, tmp_path):
    fits = []
    for is_stored in (True, False):
        args = DistillationTrainingArguments(
            str(tmp_path), cache_teacher_outputs=is_stored, teacher_cache_dir=str(tmp_path / "cache"), use_cpu=True
        )
        task = load_text_dataset(train_file=many_rows / "train.csv", validation_file=many_rows / "validation.csv")
        inputs = load_inputs(task, ModelReference(str(many_rows / "teacher")), None, args)
        fits.append(measure_teacher(inputs, args))
    stored, live = (fit.to_dict() for fit in fits)
    assert stored["train"] == pytest.approx(live["train"], rel=1e-5)
    assert stored["evaluation"] == pytest.approx(live["evaluation"], rel=1e-5)
    assert (stored["train"]["rows"], stored["metric_name"]) == (120, "accuracy")


def test_fewer_than_100_labelled_rows_decide_nothing(folder, tmp_path):
    args = DistillationTrainingArguments(str(tmp_path), use_cpu=True)
    task = load_text_dataset(train_file=folder / "train.csv", validation_file=folder / "validation.csv")
    assert measure_teacher(load_inputs(task, ModelReference(str(folder / "teacher")), None, args), args) is None


def test_a_teacher_that_was_fine_tuned_too_little_stops_the_command_before_the_student(many_rows, tmp_path, capsys):
    changes = {
        "teacher_model_name_or_path": many_rows / "encoder", "fine_tune_teacher": True, "teacher_num_train_epochs": 1,
        "teacher_learning_rate": 1e-7, "max_steps": 1,
    }  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flags(many_rows, tmp_path / "out", **changes)])
    assert stopped.value.code == 2
    assert "THE TEACHER HAS NOT LEARNED THE TASK" in capsys.readouterr().err
    assert not (tmp_path / "out" / "model.safetensors").exists()
    main(["train", *flags(many_rows, tmp_path / "out", **changes, allow_weak_teacher=True)])
    check = json.loads((tmp_path / "out" / "distillation.json").read_text())["teacher_check"]
    assert check["fine_tuning"] == {"steps": 15}
    assert check["fit"]["train"]["rows"] == 120


def test_a_teacher_that_was_fine_tuned_by_default_passes_the_check(many_rows, tmp_path, capsys):
    changes = {
        "teacher_model_name_or_path": many_rows / "encoder", "fine_tune_teacher": True, "teacher_learning_rate": 1e-2,
        "save_strategy": "no", "per_device_train_batch_size": 120,
    }  # fmt: skip
    main(["train", *flags(many_rows, tmp_path / "out", **changes)])
    output = capsys.readouterr().out
    assert "of at most 50 steps. Its checkpoint of step" in output
    assert "on 120 training rows" in output
    fit = json.loads((tmp_path / "out" / "distillation.json").read_text())["teacher_check"]["fit"]
    assert fit["train"]["loss"] < 0.5 * fit["train"]["trivial_loss"]


@pytest.mark.parametrize("rows", ["labelled", "texts"])
def test_a_teacher_without_a_head_stops_the_command(many_rows, tmp_path, capsys, rows):
    changes = {"teacher_model_name_or_path": many_rows / "encoder", "max_steps": 1}
    if rows == "texts":
        changes |= {"train_file": None, "validation_file": None, "transfer_file": many_rows / "transfer.txt"}
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flags(many_rows, tmp_path / "out", **changes)])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "THE TEACHER WAS NEVER FINE-TUNED" in message
    assert "--fine_tune_teacher" in message
    assert "--allow_weak_teacher" in message
    if rows == "texts":  # two classes, of which nothing is known
        main(["train", *flags(many_rows, tmp_path / "out", **changes, allow_weak_teacher=True)])
        assert (tmp_path / "out" / "model.safetensors").exists()


def write_kind(folder, kind, tokenizer):
    """Write 110 rows of a kind, and a teacher for them."""
    rows, tags = tiny_rows(110), ["O", *(f"B-{name}" for name in LABEL_NAMES)]
    if kind == "words":
        words = [row["text"].split() for row in rows]
        firsts = [tags[1 + row["label"]] for row in rows]
        lines = [{"tokens": w, "tags": [first, *["O"] * (len(w) - 1)]} for w, first in zip(words, firsts, strict=True)]
        config = named_model(*tags).config
        model = BertForTokenClassification(BertConfig(**{**config.to_dict(), "architectures": None}))
    elif kind == "pairs":
        names = [LABEL_NAMES[row["label"]] for row in rows]
        lines = [{**row, "label": name} for row, name in zip(rows, names, strict=True)]
        model = tiny_model(2)
    elif kind == "several":
        lines = [{"text": row["text"], "label": LABEL_NAMES[: row["label"]]} for row in rows]
        lines[0]["label"] = LABEL_NAMES  # the last class, too
        model = named_model(*LABEL_NAMES, problem_type="multi_label_classification")
    else:
        lines = [{"text": row["text"], "label": row["label"] + 0.5} for row in rows]
        model = named_model("score")
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


@pytest.mark.parametrize("kind", ["words", "pairs", "several", "numbers"])
def test_every_kind_of_problem_is_measured_live_and_from_the_store(tmp_path, tokenizer, kind):
    write_kind(tmp_path, kind, tokenizer)
    fits = []
    for is_stored in (True, False):
        args = DistillationTrainingArguments(
            str(tmp_path), cache_teacher_outputs=is_stored, teacher_cache_dir=str(tmp_path / "cache"), use_cpu=True
        )
        task = load_text_dataset(train_file=tmp_path / "rows.jsonl", validation_file=tmp_path / "rows.jsonl")
        inputs = load_inputs(task, ModelReference(str(tmp_path / "teacher")), None, args)
        fits.append(measure_teacher(inputs, args).to_dict())
    for role in ("train", "evaluation"):
        assert fits[0][role] == pytest.approx(fits[1][role], rel=1e-4, abs=1e-6, nan_ok=True)
        assert fits[0][role]["rows"] == 110
        assert fits[0][role]["rescaled_loss"] <= fits[0][role]["loss"] + 1e-6


@pytest.mark.parametrize("is_stored", [True, False])
def test_the_check_changes_nothing_in_the_student(many_rows, tmp_path, monkeypatch, is_stored):
    students = []
    for name in ("checked", "unchecked"):
        if name == "unchecked":
            monkeypatch.setattr("hf_distill.cli.train.measure_teacher", lambda *_: None)
        changes = {"max_steps": 3, "cache_teacher_outputs": is_stored, "teacher_cache_dir": tmp_path / f"{name}_cache"}
        changes |= {"transfer_file": many_rows / "transfer.txt"}
        main(["train", *flags(many_rows, tmp_path / name, **changes)])
        students.append((tmp_path / name / "model.safetensors").read_bytes())
    assert students[0] == students[1]
