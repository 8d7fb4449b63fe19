"""Flags that name the teacher; `train` and `search` share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from hf_distill.pipeline.loading import ModelReference


@dataclass
class TeacherArguments:
    """The teacher."""

    teacher_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Path or Hub id of the teacher. Unset: the data have its logits (see `hf-distill cache`)."},
    )
    teacher_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the teacher on the Hub."}
    )
    teacher_trust_remote_code: bool = field(
        default=False, metadata={"help": "Run Python files that come with the teacher. A recipe cannot set this."}
    )
    allow_weak_teacher: bool = field(
        default=False,
        metadata={
            "help": "Train also if the teacher was never fine-tuned, if its fine-tuning was too short, or if stored "
            "logits say nothing of the labels (docs/teachers.md#weak-teachers); these stop the command otherwise."
        },
    )

    @property
    def teacher(self) -> ModelReference | None:
        """The teacher; None if the data have its logits."""
        from hf_distill.pipeline.loading import ModelReference

        if self.teacher_model_name_or_path is None:
            return None
        return ModelReference(self.teacher_model_name_or_path, self.teacher_revision, self.teacher_trust_remote_code)
