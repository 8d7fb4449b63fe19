"""The baseline is the same training without the teacher: its optimizer, smoothing, callbacks and class."""

import copy

import pytest
import torch
from invariance import make_args
from tiny import LABEL_NAMES, copy_model, tiny_model
from transformers import TrainerCallback

from hf_distill import DistillationTrainer
from hf_distill.classifiers.label_maps import name_classes

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}


def trained(models, rows, tokenizer, folder, cls=DistillationTrainer, args=None, **kwargs):
    trainer = cls(
        copy_model(models[0]), copy_model(models[1]), args or make_args(folder, max_steps=2), train_dataset=rows,
        eval_dataset=rows, processing_class=tokenizer, **kwargs,
    )  # fmt: skip
    trainer.train()
    return trainer


def test_the_smoothing_of_the_hard_term_is_kept(models, rows, tokenizer, tmp_path):
    spec = {"kl": 1.0, "ce": {"weight": 0.1, "label_smoothing": 0.2}}
    args = make_args(tmp_path, max_steps=2, **UNSET, objectives=spec)
    baseline = trained(models, rows, tokenizer, tmp_path, args=args).train_baseline(copy_model(models[0]))
    assert baseline.distillation_loss.spec() == {"ce": {"label_smoothing": 0.2, "weight": 1.0}}
    given = make_args(tmp_path, max_steps=2, label_smoothing_factor=0.3)
    baseline = trained(models, rows, tokenizer, tmp_path, args=given).train_baseline(copy_model(models[0]))
    assert baseline.distillation_loss.spec()["ce"]["label_smoothing"] == 0.3


class Count(TrainerCallback):
    def __init__(self):
        self.steps, self.begins = 0, []

    def on_train_begin(self, *args, **kwargs):
        self.begins.append(self.steps)

    def on_step_end(self, *args, **kwargs):
        self.steps += 1


def test_callbacks_start_as_they_did_for_the_student(models, rows, tokenizer, tmp_path):
    count = Count()
    trainer = trained(models, rows, tokenizer, tmp_path, callbacks=[count])
    baseline = trainer.train_baseline(copy_model(models[0]))
    (copied,) = [callback for callback in baseline.callback_handler.callbacks if isinstance(callback, Count)]
    assert copied is not count
    assert (copied.begins, copied.steps, count.steps) == ([0], 2, 2)


def test_a_callback_that_cannot_be_copied_is_named(models, rows, tokenizer, tmp_path):
    class Open(TrainerCallback):
        def __init__(self, path):
            self.file = path.open("w")

    callback = Open(tmp_path / "log")
    trainer = trained(models, rows, tokenizer, tmp_path, callbacks=[callback])
    with pytest.raises(ValueError, match="Open cannot be copied"):
        trainer.train_baseline(copy_model(models[0]))
    callback.file.close()


def test_the_optimizer_class_is_kept_and_an_optimizer_object_is_refused(models, rows, tokenizer, tmp_path):
    settings = (torch.optim.Adagrad, {"lr": 0.01})
    trainer = trained(models, rows, tokenizer, tmp_path, optimizer_cls_and_kwargs=settings)
    baseline = trainer.train_baseline(copy_model(models[0]))
    assert isinstance(baseline.optimizer.optimizer, torch.optim.Adagrad)
    student = copy_model(models[0])
    trainer = DistillationTrainer(
        student, copy_model(models[1]), make_args(tmp_path, max_steps=1), train_dataset=rows,
        processing_class=tokenizer, optimizers=(torch.optim.SGD(student.parameters(), lr=0.1), None),
    )  # fmt: skip
    trainer.train()
    with pytest.raises(ValueError, match=r"`optimizers` was passed. Pass `optimizer_cls_and_kwargs`"):
        trainer.train_baseline(copy_model(models[0]))


def test_the_baseline_is_of_the_same_class(models, rows, tokenizer, tmp_path):
    class Mine(DistillationTrainer):
        pass

    class Narrow(DistillationTrainer):
        def __init__(self, model, teacher_model, args, train_dataset, eval_dataset, processing_class):
            super().__init__(
                model, teacher_model, args, train_dataset=train_dataset, eval_dataset=eval_dataset,
                processing_class=processing_class,
            )  # fmt: skip

    assert type(trained(models, rows, tokenizer, tmp_path, Mine).train_baseline(copy_model(models[0]))) is Mine
    with pytest.raises(ValueError, match=r"cannot be made with Narrow: its constructor needs teacher_model"):
        trained(models, rows, tokenizer, tmp_path, Narrow).train_baseline(copy_model(models[0]))


def test_objectives_and_smoothing_are_not_given_twice(models, rows, tokenizer, tmp_path):
    for changes, message in (
        ({"objectives": {"kl": 1.0}}, r"given to the Trainer and in `args\.objectives`"),
        ({"label_smoothing_factor": 0.1}, "`label_smoothing_factor` is set"),
    ):
        with pytest.raises(ValueError, match=message):
            DistillationTrainer(
                models[0], models[1], make_args(tmp_path, **UNSET, **changes), train_dataset=rows,
                processing_class=tokenizer, objectives={"ce": 1.0},
            )  # fmt: skip


OTHER_STUDENTS = {
    "dropout": (lambda student: tiny_model(2, seed=2, hidden_dropout_prob=0.3), "`hidden_dropout_prob` in the config"),
    "frozen": (
        lambda student: student.get_input_embeddings().requires_grad_(False),
        "`bert.embeddings.word_embeddings.weight` is trained in one of student and baseline",
    ),
    "classes": (
        lambda student: name_classes(student.config, LABEL_NAMES[::-1]), "The classes of the baseline are .'positive'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER_STUDENTS)
def test_a_baseline_that_would_train_otherwise_is_refused(models, rows, tokenizer, tmp_path, what):
    change, message = OTHER_STUDENTS[what]
    student = copy_model(models[0])
    changed = change(student)
    with pytest.raises(ValueError, match=message):
        trained(models, rows, tokenizer, tmp_path).train_baseline(changed if what == "dropout" else student)


def test_a_baseline_without_class_names_gets_those_of_the_student(models, rows, tokenizer, tmp_path):
    student = copy_model(models[0])
    name_classes(student.config, ["LABEL_0", "LABEL_1", "LABEL_2"])
    baseline = trained(models, rows, tokenizer, tmp_path).train_baseline(student)
    assert list(baseline.model.config.id2label.values()) == LABEL_NAMES


def test_special_tokens_that_trainer_sets_do_not_make_another_student(models, rows, tokenizer, tmp_path):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.bos_token = "[CLS]"
    trainer = trained(models, rows, tokenizer, tmp_path)
    assert trainer.model.config.bos_token_id != models[0].config.bos_token_id
    trainer.train_baseline(copy_model(models[0]))
