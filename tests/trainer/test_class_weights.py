"""Weights of classes in the hard loss, for every problem type and wherever the loss is written down."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from invariance import make_args
from tiny import LABEL_NAMES, TINY, copy_model, tiny_model
from transformers import BertConfig, BertForTokenClassification

from hf_distill import DistillationTrainer, DistillationTrainingArguments, functional
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.hub.card.loss import loss_section
from hf_distill.objectives import build_objectives
from hf_distill.objectives.class_weights import LabelCounts
from hf_distill.objectives.hard_labels import HardLabels

WEIGHTS = {"negative": 0.5, "neutral": 2.0, "positive": 3.0}


def args_with(folder, spec, **changes):
    unset = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    return make_args(folder, objectives=spec, **{**unset, **changes})


def trainer_with(student, teacher, rows, tokenizer, folder, spec, **changes):
    return DistillationTrainer(
        copy_model(student), copy_model(teacher), args_with(folder, spec, **changes), train_dataset=rows,
        eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip


def weights_of(trainer):
    return trainer.distillation_loss.terms[0].class_weights


# ---- The value ----


def test_a_unit_has_the_weight_of_its_label():
    logits = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0], [5.0, 1.0]])  # 3/4, 1/4 in the first two rows
    values = functional.cross_entropy(logits, torch.tensor([0, 1, -100]), class_weights=torch.tensor([2.0, 10.0]))
    assert values.tolist() == pytest.approx([2 * math.log(4 / 3), 10 * math.log(4), 0.0])


def test_the_positive_term_of_a_label_has_its_weight():
    logits, labels = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[1.0, 0.0]])
    values = functional.binary_cross_entropy(logits, labels, torch.tensor([4.0, 7.0]))
    assert values.item() == pytest.approx((4 * math.log(2) + math.log(4)) / 2)


def test_weighted_losses_are_those_of_torch_where_these_agree():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(50, 4), torch.randint(4, (50,)), torch.tensor([0.5, 1.0, 3.0, 0.0])
    labels[::7] = -100
    ours = functional.cross_entropy(logits, labels, class_weights=weights)
    assert torch.allclose(ours, F.cross_entropy(logits, labels, weight=weights, reduction="none"))
    sum_of_weights = weights[labels[labels >= 0]].sum()
    assert torch.allclose(ours.sum() / sum_of_weights, F.cross_entropy(logits, labels, weight=weights))
    targets = torch.rand(50, 4)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none").mean(-1)
    assert torch.allclose(functional.binary_cross_entropy(logits, targets, weights), expected)


def test_with_label_smoothing_the_whole_value_has_the_weight_of_the_label():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, -100])
    weights = torch.tensor([0.5, 2.0, 3.0])
    plain = functional.cross_entropy(logits, labels, 0.2)
    weighted = functional.cross_entropy(logits, labels, 0.2, weights)
    assert torch.allclose(weighted, plain * torch.tensor([0.5, 2.0, 3.0, 0.5, 2.0, 0.0]))


# ---- Balanced ----


def resolved(spec, counts, num_units, problem_type="single_label_classification"):
    term = HardLabels(class_weights=spec)
    term.bind(PROBLEM_TYPES[problem_type])
    term.bind_classes(["a", "b"], lambda: LabelCounts(counts, num_units))
    return term.class_weights


def test_balanced_weights_by_hand():
    assert resolved("balanced", [2, 6], 8) == {"a": 8 / (2 * 2), "b": 8 / (2 * 6)}
    assert resolved("balanced", [2, 6], 8, "multi_label_classification") == {"a": 3.0, "b": pytest.approx(1 / 3)}
    assert resolved("balanced", [1, 9], 10, "token_classification") == {"a": 5.0, "b": pytest.approx(5 / 9)}


def test_classes_that_are_not_named_have_the_weight_1():
    assert resolved({"b": 3}, [], 0) == {"a": 1.0, "b": 3.0}


@pytest.mark.parametrize(
    ("spec", "counts", "problem_type", "message"),
    [
        ("balanced", [0, 8], "single_label_classification", "no labelled training row has the class 'a'"),
        ("balanced", [0, 4], "multi_label_classification", "no labelled training row has the class 'a'"),
        ("balanced", [3, 8], "multi_label_classification", "every labelled training row has the class 'b'"),
        ({"c": 1.0}, [4, 4], "single_label_classification", "names 'c', but the classes of the student are a, b"),
        ({"a": 0.0, "b": 0}, [4, 4], "single_label_classification", "0 for every class"),
        ({"a": 2.0}, [4, 4], "regression", "not defined for regression"),
        ("balanced", [4, 4], "masked_lm", "not defined for masked_lm"),
    ],
)
def test_weights_that_do_not_fit_the_classes_are_refused(spec, counts, problem_type, message):
    with pytest.raises(ValueError, match=message):
        resolved(spec, counts, 8, problem_type)


@pytest.mark.parametrize(
    "spec", ["balance", "", 3.0, [1.0, 2.0], {}, {0: 1.0}, {"a": -1.0}, {"a": math.nan}, {"a": True}, {"a": "2"}]
)
def test_weights_of_another_form_are_refused_before_anything_is_loaded(tmp_path, spec):
    with pytest.raises(ValueError, match="class.weight"):
        DistillationTrainingArguments(str(tmp_path), objectives={"ce": {"class_weights": spec}})


def test_weights_are_read_from_json_and_kept_by_a_round_trip(tmp_path):
    text = '{"kl": 1.0, "ce": {"weight": 0.1, "class_weights": {"negative": 2}}}'
    args = DistillationTrainingArguments(str(tmp_path), objectives=text)
    (_, term) = build_objectives(args.objective_spec())
    assert term.class_weights == {"negative": 2}
    assert build_objectives({"ce": term.spec()})[0].spec() == term.spec()
    assert "class_weights" not in HardLabels().spec()


# ---- The Trainer ----


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("spec", [WEIGHTS, "balanced"])
def test_the_loss_is_the_weighted_sum_divided_by_all_units(
    student, teacher, rows, tokenizer, tmp_path, is_cached, spec
):
    terms = {"ce": {"class_weights": spec}, "kl": {"weight": 0.5, "temperature": 2.0}}
    trainer = trainer_with(
        student, teacher, rows, tokenizer, tmp_path / "out", terms, cache_teacher_outputs=is_cached,
        teacher_cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    labels = torch.tensor(rows["labels"][:])
    counts = [int((labels == i).sum()) for i in range(3)]
    expected = [WEIGHTS[name] for name in LABEL_NAMES]
    if spec == "balanced":
        assert sum(counts) == 14  # two of the 16 rows have no label
        expected = [14 / (3 * n) for n in counts]
    assert list(weights_of(trainer).values()) == pytest.approx(expected)
    logits = torch.tensor(trainer.predict(rows).predictions)
    value = F.cross_entropy(logits, labels, weight=torch.tensor(expected), reduction="sum") / 16
    assert trainer.evaluate()["eval_loss_ce"] == pytest.approx(value.item(), rel=1e-5)


def test_accumulation_does_not_change_the_weighted_gradient(student, teacher, rows, tokenizer, tmp_path):
    weights = []
    for batch, steps in ((16, 1), (4, 4)):
        trainer = trainer_with(
            student, teacher, rows, tokenizer, tmp_path, {"ce": {"class_weights": WEIGHTS}},
            per_device_train_batch_size=batch, gradient_accumulation_steps=steps,
        )  # fmt: skip
        trainer.train()
        weights.append(torch.cat([weight.flatten() for weight in trainer.model.parameters()]))
    assert torch.allclose(*weights, atol=1e-6)


def test_several_labels_are_weighted_by_negatives_per_positive(tokenizer, dataset, tmp_path):
    targets = [[1.0, 0.0, float(i % 4 == 0)] if i % 2 else [0.0, 1.0, 1.0] for i in range(32)]
    rows = dataset.remove_columns("labels").add_column("labels", targets)
    student = tiny_model(2, seed=2, problem_type="multi_label_classification")
    trainer = trainer_with(student, None, rows, tokenizer, tmp_path, {"ce": {"class_weights": "balanced"}})
    assert list(weights_of(trainer).values()) == pytest.approx([1.0, 1.0, 1.0])
    rows = rows.select([*range(0, 32, 2), 1, 3, 5, 7])
    trainer = trainer_with(student, None, rows, tokenizer, tmp_path, {"ce": {"class_weights": "balanced"}})
    expected = torch.tensor([16 / 4, 4 / 16, 4 / 16])
    assert list(weights_of(trainer).values()) == pytest.approx(expected.tolist())
    logits = torch.tensor(trainer.predict(rows).predictions)
    value = F.binary_cross_entropy_with_logits(logits, torch.tensor(rows["labels"][:]), pos_weight=expected)
    assert trainer.evaluate()["eval_loss_ce"] == pytest.approx(value.item(), rel=1e-5)


def test_tokens_are_counted_and_weighted(tokenizer, dataset, tmp_path):
    config = BertConfig(**TINY, num_hidden_layers=1, id2label={0: "O", 1: "B"}, label2id={"O": 0, "B": 1})
    labels = [[-100, *[int(i == 2) for i in range(1, len(ids) - 1)], -100] for ids in dataset["input_ids"]]
    rows = dataset.remove_columns("labels").add_column("labels", labels)
    student = BertForTokenClassification(config).eval()
    trainer = trainer_with(student, None, rows, tokenizer, tmp_path, {"ce": {"class_weights": "balanced"}})
    flat = torch.tensor([label for row in labels for label in row if label >= 0])
    expected = len(flat) / (2 * flat.bincount().float())
    assert list(weights_of(trainer).values()) == pytest.approx(expected.tolist())
    losses = []
    for row in rows:
        with torch.no_grad():
            logits = student(**{name: torch.tensor([row[name]]) for name in tokenizer.model_input_names}).logits[0]
        losses.append(F.cross_entropy(logits, torch.tensor(row["labels"]), weight=expected, reduction="sum"))
    value = torch.stack(losses).sum() / len(flat)
    assert trainer.evaluate()["eval_loss_ce"] == pytest.approx(value.item(), rel=1e-5)


def test_balanced_weights_need_rows_that_can_be_counted(student, teacher, dataset, tokenizer, tmp_path):
    spec = {"kl": 1.0, "ce": {"class_weights": "balanced"}}
    for rows in (dataset.remove_columns("labels"), dataset.to_iterable_dataset()):
        with pytest.raises(ValueError, match="counts the labels of the training rows.*Give the weights by name"):
            trainer_with(student, teacher, rows, tokenizer, tmp_path, spec, max_steps=1)


def test_the_baseline_has_the_weights_of_the_students_hard_loss(student, teacher, rows, tokenizer, tmp_path):
    spec = {"kl": 1.0, "ce": {"weight": 0.1, "class_weights": "balanced"}}
    trainer = trainer_with(student, teacher, rows, tokenizer, tmp_path, spec, max_steps=1)
    trainer.train()
    baseline = trainer.train_baseline(copy_model(student))
    assert baseline.distillation_loss.spec() == {"ce": {**trainer.distillation_loss.spec()["ce"], "weight": 1.0}}
    assert weights_of(baseline)["negative"] > 0


def test_record_and_card_have_the_numbers(student, teacher, rows, tokenizer, tmp_path):
    spec = {"kl": 1.0, "ce": {"weight": 0.1, "class_weights": WEIGHTS}}
    record = trainer_with(student, teacher, rows, tokenizer, tmp_path, spec).distillation_record()
    record = json.loads(json.dumps(record))
    assert record["objectives"]["ce"]["class_weights"] == WEIGHTS
    assert "weight of the label (negative: 0.5, neutral: 2, positive: 3)" in loss_section(record)
    several = loss_section({**record, "problem_type": "multi_label_classification"})
    assert "positive labels times (negative: 0.5, neutral: 2, positive: 3)" in several


def test_a_search_counts_anew_for_every_trial(student, teacher, rows, tokenizer, tmp_path):
    trainer = DistillationTrainer(
        None, copy_model(teacher), args_with(tmp_path, {"ce": {"class_weights": "balanced"}}, max_steps=1),
        train_dataset=rows, processing_class=tokenizer, model_init=lambda: copy_model(student),
    )  # fmt: skip
    expected = weights_of(trainer)
    trainer.train()
    assert weights_of(trainer) == expected


def test_the_refusal_of_compute_loss_func_names_class_weights(student, teacher, dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"compute_loss_func.*class_weights"):
        DistillationTrainer(
            student, teacher, make_args(tmp_path), train_dataset=dataset, processing_class=tokenizer,
            compute_loss_func=lambda outputs, labels, num_items_in_batch=None: 0.0,
        )  # fmt: skip


def test_labels_out_of_range_are_named_before_they_are_counted(student, tokenizer, dataset, tmp_path):
    rows = Dataset.from_list([{**row, "labels": 7} for row in dataset.select(range(4))])
    with pytest.raises(ValueError, match="Label 7 in row 0"):
        trainer_with(student, None, rows, tokenizer, tmp_path, {"ce": {"class_weights": "balanced"}})
