"""Flags of `hf-distill search` that `hf-distill train` does not have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from hf_distill.search.need import Need


@dataclass
class SearchArguments:
    """What the student must be able to do, and how it is searched."""

    require: list[str] | None = field(
        default=None,
        metadata={
            "action": "extend",
            "help": "A requirement on the exported student, measured on the validation rows: 'accuracy >= 0.98 * "
            "teacher', 'recall[fraud] >= 0.9', 'latency_p95_ms <= 5', 'size_mb <= 20'. The flag can be repeated.",
        },
    )
    minimize: str = field(
        default="latency",
        metadata={
            "help": "What decides between students that meet the requirements: latency (median of one text), size "
            "(of the export's file) or flops (of one text of median length).",
            "choices": ["latency", "size", "flops"],
        },
    )
    space: str | None = field(
        default=None,
        metadata={"help": "YAML file of the values to try, see docs/search.md. Unset: the space that is printed."},
    )
    num_trials: int = field(default=20, metadata={"help": "Number of trials, of all processes together."})
    study_name: str = field(default="search", metadata={"help": "Name of the search in its storage."})
    storage: str | None = field(
        default=None,
        metadata={
            "help": "Where trials are stored: a database, e.g. sqlite:///search/study.db, or a journal file, e.g. "
            "journal:///shared/study.log. Processes with the same storage share the trials. Unset: study.db in "
            "--output_dir."
        },
    )

    dry_run: bool = field(default=False, metadata={"help": "Read the data, print the space and the plan, and stop."})

    def __post_init__(self) -> None:
        if self.num_trials < 1:
            raise ValueError(f"--num_trials must be at least 1, got {self.num_trials}.")
        if not self.require:
            raise ValueError(
                "No requirement on quality given. Pass --require 'accuracy >= 0.98 * teacher', for example."
            )

    @property
    def need(self) -> Need:
        """The requirements, and the cost to minimize."""
        from hf_distill.search.need import make_need

        return make_need(self.require or [], self.minimize)
