"""What a teacher is to the Trainer: columns of a batch in, `ClassifierOutputs` out, frozen and without a graph."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch

from hf_distill.classifiers.outputs import COLUMNS, TEACHER_LOGITS, Batch, ClassifierOutputs


class BaseTeacher:
    """What a teacher is to the Trainer: some columns of a batch go in, outputs in the student's order come out.

    Whatever else it takes (other token ids, a store, a function to call) is done to the data set beforehand and is
    one of the columns. A subclass says which columns it reads, and how outputs are made of them.

    Attributes:
        columns: What it reads of a batch, if it is there.
        needs: Those without which it can say nothing.
        reads: What is read of it: names of fields of [`ClassifierOutputs`].
        label_order: Its class for each of the student's; None for the same order.
        temperature: What its logits are divided by, its calibration. The objective's temperature comes on top.
        is_stored: Whether its outputs are columns of the data set.
    """

    columns: frozenset[str]
    needs: frozenset[str]
    is_stored: bool = False
    reads: frozenset[str] = frozenset({"logits"})
    label_order: list[int] | None = None
    temperature: float = 1.0

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`], the logits if there are none.

        Raises:
            ValueError: for what it cannot show.
        """
        if missing := sorted(set(reads) - {"logits"}):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, and {type(self).__name__} shows logits "
                "alone. Pass one model as `teacher_model`, or choose objectives on the logits."
            )

    @property
    def shows_logits(self) -> bool:
        """Whether its logits are known."""
        return True

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return self.needs <= batch.keys()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Return the teacher's outputs: calibrated logits in float32, in the student's label order.

        Raises:
            ValueError: if a column is missing that it needs.
        """
        if not self.covers(batch):
            missing = ", ".join(f"`{name}`" for name in sorted(self.needs - batch.keys()))
            raise ValueError(
                f"The teacher cannot be asked: the data set has no column {missing}. Pass `teacher_model`, or add its "
                f"logits as a column `{TEACHER_LOGITS}`."
            )
        outputs = self._outputs(batch)
        if outputs.logits is None:
            return outputs
        logits = outputs.logits.float()
        if self.temperature != 1.0:  # of a language model they are half a gigabyte: no copy without need
            logits = logits / self.temperature
        return replace(outputs, logits=logits if self.label_order is None else logits[..., self.label_order])

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        """Return what the teacher says, in its own order of the classes."""
        raise NotImplementedError


class CachedTeacher(BaseTeacher):
    """A teacher whose outputs are columns of the data set; in the student's label order if `label_order` is unset.

    Args:
        prefix: What the names of its columns start with: `teacher_logits`, `teacher_cls_states`.
    """

    is_stored = True

    def __init__(self, prefix: str = "teacher_") -> None:
        self._columns = {name: prefix + name for name in COLUMNS}
        self.columns = frozenset(self._columns.values())

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The columns of what is read."""
        return frozenset(self._columns[name] for name in self.reads)

    @property
    def shows_logits(self) -> bool:
        """Whether its logits are known; of some teachers only the hidden states are stored."""
        return "logits" in self.reads

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: for what no column holds.
        """
        if missing := sorted(set(reads) - COLUMNS.keys()):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, and only its {' and '.join(COLUMNS)} can "
                "be stored. Pass `teacher_model` and leave `cache_teacher_outputs` out, or choose objectives that "
                "read only these, `kl` and `pkd` for instance."
            )
        self.reads = frozenset(reads) or frozenset({"logits"})  # for evaluation, if training reads nothing

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        known: dict[str, Any] = {name: batch[self._columns[name]] for name in self.reads}
        return ClassifierOutputs(**{"logits": None, **known})
