"""Every problem type: its loss against a float64 reference, for several splits of the rows, live and cached."""

import datasets
import pytest
import torch
from invariance import GradientRecorder, make_trainer, relative_difference, trained_gradients
from problems import PROBLEMS, make_problem
from tiny import tiny_model

from hf_distill.classifiers.problem_types import PROBLEM_TYPES, resolve_problem_type
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    return make_problem(request.param)


@pytest.fixture(scope="module")
def expected(problem):
    """The gradient of all rows, and the means of both terms, by hand."""
    return problem.reference(problem.rows)


def test_every_problem_type_has_a_case():
    assert {name.removesuffix("_3") for name in PROBLEMS} == PROBLEM_TYPES.keys()


@pytest.mark.parametrize(("batch_size", "accumulation"), [(16, 1), (6, 3)], ids=["1x16", "6+6+4"])
def test_the_gradient_equals_the_reference_for_every_split_of_the_rows(
    problem, expected, tokenizer, tmp_path, batch_size, accumulation
):
    (gradient,) = trained_gradients(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, **problem.settings,
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    assert relative_difference(gradient, expected[0]) < 1e-5


def test_evaluation_reports_the_terms_of_the_reference(problem, expected, tokenizer, tmp_path):
    trainer = make_trainer(
        problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, **problem.settings,
        per_device_eval_batch_size=5,
    )  # fmt: skip
    metrics = trainer.evaluate()
    _, soft, hard = expected
    assert metrics["eval_loss_kl"] == pytest.approx(soft.item(), rel=1e-4)
    assert metrics["eval_loss_ce"] == pytest.approx(hard.item(), rel=1e-4)
    assert ("eval_agreement" in metrics) == (trainer.problem_type.name != "regression")


def test_training_with_the_cache_equals_training_with_the_live_teacher(problem, tokenizer, tmp_path):
    if resolve_problem_type(problem.teacher).name == "masked_lm":
        pytest.skip("words are masked anew in every batch, so there is nothing to store")
    live, cached = (
        make_trainer(
            problem.student, problem.teacher, problem.rows, tokenizer, tmp_path / "out", **problem.settings,
            per_device_train_batch_size=6, cache_teacher_outputs=cached, teacher_cache_dir=str(tmp_path / "cache"),
        )
        for cached in (False, True)
    )  # fmt: skip
    for trainer in (live, cached):
        trainer.train()
    for a, b in zip(live.state.log_history, cached.state.log_history, strict=True):
        assert a.get("loss", 0.0) == pytest.approx(b.get("loss", 0.0), rel=1e-5)


def test_unlabelled_rows_train_the_soft_term(problem, tokenizer, tmp_path):
    if resolve_problem_type(problem.teacher).name == "masked_lm":
        pytest.skip("a language model's labels are its text")
    rows = problem.rows.remove_columns("labels")
    (gradient,) = trained_gradients(problem.student, problem.teacher, rows, tokenizer, tmp_path, **problem.settings)
    remove_label = {
        "token_classification": lambda row: {"labels": [-100] * len(row["input_ids"])},
        "single_label_classification": lambda row: {"labels": -100},
    }.get(resolve_problem_type(problem.teacher).name)
    if remove_label is None:
        width = problem.teacher.config.num_labels
        remove_label = lambda row: {"labels": [float("nan")] * width}  # noqa: E731
    expected, _, _ = problem.reference(problem.rows.map(remove_label))
    assert relative_difference(gradient, expected) < 1e-5


def test_the_baseline_trains_only_on_the_labelled_rows(problem, tokenizer, tmp_path):
    recorder = GradientRecorder()
    trainer = make_trainer(problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, **problem.settings)
    trainer.train()
    trainer.callback_handler.callbacks.append(recorder)
    baseline = trainer.train_baseline(problem.student)
    is_lm = resolve_problem_type(problem.teacher).name == "masked_lm"
    assert len(baseline.train_dataset) == (16 if is_lm else 14)
    assert baseline.distillation_record()["objectives"].keys() == {"ce"}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("multi_label_classification", lambda r: {"labels": [0.0, 1.0]}, "needs floats of shape"),
        ("multi_label_classification", lambda r: {"labels": [0.0, 1.0, 2.0]}, "numbers from 0 to 1"),
        ("multi_label_classification", lambda r: {"labels": [0.0, 1.0, float("nan")]}, "lacks others"),
        ("single_label_classification", lambda r: {"labels": [0.0, 1.0, 1.0]}, "multi_label_classification"),
        ("token_classification", lambda r: {"labels": [0]}, "Each token needs a label"),
        ("token_classification", lambda r: {"labels": [7] * len(r["input_ids"])}, "Label 7 in token 0"),
        ("regression_3", lambda r: {"labels": [0.5]}, "needs floats of shape"),
    ],
)
def test_labels_that_contradict_the_problem_type_are_rejected(tokenizer, tmp_path, name, change, message):
    problem = make_problem(name, num_rows=4)
    rows = datasets.Dataset.from_list([{**row, **change(row)} for row in problem.rows])
    with pytest.raises(ValueError, match=message):
        make_trainer(problem.student, problem.teacher, rows, tokenizer, tmp_path, **problem.settings)


def test_unlabelled_sentences_need_the_column_word_starts(tokenizer, tmp_path):
    problem = make_problem("token_classification", num_rows=4)
    rows = problem.rows.remove_columns("word_starts")
    with pytest.raises(ValueError, match="no column `word_starts`"):
        make_trainer(problem.student, problem.teacher, rows, tokenizer, tmp_path)


def test_a_head_that_contradicts_the_problem_type_is_rejected():
    student = make_problem("token_classification", num_rows=2).student
    student.config.problem_type = "multi_label_classification"
    with pytest.raises(ValueError, match="the model is a BertForTokenClassification"):
        resolve_problem_type(student)
    with pytest.raises(ValueError, match="the model is a BertForSequenceClassification"):
        resolve_problem_type(tiny_model(problem_type="masked_lm"))


def test_teacher_and_student_with_different_problem_types_are_rejected(tokenizer, tmp_path):
    single, multi = (make_problem(f"{name}_label_classification", 4) for name in ("single", "multi"))
    with pytest.raises(ValueError, match="teacher's problem type is multi_label"):
        make_trainer(single.student, multi.teacher, single.rows, tokenizer, tmp_path)


def test_multi_label_agreement_is_the_share_of_equal_decisions():
    student, teacher = torch.tensor([[1.0, -1.0], [2.0, 3.0]]), torch.tensor([[0.5, 0.5], [1.0, 9.0]])
    assert PROBLEM_TYPES["multi_label_classification"].agreement(student, teacher).tolist() == [0.5, 1.0]


def test_a_masked_language_model_is_not_cached(tokenizer, tmp_path):
    problem = make_problem("masked_lm", num_rows=4)
    with pytest.raises(ValueError, match="nothing to store"):
        make_trainer(
            problem.student, problem.teacher, problem.rows, tokenizer, tmp_path, cache_teacher_outputs=True,
            teacher_cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LOGIT_OBJECTIVES if OBJECTIVES[name].is_per_unit and name != "kl"])
def test_softmax_objectives_on_words_do_not_depend_on_the_split(tokenizer, tmp_path, name):
    problem = make_problem("token_classification")
    labelled = problem.rows.filter(lambda row: any(label != -100 for label in row["labels"]))
    changes = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None, "objectives": {name: 1.0}}
    whole, split = (
        trained_gradients(
            problem.student, problem.teacher, labelled, tokenizer, tmp_path, **changes,
            per_device_train_batch_size=size, gradient_accumulation_steps=steps,
        )[0]
        for size, steps in ((14, 1), (5, 3))
    )  # fmt: skip
    assert whole.norm() > 1e-4
    assert relative_difference(split, whole) < 1e-5
