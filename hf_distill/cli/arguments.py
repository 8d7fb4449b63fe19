"""Flags that name the rows; several commands share them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hf_distill.cli.reading_arguments import ReadingArguments
from hf_distill.utils.user_paths import find_files

if TYPE_CHECKING:  # slow to import
    from hf_distill.data import Task
    from hf_distill.pipeline.teacher_head import TeacherHead
    from hf_distill.pipeline.transfer import TransferOptions

# Flags that a GLUE task answers itself.
_SET_BY_GLUE = (
    "validation_file", "test_file", "dataset_config_name", "validation_split_name", "validation_split_percentage",
    "text_column_names", "text_column_delimiter", "label_column_name", "label_delimiter", "label_map",
    "metric_name", "problem_type",
)  # fmt: skip
_PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression", "token_classification")
_FORMATS = "CSV, TSV, JSON, JSON Lines, Parquet, fastText or CoNLL, which can be compressed"


@dataclass
class DataArguments(ReadingArguments):
    """The rows. A flag that takes several files takes several words, a pattern, or one word with commas."""

    task_name: str | None = field(default=None, metadata={"help": "A GLUE task, e.g. sst2 or mrpc."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with GLUE's original files, e.g. SST-2/train.tsv. Unset: download from the Hub."},
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "A dataset on the Hub (user/name or user/name@revision), or a folder."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: list[str] | None = field(default=None, metadata={"help": f"Files to train on: {_FORMATS}."})
    validation_file: list[str] | None = field(
        default=None, metadata={"help": "Files to choose checkpoints on, and to compare models on, in these formats."}
    )
    test_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Files that take no part in training: `train` evaluates on them at the end, `compare` evaluates "
            "on them instead of the validation rows."
        },
    )
    validation_split_name: str | None = field(
        default=None, metadata={"help": "Split of the dataset to use for validation, e.g. test."}
    )
    validation_split_percentage: float | None = field(
        default=None,
        metadata={
            "help": "Hold out this percentage of the training rows for validation: stratified, near-duplicates on one "
            "side, the same rows in every run."
        },
    )
    transfer_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Files of unlabelled text to train on as well: .txt with one text per line, or one of the formats "
            "of --train_file."
        },
    )
    transfer_dataset_name: list[str] | None = field(
        default=None,
        metadata={"help": "Datasets of unlabelled text to train on as well: the split `train` of Hub ids or folders."},
    )
    transfer_weights: str | None = field(
        default=None,
        metadata={
            "help": "Share of each source of unlabelled text, files first, e.g. 0.7,0.3. As many texts are used as "
            "keep these shares. Unset: all texts."
        },
    )
    max_transfer_samples: int | None = field(
        default=None,
        metadata={"help": "Use only N unlabelled texts, drawn at random; every run draws the same ones."},
    )
    transfer_deduplicate: bool = field(
        default=False,
        metadata={
            "help": "Drop unlabelled texts that are near-duplicates of a labelled text, an evaluation text or an "
            "earlier unlabelled text. This is done before texts are drawn."
        },
    )
    transfer_min_confidence: float | None = field(
        default=None,
        metadata={
            "help": "Drop unlabelled texts on which the teacher's confidence (its highest probability) is lower than "
            "this. This is done after texts are drawn; `train` needs cache_teacher_outputs for it."
        },
    )
    problem_type: str | None = field(
        default=None,
        metadata={
            "help": "Problem type, if it is not the one that the type of the labels suggests, or if the teacher's "
            "config does not say it.",
            "choices": _PROBLEM_TYPES,
        },
    )
    metric_name: str | None = field(
        default=None,
        metadata={
            "help": "Metric to compare models by, e.g. f1. Unset: accuracy (single-label), f1_micro (multi-label), "
            "pearson (regression; `compare` takes mae) or entity_f1 (token classification)."
        },
    )
    max_seq_length: int = field(default=128, metadata={"help": "Cut rows after this number of tokens."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first N labelled rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on the first N rows only."})

    def __post_init__(self) -> None:
        sources = {"task_name": self.task_name, "dataset_name": self.dataset_name, "train_file": self.train_file}
        given = [f"--{name}" for name, source in sources.items() if source is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} all name labelled rows. Pass only one of --task_name, --dataset_name and "
                "--train_file."
            )
        set_by_glue = [f"--{name}" for name in _SET_BY_GLUE if getattr(self, name) is not None]
        if self.task_name is not None and set_by_glue:
            raise ValueError(f"The GLUE task {self.task_name} sets {', '.join(set_by_glue)} itself. Leave these out.")
        if self.task_name is None and self.data_dir is not None:
            raise ValueError("--data_dir is the folder of a GLUE task. Pass --task_name, or --dataset_name instead.")
        for name in ("validation_split_name", "validation_split_percentage"):
            if getattr(self, name) is not None and self.dataset_name is None and self.train_file is None:
                raise ValueError(f"--{name} is for labelled rows of --dataset_name or --train_file. Pass one of them.")
        self._check_transfer()
        if self.max_seq_length < 3:
            raise ValueError(
                f"--max_seq_length must be at least 3, special tokens included, got {self.max_seq_length}."
            )

    def _check_transfer(self) -> None:
        names = ("transfer_weights", "max_transfer_samples", "transfer_deduplicate", "transfer_min_confidence")
        num_sources = len(self.transfer_files) + len(self.transfer_dataset_names)
        if not num_sources and (given := [name for name in names if getattr(self, name)]):
            raise ValueError(f"--{given[0]} needs unlabelled text: --transfer_file or --transfer_dataset_name.")
        if self.weights is not None and len(self.weights) != num_sources:
            raise ValueError(
                f"--transfer_weights has {len(self.weights)} numbers for {num_sources} sources. Give one for each."
            )
        if self.max_transfer_samples is not None and self.max_transfer_samples < 1:
            raise ValueError(f"--max_transfer_samples must be at least 1, got {self.max_transfer_samples}.")
        if self.transfer_min_confidence is not None and not 0 < self.transfer_min_confidence < 1:
            raise ValueError(
                f"--transfer_min_confidence is a probability between 0 and 1, got {self.transfer_min_confidence}."
            )

    @functools.cached_property
    def files(self) -> dict[str, list[Path]]:
        """The files of each role: `train`, `validation`, `test` and `transfer`."""
        return {role: paths for role, (paths, _) in self._found_files.items()}

    @functools.cached_property
    def _found_files(self) -> dict[str, tuple[list[Path], list[str]]]:
        flags = {
            "train": self.train_file,
            "validation": self.validation_file,
            "test": self.test_file,
            "transfer": self.transfer_file,
        }
        return {role: find_files(files) for role, files in flags.items() if files is not None}

    def _file_notes(self, roles: Sequence[str]) -> list[str]:
        return [note for role in roles if role in self._found_files for note in self._found_files[role][1]]

    @property
    def transfer_files(self) -> list[str]:
        """The files of unlabelled text."""
        return [str(file) for file in self.files.get("transfer", [])]

    @property
    def transfer_dataset_names(self) -> list[str]:
        """The datasets of unlabelled text."""
        names = self.transfer_dataset_name or []
        return [part for name in names for part in ([name] if Path(name).expanduser().exists() else name.split(","))]

    @property
    def weights(self) -> list[float] | None:
        """The weights of the sources of unlabelled text, files first."""
        if self.transfer_weights is None:
            return None
        try:
            weights = [float(weight) for weight in self.transfer_weights.split(",")]
        except ValueError:
            weights = []
        if not weights or not all(0 < weight < math.inf for weight in weights):
            raise ValueError(f"--transfer_weights takes numbers > 0 like 0.7,0.3, got {self.transfer_weights!r}.")
        return weights

    @property
    def transfer(self) -> TransferOptions:
        """Where unlabelled text comes from, and which of it to use."""
        from hf_distill.pipeline.transfer import TransferOptions

        return TransferOptions(
            files=self.transfer_files,
            dataset_names=self.transfer_dataset_names,
            weights=self.weights,
            max_samples=self.max_transfer_samples,
            deduplicate=self.transfer_deduplicate,
            min_confidence=self.transfer_min_confidence,
            reading=self.options,
            text_column_delimiter=self.text_column_delimiter,
            notes=self._file_notes(["transfer"]),
        )

    def check_has_labelled_rows(self, to_train: bool = True) -> None:
        """Check that labelled rows are named, and rows to train on.

        Args:
            to_train: Whether rows to train on are needed: labelled rows or unlabelled text.

        Raises:
            ValueError: if no rows are named.
        """
        has_training_rows = self.task_name or self.dataset_name or self.train_file or self.has_transfer
        if not self.has_labelled_rows or (to_train and not has_training_rows):
            raise ValueError("No labelled rows given. Pass one of --task_name, --dataset_name and --train_file.")

    @property
    def folders(self) -> dict[str, list[str | None]]:
        """Flag -> the folders or Hub ids that rows are read from."""
        return {
            "--dataset_name": [self.dataset_name],
            "--data_dir": [self.data_dir],
            "--transfer_dataset_name": list(self.transfer_dataset_names),
        }

    @property
    def has_labelled_rows(self) -> bool:
        """Whether labelled rows are named, not only unlabelled text."""
        sources = (self.task_name, self.dataset_name, self.train_file, self.validation_file, self.test_file)
        return any(source is not None for source in sources)

    @property
    def has_only_texts(self) -> bool:
        """Whether unlabelled text is named, and no labelled rows."""
        return self.has_transfer and not self.has_labelled_rows

    @property
    def has_transfer(self) -> bool:
        """Whether unlabelled text is named."""
        return bool(self.transfer_files or self.transfer_dataset_names)

    def load(self, to_train: bool = True, teacher: TeacherHead | None = None, kept: Sequence[str] = ()) -> Task:
        """Load the labelled rows, limited to the numbers of rows that are asked for.

        Args:
            to_train: Whether a validation split is needed, and a training split unless unlabelled text is named.
            teacher: The teacher's outputs, which decide what the labels leave open; None if the teacher will get a
                new head.
            kept: Names of other columns to keep, as texts.

        Raises:
            ValueError: if no rows are named, or a split is missing.
        """
        from hf_distill.data import has_labels, hold_out_of_train
        from hf_distill.pipeline.loading import limit_rows

        self.check_has_labelled_rows(to_train)
        task = self._load_all_rows(False, teacher, kept)
        if to_train and "train" in task.datasets and not task.validation_splits:
            # What `cache` writes for unlabelled text has no validation split. Labelled rows need one.
            task = self._load_all_rows(True, teacher, kept) if has_labels(task) else hold_out_of_train(task)
        lacks_rows = "train" not in task.datasets and not self.has_transfer
        if to_train and (lacks_rows or not task.validation_splits):
            needed = "a training and a validation split are needed"
            if self.has_transfer:
                needed = "a validation split is needed, from --validation_file for example"
            raise ValueError(f"{task.name} has the splits {', '.join(task.datasets)}; {needed}.")
        return limit_rows(task, self.max_train_samples, self.max_eval_samples)

    def _load_all_rows(self, needs_validation: bool, teacher: TeacherHead | None, kept: Sequence[str]) -> Task:
        from hf_distill.data import load_task
        from hf_distill.data.files import read_task
        from hf_distill.data.sources import Sources

        if self.task_name is not None:
            if kept:
                raise ValueError(f"The GLUE task {self.task_name!r} has no other columns, so leave out {kept[0]!r}.")
            return load_task(self.task_name, self.data_dir)
        roles = ("train", "validation", "test")
        sources = Sources(
            self.dataset_name,
            self.dataset_config_name,
            None,
            {role: self.files.get(role) for role in roles},
            self.validation_split_name,
            self._file_notes(roles),
        )
        return read_task(
            sources,
            self.options,
            self.settings(self.problem_type, teacher),
            replace(self.columns, kept=kept),
            metric_name=self.metric_name,
            needs_validation=needs_validation,
            validation_split_percentage=self.validation_split_percentage,
        )
