"""Objectives with parameters of their own: the only place that trains, synchronises, saves and restores them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainerCallback

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.objectives import DistillationLoss

# Beside the optimiser's state in a checkpoint; never beside a student that is published.
OBJECTIVES_NAME = "objectives.safetensors"


class TrainedObjectives(Trainer):
    """The part of [`DistillationTrainer`] that runs the objectives, and trains what they learn with the student.

    Their parameters, the projections between hidden sizes, form a group of the optimiser with the student's learning
    rate and no weight decay, which would only pull the match apart. They are clipped on their own, so that the
    student's clipping is what it is without them.
    """

    distillation_loss: DistillationLoss

    def _place_objectives(self) -> None:
        """Move new objectives to the device, and see to it that they are trained."""
        self._objectives_module: nn.Module = self.distillation_loss.to(self.args.device)
        self.pop_callback(_ClipAndZero)
        if not self._has_parameters:
            return
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise ValueError(
                "Learned projections are trained on one process or by DistributedDataParallel, not by DeepSpeed or "
                "FSDP. Choose a student of the teacher's width, or `minilm_relation`, which learns none."
            )
        if self.lr_scheduler is not None and not self._created_lr_scheduler:
            raise ValueError(
                "The objectives learn projections, which join the optimiser before the schedule is made, and "
                "`optimizers` has a schedule already. Pass `optimizers=(optimizer, None)`."
            )
        self.add_callback(_ClipAndZero(self.distillation_loss))

    @property
    def _has_parameters(self) -> bool:
        return next(self.distillation_loss.parameters(), None) is not None

    def _run_objectives(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the unweighted terms per unit, at the weights and temperatures of this optimiser step."""
        self.distillation_loss.set_progress(self.state.global_step / max(1, self.state.max_steps))
        terms = self._objectives_module(student, teacher, batch)
        if self.args.world_size > 1 and "logits" not in self.distillation_loss.student_reads:
            # DistributedDataParallel waits for a gradient of the head too, unless it looks for unused parameters.
            name, values = next(iter(terms.items()))
            terms = {**terms, name: values + 0.0 * student.logits.sum()}
        return terms

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimiser, with a group for what the objectives learn."""
        optimizer = super().create_optimizer(model)
        parameters = list(self.distillation_loss.parameters())
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if parameters and id(parameters[0]) not in known:
            optimizer.add_param_group({"params": parameters, "weight_decay": 0.0})
        if parameters and self.args.world_size > 1 and self._objectives_module is self.distillation_loss:
            # It also makes the processes start from equal projections.
            self._objectives_module = DistributedDataParallel(self.distillation_loss)
        return optimizer

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save and self._has_parameters:
            save_file(self.distillation_loss.state_dict(), Path(output_dir, OBJECTIVES_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self._load_objectives(checkpoint)
        super()._load_optimizer_and_scheduler(checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        folder = self.state.best_model_checkpoint
        if folder is not None and Path(folder, OBJECTIVES_NAME).exists():
            self._load_objectives(folder)

    def _load_objectives(self, checkpoint: str) -> None:
        if not self._has_parameters:
            return
        path = Path(checkpoint, OBJECTIVES_NAME)
        if not path.exists():
            raise FileNotFoundError(
                f"The objectives learn projections, and {checkpoint} has no {OBJECTIVES_NAME}: it was written with "
                "other objectives, or with `save_only_model`. Start anew, or resume with those objectives."
            )
        self.distillation_loss.load_state_dict(load_file(path, device=str(self.args.device)))


class _ClipAndZero(TrainerCallback):
    # Trainer clips and zeroes the gradients of the student alone; these would accumulate for ever.
    def __init__(self, loss: DistillationLoss) -> None:
        self.loss = loss

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.loss.zero_grad()

    def on_pre_optimizer_step(self, args: Any, *others: Any, **kwargs: Any) -> None:
        if args.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.loss.parameters(), args.max_grad_norm)

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.loss.zero_grad()
