"""Subclasses that override a hook of the Trainer keep working, or are told what they leave out."""

import pytest
import torch
from invariance import make_args
from tiny import copy_model, tiny_model, visible_to_caplog

from hf_distill import DistillationTrainer

UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}


def make(cls, student, teacher, rows, tokenizer, folder, **changes):
    return cls(
        copy_model(student), copy_model(teacher), make_args(folder, max_steps=1, **changes), train_dataset=rows,
        eval_dataset=rows, processing_class=tokenizer,
    )  # fmt: skip


def test_a_compute_loss_that_never_runs_the_teacher_is_named_at_the_first_step(
    models, rows, tokenizer, tmp_path, caplog
):
    class Plain(DistillationTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = self._run_student(model, inputs).logits.sum()
            return (loss, {}) if return_outputs else loss

    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.subclasses"):
        make(Plain, *models, rows, tokenizer, tmp_path).train()
    assert "Plain.compute_loss does not call DistillationTrainer.compute_loss" in caplog.text


def test_a_compute_loss_that_adds_to_ours_is_not_warned_about(models, rows, tokenizer, tmp_path, caplog):
    class Added(DistillationTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            loss = loss + 0.01 * outputs["logits"].square().mean()
            return (loss, outputs) if return_outputs else loss

    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.subclasses"):
        trainer = make(Added, *models, rows, tokenizer, tmp_path)
        trainer.train()
    assert "does not call" not in caplog.text
    assert "loss_kl" in trainer.state.log_history[0]


def test_batches_that_were_not_marked_are_named(models, rows, tokenizer, tmp_path, caplog):
    class Own(DistillationTrainer):
        def get_batch_samples(self, epoch_iterator, num_batches, device):
            batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
            return batches, torch.tensor(sum(len(batch["labels"]) for batch in batches))

    ours = make(DistillationTrainer, *models, rows, tokenizer, tmp_path)
    ours.train()
    with caplog.at_level("WARNING"), visible_to_caplog("hf_distill.training.subclasses"):
        theirs = make(Own, *models, rows, tokenizer, tmp_path)
        theirs.train()
    assert "Own.get_batch_samples does not call" in caplog.text
    assert theirs.state.log_history[0]["loss"] == pytest.approx(ours.state.log_history[0]["loss"])


def test_a_loader_of_a_subclass_is_used(models, rows, tokenizer, tmp_path):
    class Loader(DistillationTrainer):
        def get_train_dataloader(self):
            dataset = self._remove_unused_columns(self.train_dataset)
            return self.accelerator.prepare(
                torch.utils.data.DataLoader(dataset, batch_size=16, collate_fn=self.data_collator)
            )

    ours, theirs = (make(cls, *models, rows, tokenizer, tmp_path) for cls in (DistillationTrainer, Loader))
    ours.train(), theirs.train()
    assert theirs.state.log_history[0]["loss"] == pytest.approx(ours.state.log_history[0]["loss"])


def test_an_optimizer_without_the_projections_is_refused(models, rows, tokenizer, tmp_path):
    class Own(DistillationTrainer):
        def create_optimizer(self, model=None):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            return self.optimizer

    narrow = tiny_model(2, hidden_size=8, seed=2)
    trainer = make(
        Own, narrow, models[1], rows, tokenizer, tmp_path, **UNSET, objectives={"kl": 1.0, "hidden_mse": 1.0}
    )
    with pytest.raises(ValueError, match=r"projections that are not in the optimizer.*`create_optimizer`"):
        trainer.train()
