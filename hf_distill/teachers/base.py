"""The base class of teachers, and the teacher whose outputs are stored in columns of the dataset."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch

from hf_distill.classifiers.outputs import STORABLE_OUTPUTS, TEACHER_LOGITS, Batch, ClassifierOutputs


class BaseTeacher:
    """A teacher: it reads columns of a batch and returns outputs in the student's label order, without gradients.

    Everything else that a teacher needs (its own token ids, stored outputs, the answers of a function) is added to the
    dataset as columns before training. A subclass sets `columns` and `required_columns`, and implements `_outputs`.

    Attributes:
        columns: The columns of a batch that the teacher reads if they are present.
        required_columns: The columns without which the teacher cannot return its outputs.
        requested: Names of the fields of [`ClassifierOutputs`] that the teacher returns.
        label_order: The teacher's class id for each class of the student; None if the order is the same.
        temperature: Calibration temperature; the logits are divided by it. The temperature of an objective is applied
            in addition.
        is_stored: Whether the outputs are columns of the dataset.
    """

    columns: frozenset[str]
    required_columns: frozenset[str]
    is_stored: bool = False
    requested: frozenset[str] = frozenset({"logits"})
    label_order: list[int] | None = None
    temperature: float = 1.0
    _order: tuple[list[int] | None, torch.Tensor] | None = None

    def request(self, outputs: Collection[str]) -> None:
        """Choose the outputs that the teacher returns.

        Args:
            outputs: Names of fields of [`ClassifierOutputs`]; if empty, the logits.

        Raises:
            ValueError: if the teacher cannot return them.
        """
        if unavailable := sorted(set(outputs) - {"logits"}):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(unavailable)}, but {type(self).__name__} only "
                "returns logits. Pass one model as `teacher_model`, or choose objectives that only read logits."
            )

    @property
    def returns_logits(self) -> bool:
        """Whether the teacher returns logits."""
        return True

    def can_answer(self, batch: Batch) -> bool:
        """Return whether the batch has all required columns."""
        return self.required_columns <= batch.keys()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Return the teacher's outputs; the logits are calibrated, in float32 and in the student's label order.

        Raises:
            ValueError: if a required column is missing.
        """
        if not self.can_answer(batch):
            missing = ", ".join(f"`{name}`" for name in sorted(self.required_columns - batch.keys()))
            raise ValueError(
                f"The teacher's outputs are not available: the batch has no {missing}. If the dataset has it, "
                "let your `data_collator` or data loader keep it. If not, pass `teacher_model`, or add the teacher's "
                f"logits as a column `{TEACHER_LOGITS}`."
            )
        outputs = self._outputs(batch)
        if outputs.logits is None:
            return outputs
        logits = outputs.logits.float()
        if self.temperature != 1.0:  # do not copy without need: the logits of a language model can take 0.5 GB
            logits = logits / self.temperature
        if self.label_order is not None:
            logits = logits.index_select(-1, self._order_on(logits.device))
        return replace(outputs, logits=logits)

    def _order_on(self, device: torch.device) -> torch.Tensor:
        # A list as an index would be copied to the device in each step, which waits for it.
        if self._order is None or self._order[0] != self.label_order or self._order[1].device != device:
            self._order = (self.label_order, torch.tensor(self.label_order, device=device))
        return self._order[1]

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        """Return the outputs in the teacher's own label order, not calibrated."""
        raise NotImplementedError


class CachedTeacher(BaseTeacher):
    """A teacher whose outputs are columns of the dataset.

    Args:
        prefix: Prefix of the column names, for instance `teacher_` in `teacher_logits` and `teacher_cls_states`.
    """

    is_stored = True

    def __init__(self, prefix: str = "teacher_") -> None:
        self._columns = {name: prefix + name for name in STORABLE_OUTPUTS}
        self.columns = frozenset(self._columns.values())

    @property
    def required_columns(self) -> frozenset[str]:  # type: ignore[override]
        """The columns of the requested outputs."""
        return frozenset(self._columns[name] for name in self.requested)

    @property
    def returns_logits(self) -> bool:
        """Whether logits are requested; if not, the dataset need not store them."""
        return "logits" in self.requested

    def request(self, outputs: Collection[str]) -> None:
        """Choose the outputs that the teacher returns.

        Args:
            outputs: Names of fields of [`ClassifierOutputs`]; if empty, the logits.

        Raises:
            ValueError: if an output cannot be stored.
        """
        if unavailable := sorted(set(outputs) - STORABLE_OUTPUTS.keys()):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(unavailable)}, but only "
                f"{' and '.join(STORABLE_OUTPUTS)} can be stored. Pass `teacher_model` and do not set "
                "`cache_teacher_outputs`, or choose objectives that only read stored outputs, for instance `kl` and "
                "`pkd`."
            )
        self.requested = frozenset(outputs) or frozenset({"logits"})  # evaluation reads the logits in any case

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        stored: dict[str, Any] = {name: batch[self._columns[name]] for name in self.requested}
        return ClassifierOutputs(**{"logits": None, **stored})
