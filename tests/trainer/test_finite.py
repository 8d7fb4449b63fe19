"""A loss that is no number stops the run; the term, the step, the rows and a teacher at fault are named."""

import copy
import math

import pytest
import torch
from invariance import make_trainer
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from torch.nn import functional as F
from transformers import BertForSequenceClassification

from hf_distill.training.running_means import NotFinite, RunningMeans

CPU = torch.device("cpu")


class Overflowing(BertForSequenceClassification):
    """A teacher whose first logit, or others, is no number where a token occurs."""

    trigger, value, columns = 0, math.inf, slice(0, 1)

    def forward(self, input_ids=None, **kwargs):
        outputs = super().forward(input_ids=input_ids, **kwargs)
        logits = outputs.logits.clone()
        logits[(input_ids == self.trigger).any(dim=1), self.columns] = self.value
        outputs.logits = logits
        return outputs


def overflowing(teacher, token, **changes):
    model = copy.deepcopy(teacher)
    model.__class__ = Overflowing
    model.trigger = token
    for name, value in changes.items():
        setattr(model, name, value)
    return model


@pytest.fixture(scope="module")
def rare(tokenizer):
    """Rows of which those with the numbers 5 and 12 alone have the word `awful`, shuffled and with another first."""
    rows = tiny_dataset(tokenizer, 200, seed=4).shuffle(seed=1)
    token = tokenizer.convert_tokens_to_ids("awful")
    has = [token in ids for ids in rows["input_ids"]]
    those, others = ([i for i, found in enumerate(has) if found is wanted] for wanted in (True, False))
    return rows.select([*others[:5], those[0], *others[5:11], those[1], *others[11:14]]), token


# ---- What is kept of the units ----


def kept(*batches):
    means = RunningMeans(["kl", "ce"], CPU)
    for step, (kl, ce, is_unit, rows) in enumerate(batches, start=1):
        values = {"kl": torch.tensor(kl), "ce": torch.tensor(ce)}
        means.add(values, torch.tensor(is_unit), rows=None if rows is None else torch.tensor(rows), step=step)
    return means.first_not_finite()


def test_the_first_value_that_is_not_finite_is_found_with_its_term_step_and_rows():
    fine = ([1.0, 2.0], [1.0, 2.0], [True, True], [7, 3])
    bad = ([1.0, 2.0, 3.0], [math.inf, 1.0, math.nan], [True, True, True], [9, 4, 5])
    worse = ([math.nan, 2.0], [1.0, 2.0], [True, True], [0, 1])
    assert kept(fine, fine) is None
    assert kept(fine, bad, worse) == NotFinite("ce", math.inf, 2, [5, 9], 3)


def test_a_row_that_does_not_count_is_not_found():
    assert kept(([math.nan, 1.0], [1.0, 1.0], [False, True], [0, 1])) is None


def test_tokens_are_found_by_their_row_and_rows_without_numbers_too():
    tokens = ([math.nan, math.nan, 1.0], [1.0, 1.0, 1.0], [True, True, True])
    assert str(kept((*tokens, [4, 4, 6]))) == str(NotFinite("kl", math.nan, 1, [4], 2))
    assert str(kept((*tokens, None))) == str(NotFinite("kl", math.nan, 1, [], 3))


def test_what_is_kept_does_not_grow_and_the_first_is_never_lost(monkeypatch):
    monkeypatch.setattr("hf_distill.training.running_means._MOST_KEPT", 30)
    means, ones = RunningMeans(["kl"], CPU), torch.ones(4)
    for step in range(1, 60):
        values = torch.where(torch.arange(4) == 2, math.inf, ones) if step in (17, 40) else ones
        means.add({"kl": values}, ones.bool(), rows=torch.arange(4) + 4 * step, step=step)
        assert len(means._recent) <= 5
    assert means.first_not_finite() == NotFinite("kl", math.inf, 17, [4 * 17 + 2], 4)


# ---- Training ----


def stopped(student, teacher, rows, folder, **changes):
    """Return why the training stopped; it logs after its end, so that only the look at what is saved is in time."""
    settings = {"per_device_train_batch_size": 4, "logging_steps": 100, **changes}
    trainer = make_trainer(student, teacher, rows, tiny_tokenizer(), folder, **settings)
    with pytest.raises(FloatingPointError) as error:
        trainer.train()
    return str(error.value)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_row_that_the_teacher_cannot_score_is_named(models, rare, tmp_path, value):
    student, teacher = models
    rows, token = rare
    message = stopped(student, overflowing(teacher, token, value=value), rows, tmp_path)
    assert "The teacher gives NaN, +inf or no finite logit for row 5 of the training dataset" in message
    assert "after step 2" in message
    assert "`loss_kl`" in message


@pytest.mark.parametrize(("objectives", "term"), [({"kl": 1.0}, "kl"), ({"logit_mse": 1.0}, "logit_mse")])
def test_a_row_without_a_finite_logit_of_the_teacher_is_named(models, rare, tmp_path, objectives, term):
    student, teacher = models
    rows, token = rare
    unset = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    settings = {**unset, "objectives": objectives, "per_device_train_batch_size": 4}
    teacher = overflowing(teacher, token, value=-math.inf, columns=slice(None))
    message = stopped(student, teacher, rows, tmp_path, **settings)
    assert message.startswith("The teacher gives NaN, +inf or no finite logit for row 5 of the training dataset")
    assert f"`loss_{term}` is nan after step 2" in message


def test_a_class_that_a_loss_cannot_forbid_is_named_by_its_rows(models, rare, tmp_path):
    teacher = overflowing(models[1], rare[1], value=-math.inf, columns=slice(1))
    unset = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
    message = stopped(models[0], teacher, rare[0], tmp_path, objectives={"logit_mse": 1.0}, **unset)
    assert message.startswith("`loss_logit_mse` is ")
    assert "for row 5 of the training dataset" in message
    assert "whether a model forbids a class" in message


def test_a_class_that_the_teacher_alone_forbids_does_not_end_a_run_with_kl(models, rare, tokenizer, tmp_path):
    teacher = overflowing(models[1], rare[1], value=-math.inf, columns=slice(1))
    trainer = make_trainer(models[0], teacher, rare[0], tokenizer, tmp_path, learning_rate=1e-3)
    assert math.isfinite(trainer.train().training_loss)


def test_a_student_of_nan_is_told_by_all_rows_of_the_batch(models, rare, tmp_path):
    student, teacher = copy.deepcopy(models[0]), models[1]
    student.classifier.bias.data[0] = math.nan
    message = stopped(student, teacher, rare[0], tmp_path)
    assert message.startswith("`loss_kl` is nan after step 1 for rows 0, 1, 2, 3 of the training dataset, all 4")
    assert "student's weights" in message


def test_a_label_that_makes_the_loss_infinite_is_named(tokenizer, tmp_path):
    targets = [0.5] * 16
    targets[6] = 1e30  # its square is more than float32 holds
    rows = tiny_dataset(tokenizer, 16).remove_columns("labels").add_column("labels", targets)
    student, teacher = (tiny_model(n, num_labels=1, seed=n, problem_type="regression") for n in (1, 2))
    message = stopped(student, teacher, rows, tmp_path, temperature=None)
    assert message.startswith("`loss_ce` is inf after step 2 for row 6 of the training dataset; the other rows")


def test_the_number_of_a_row_is_right_whatever_the_order(models, rare, tmp_path):
    student, teacher = models
    rows, token = rare
    changes = {"train_sampling_strategy": "random", "per_device_train_batch_size": 16}
    message = stopped(student, overflowing(teacher, token), rows, tmp_path, **changes)
    assert "for rows 5, 12 of the training dataset" in message


def test_no_checkpoint_is_written_behind_a_loss_that_is_no_number(models, rare, tmp_path):
    student, teacher = models
    rows, token = rare
    stopped(student, overflowing(teacher, token), rows, tmp_path, save_strategy="steps", save_steps=1)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_weights_that_a_finite_loss_has_spoilt_are_not_saved(models, rare, tmp_path):
    changes = {"learning_rate": 1e38, "save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    message = stopped(*models, rare[0], tmp_path, per_device_train_batch_size=16, **changes)
    assert "Weights of the student are NaN or infinite after step 1" in message
    assert not list(tmp_path.glob("checkpoint-*"))


def test_an_evaluation_names_its_rows_too(models, rare, tokenizer, tmp_path):
    student, teacher = models
    rows, token = rare
    trainer = make_trainer(student, overflowing(teacher, token), rows, tokenizer, tmp_path)
    with pytest.raises(FloatingPointError, match="no finite logit for row 5 of the evaluation dataset"):
        trainer.evaluate()


def test_row_numbers_reach_neither_student_nor_predictions(models, rare, tokenizer, tmp_path):
    trainer = make_trainer(*models, rare[0], tokenizer, tmp_path)
    expected = []
    for row in rare[0]:
        inputs = {name: torch.tensor([row[name]]) for name in tokenizer.model_input_names}
        expected.append(models[0](**inputs).logits)
    predicted = torch.tensor(trainer.predict(rare[0]).predictions)
    assert F.mse_loss(predicted, torch.cat(expected).detach()) < 1e-8
    assert "_row_number" not in trainer.train_dataset.column_names
