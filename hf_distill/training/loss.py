"""Running the objectives, and training, synchronizing, saving and restoring what they learn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedConfig, TrainerCallback
from transformers.utils import logging

from hf_distill.classifiers.outputs import Batch, ClassifierOutputs
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.objectives import DistillationLoss
from hf_distill.objectives.class_weights import LabelCounts

logger = logging.get_logger(__name__)

# Lies beside the optimizer's state in a checkpoint, never beside a published student.
OBJECTIVES_NAME = "objectives.safetensors"


class LossRunner:
    """Runs the objectives of a loss, and trains the parameters that they have together with the student's.

    These parameters, the projections between hidden sizes, form a group of the optimizer with the student's learning
    rate and no weight decay, which would only pull student and teacher apart. Their gradients are clipped on their
    own, so that the student's are clipped as they would be without them.

    Args:
        loss: The objectives.
        accelerator: The Trainer's.
    """

    def __init__(self, loss: DistillationLoss, accelerator: Accelerator) -> None:
        self.loss, self.accelerator = loss, accelerator
        self._module: nn.Module = loss

    @property
    def has_parameters(self) -> bool:
        """Whether an objective learns something."""
        return next(self.loss.parameters(), None) is not None

    def bind(
        self,
        problem_type: ProblemType,
        student_config: PreTrainedConfig,
        teacher_config: PreTrainedConfig | None,
        seed: int,
    ) -> None:
        """Fit the objectives to the models and move them to the device.

        Projections are drawn from `seed` and change no other random draw.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.loss.bind(problem_type, student_config, teacher_config)
        self.loss.to(self.accelerator.device)

    def bind_classes(self, class_names: Sequence[str], count_labels: Callable[[], LabelCounts]) -> None:
        """Fit the objectives to the classes of the student; see [`Objective.bind_classes`]."""
        self.loss.bind_classes(class_names, count_labels)
        self.loss.to(self.accelerator.device)

    def check_trainable(self, is_sharded: bool, has_given_scheduler: bool) -> None:
        """Refuse parameters that would not be trained.

        Args:
            is_sharded: Whether DeepSpeed or FSDP trains the student.
            has_given_scheduler: Whether the user passed a learning rate schedule.

        Raises:
            ValueError: in either of these cases, if an objective learns something.
        """
        if self.has_parameters and is_sharded:
            raise ValueError(
                "Learned projections are trained by one process or by DistributedDataParallel, not by DeepSpeed or "
                "FSDP. Choose a student of the teacher's width, or `minilm_relation`, which learns none."
            )
        if self.has_parameters and has_given_scheduler:
            raise ValueError(
                "The objectives learn projections, which join the optimizer before the schedule is made, and "
                "`optimizers` already has a schedule. Pass `optimizers=(optimizer, None)`."
            )

    def warn_about_batchwise_terms(self) -> None:
        """Warn that a term depends on how rows are split over accumulation steps and processes."""
        if batchwise := [term.name for term in self.loss.terms if not term.is_per_unit]:
            logger.warning(
                f"`{batchwise[0]}` compares the rows of a micro-batch with each other, so the result depends on how "
                "the rows are split over accumulation steps and processes."
            )

    def run(
        self, student: ClassifierOutputs, teacher: ClassifierOutputs | None, batch: Batch, progress: float
    ) -> dict[str, Tensor]:
        """Return the unweighted terms per unit, at the weights and temperatures of this optimizer step.

        Args:
            student: Outputs at units.
            teacher: Outputs at units; None if no objective reads them.
            batch: The batch at units.
            progress: Share of the optimizer steps that are done.
        """
        self.loss.set_progress(progress)
        terms = self._module(student, teacher, batch)
        if self.accelerator.num_processes > 1 and "logits" not in self.loss.student_reads:
            # DistributedDataParallel waits for a gradient of the head too, unless it looks for unused parameters.
            name, values = next(iter(terms.items()))
            terms = {**terms, name: values + 0.0 * student.logits.sum()}
        return terms

    def normalize(self, terms: dict[str, Tensor], is_unit: Tensor, num_units: Tensor | int | None) -> Tensor:
        """Return the weighted sum of all terms over the units, divided by their number.

        Args:
            terms: Unweighted values, `(units,)` each.
            is_unit: `(units,)` bool; the other rows count for nothing.
            num_units: Units of the whole accumulated batch of all processes; None for the units of this batch.
        """
        values = sum(weight * terms[name] for name, weight in self.loss.weights.items())
        total = torch.where(is_unit, values, 0.0).sum()
        if num_units is None:
            return total / is_unit.sum().clamp(min=1)
        # DistributedDataParallel averages gradients over the processes, and the units are counted over all of them.
        return total * self.accelerator.num_processes / num_units

    # ---- Parameters of the objectives ----

    def add_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the objectives' parameters to an optimizer, and synchronize them between processes."""
        parameters = list(self.loss.parameters())
        if not parameters:
            return
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if id(parameters[0]) not in known:
            optimizer.add_param_group({"params": parameters, "weight_decay": 0.0})
        if self.accelerator.num_processes > 1 and self._module is self.loss:
            # This also gives all processes the same initial projections.
            self._module = DistributedDataParallel(self.loss)

    def save(self, folder: str) -> None:
        """Write the parameters into a checkpoint, if there are any."""
        if self.has_parameters:
            save_file(self.loss.state_dict(), Path(folder, OBJECTIVES_NAME))

    def load_best(self, checkpoint: str | None) -> None:
        """Read the parameters of the best checkpoint, if there is one that has them."""
        if checkpoint is not None and Path(checkpoint, OBJECTIVES_NAME).exists():
            self.load(checkpoint)

    def load(self, checkpoint: str) -> None:
        """Read the parameters from a checkpoint.

        Raises:
            FileNotFoundError: if the objectives have parameters and the checkpoint has none.
        """
        if not self.has_parameters:
            return
        path = Path(checkpoint, OBJECTIVES_NAME)
        if not path.exists():
            raise FileNotFoundError(
                f"The objectives learn projections, and {checkpoint} has no {OBJECTIVES_NAME}: it was written with "
                "other objectives. Start a new run, or resume with those objectives."
            )
        self.loss.load_state_dict(load_file(path, device=str(self.accelerator.device)))


class ClipAndZero(TrainerCallback):
    """Clips and zeroes the gradients of the objectives; Trainer does so for the student only.

    Args:
        loss: The objectives.
    """

    def __init__(self, loss: DistillationLoss) -> None:
        self.loss = loss

    def on_train_begin(self, *args: Any, optimizer: Any = None, **kwargs: Any) -> None:
        groups = [] if optimizer is None else optimizer.param_groups
        trained = {id(parameter) for group in groups for parameter in group["params"]}
        if not trained >= {id(parameter) for parameter in self.loss.parameters()}:
            raise ValueError(
                "The objectives learn projections that are not in the optimizer. A subclass that overrides "
                "`create_optimizer` must call `DistillationTrainer.create_optimizer`."
            )
        self.loss.zero_grad()

    def on_pre_optimizer_step(self, args: Any, *others: Any, **kwargs: Any) -> None:
        if args.max_grad_norm and next(self.loss.parameters(), None) is not None:
            torch.nn.utils.clip_grad_norm_(self.loss.parameters(), args.max_grad_norm)

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.loss.zero_grad()
