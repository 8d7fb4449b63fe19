"""Flags of `hf-distill cache` beside the flags of the data."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from hf_distill.pipeline.loading import ModelReference


@dataclass
class CacheArguments:
    """The teacher, its precision, and where its logits are stored."""

    teacher_model_name_or_path: str = field(metadata={"help": "Path or Hub id of the teacher."})
    teacher_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the teacher on the Hub."}
    )
    teacher_trust_remote_code: bool = field(
        default=False, metadata={"help": "Run Python files that come with the teacher. A recipe cannot set this."}
    )
    teacher_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of the store of logits. Unset: the folder under HF_HOME that `train` also uses."},
    )
    teacher_dtype: str = field(
        default="float32",
        metadata={
            "help": "Precision of the teacher's forward pass: float32, bfloat16 or float16. `train` reads the stored "
            "logits only if it runs the teacher with the same precision.",
            "choices": ["float32", "bfloat16", "float16"],
        },
    )
    output_dir: str | None = field(
        default=None,
        metadata={"help": "Also write texts and logits to this folder, for `train --dataset_name`."},
    )
    hub_dataset_id: str | None = field(
        default=None,
        metadata={"help": "Also push texts and logits to a private dataset on the Hub with this id, user/name."},
    )
    dry_run: bool = field(default=False, metadata={"help": "Read the texts, print the plan, and stop."})
    use_cpu: bool = field(default=False, metadata={"help": "Run on the CPU even if there is an accelerator."})

    def __post_init__(self) -> None:
        if self.output_dir is not None:
            self.output_dir = os.path.expanduser(self.output_dir)

    @property
    def teacher(self) -> ModelReference:
        """The teacher."""
        from hf_distill.pipeline.loading import ModelReference

        return ModelReference(self.teacher_model_name_or_path, self.teacher_revision, self.teacher_trust_remote_code)
