"""Flags of `hf-distill compare` beside the flags of the data."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import
    from hf_distill.pipeline.loading import ModelReference
    from hf_distill.reporting.requirements import Requirement


@dataclass
class CompareArguments:
    """The models, how they are compared, and where the report is written."""

    teacher_model_name_or_path: str = field(metadata={"help": "Path or Hub id of the teacher, or user/name@revision."})
    student_model_name_or_path: list[str] | None = field(
        default=None,
        metadata={
            "help": "Paths or Hub ids of students, or user/name@revision: small=out/small tiny=out/tiny. Paths with "
            "the same name, or without a name, are runs of one student with different seeds. Commas can separate them "
            "too: a,b,c."
        },
    )
    baseline_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Path or Hub id of the same student trained without the teacher. Separate runs with commas."
        },
    )
    export_folder: str | None = field(
        default=None,
        metadata={
            "help": "Also compare these exports of `hf-distill export`, each with a name for its column: "
            "int8=onnx_int8,fp32=onnx."
        },
    )
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run Python files that come with the models. Set it only if you trust all of them."},
    )
    shifted_file: list[str] | None = field(
        default=None,
        metadata={"help": "Files of labelled rows from another domain, with the same columns, to score as well."},
    )
    metric_module: list[str] | None = field(
        default=None,
        metadata={
            "help": "Folders with a metric of the `evaluate` library (NAME/NAME.py) to report as well; --metric_name "
            "NAME makes it decide. Its code is run, so a recipe cannot set this."
        },
    )
    slice_column: list[str] | None = field(
        default=None,
        metadata={
            "help": "Columns of the evaluation files, such as a language, to compare the models on the rows with each "
            "value of it as well. Values with fewer than 20 rows are merged."
        },
    )
    group_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the evaluation files that says which rows belong together, such as the document of a "
            "sentence. Intervals and tests then count whole groups."
        },
    )
    tune_thresholds: bool = field(
        default=False,
        metadata={
            "help": "For multi-label classification: choose a threshold for each class of each model on the rows of "
            "--validation_file, and compare on the rows of --test_file."
        },
    )
    margin: float = field(
        default=0.01,
        metadata={"help": "Largest loss against the teacher with which a student is non-inferior; 0.01 is one point."},
    )
    require: list[str] | None = field(
        default=None,
        metadata={
            "action": "extend",
            "help": "Exit with status 3 unless the model of the verdict fulfills this: 'accuracy >= 0.98 * teacher', "
            "'recall[fraud] >= 0.9', 'latency_p95_ms <= 5', 'size_mb <= 20', 'ece <= 0.05', 'agreement >= 0.95'. The "
            "flag can be repeated, and the requirements of a recipe count too.",
        },
    )
    allow_training_rows: bool = field(
        default=False,
        metadata={"help": "Compare even if more than half of the evaluation rows trained a model."},
    )
    latency_rounds: int = field(
        default=30,
        metadata={
            "help": "Number of timed calls of each model with one made-up text. Calls with single evaluation texts "
            "are five times that. 0 measures neither time nor memory."
        },
    )
    output_dir: str = field(
        default="report",
        metadata={
            "help": "Folder for report.html, report.md, report.json and plots. Files with these names are overwritten."
        },
    )

    def __post_init__(self) -> None:
        self.output_dir = os.path.expanduser(self.output_dir)
        if self.student_model_name_or_path is None and self.export_folder is None:
            raise ValueError("No student given. Pass --student_model_name_or_path, --export_folder or both.")

    def requirements(self, problem_type: str | None) -> list[Requirement]:
        """Return the requirements on the model of the verdict.

        Args:
            problem_type: The teacher's; None if it is not known.

        Raises:
            ValueError: for a requirement that cannot be read, or on a number that the problem type does not have.
        """
        from hf_distill.reporting.comparison.own_metrics import module_file
        from hf_distill.reporting.requirements import parse_requirement

        own_metrics = [module_file(path).stem for path in self.metric_module or ()]
        return [parse_requirement(line, own_metrics, problem_type) for line in self.require or []]

    @property
    def teacher(self) -> ModelReference:
        """The teacher."""
        from hf_distill.pipeline.loading import ModelReference

        return ModelReference(self.teacher_model_name_or_path, trust_remote_code=self.trust_remote_code)

    @property
    def kept_columns(self) -> list[str]:
        """The columns beside texts and labels that the comparison reads."""
        return list(dict.fromkeys([*(self.slice_column or ()), *self.group_columns]))

    @property
    def group_columns(self) -> list[str]:
        """The column of groups, if there is one."""
        return [] if self.group_column is None else [self.group_column]

    @property
    def models(self) -> dict[str, Any]:
        """The models by name, in the order of the columns."""
        from hf_distill.cli.model_columns import read_models

        return read_models(
            self.teacher_model_name_or_path,
            self.student_model_name_or_path,
            self.export_folder,
            self.baseline_model_name_or_path,
        )
