"""Flags that name the rows; several commands share them."""

import functools
import logging
import math
from dataclasses import dataclass, field

from hf_distill.data import Task, has_labels, hold_out_of_train, load_task, load_text_dataset
from hf_distill.data.metrics import METRICS
from hf_distill.data.reading.paths import find_files
from hf_distill.pipeline.loading import limit_rows
from hf_distill.pipeline.transfer import TransferOptions

logger = logging.getLogger(__name__)


@dataclass
class DataArguments:
    """The rows and their columns."""

    task_name: str | None = field(default=None, metadata={"help": "A GLUE task, e.g. sst2 or mrpc."})
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with GLUE's original files, e.g. SST-2/train.tsv. Unset: download from the Hub."},
    )
    dataset_name: str | None = field(default=None, metadata={"help": "A dataset on the Hub, or a folder."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: str | None = field(
        default=None,
        metadata={
            "help": "File to train on: CSV, TSV, JSON or Parquet; for token classification also .conll, .bio or .iob."
        },
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "File to evaluate on, in one of the same formats."}
    )
    transfer_file: str | None = field(
        default=None,
        metadata={
            "help": "File of unlabelled text to train on as well: .txt (one text per line), CSV, TSV, JSON, Parquet "
            "or .conll. Separate several files with commas: a.txt,b.csv."
        },
    )
    transfer_dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Dataset of unlabelled text to train on as well: the split `train` of a Hub id or a folder. "
            "Separate several datasets with commas."
        },
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
    text_column_names: str | None = field(
        default=None,
        metadata={
            "help": "Text column, or the two columns of a pair: a,b. Unset: the string columns if there are one or "
            "two; for token classification the column `tokens`."
        },
    )
    label_column_name: str | None = field(
        default=None,
        metadata={
            "help": "Label column. Unset: label, else labels; for token classification the first of tags, ner_tags, "
            "labels and label."
        },
    )
    class_names: str | None = field(
        default=None,
        metadata={
            "help": "Names of the teacher's outputs in its order: A,B,C. Integer labels are then indices of these "
            "names. Unset: the names in the teacher's config, or the order of the data's classes if it has no names."
        },
    )
    problem_type: str | None = field(
        default=None,
        metadata={
            "help": "Problem type, if it is not the one that the type of the labels suggests, or if the teacher's "
            "config does not say it.",
            "choices": list(METRICS),
        },
    )
    metric_name: str | None = field(
        default=None,
        metadata={
            "help": "Metric to compare models by, e.g. f1. Unset: accuracy (single-label), f1_micro (multi-label), "
            "pearson (regression) or entity_f1 (token classification)."
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
        for name in ("metric_name", "problem_type"):
            if self.task_name is not None and getattr(self, name) is not None:
                raise ValueError(f"--{name} is set by the GLUE task {self.task_name}. Leave out --{name}.")
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
    def transfer_files(self) -> list[str]:
        """The files of unlabelled text."""
        if not self.transfer_file:
            return []
        files, notes = find_files(self.transfer_file)
        for note in notes:
            logger.warning(note)
        return [str(file) for file in files]

    @property
    def transfer_dataset_names(self) -> list[str]:
        """The datasets of unlabelled text."""
        return self.transfer_dataset_name.split(",") if self.transfer_dataset_name else []

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
        return TransferOptions(
            files=self.transfer_files,
            dataset_names=self.transfer_dataset_names,
            weights=self.weights,
            max_samples=self.max_transfer_samples,
            deduplicate=self.transfer_deduplicate,
            min_confidence=self.transfer_min_confidence,
        )

    @property
    def text_columns(self) -> list[str] | None:
        """The names of the text columns, if they are given."""
        return None if self.text_column_names is None else self.text_column_names.split(",")

    @property
    def names_of_outputs(self) -> list[str] | None:
        """The names of the teacher's outputs, if they are given."""
        return None if self.class_names is None else [name.strip() for name in self.class_names.split(",")]

    @property
    def has_labelled_rows(self) -> bool:
        """Whether a labelled dataset is named, not only unlabelled text."""
        return any(source is not None for source in (self.task_name, self.dataset_name, self.train_file))

    @property
    def has_transfer(self) -> bool:
        """Whether unlabelled text is named."""
        return bool(self.transfer_files or self.transfer_dataset_names)

    @property
    def has_labels(self) -> bool:
        """Whether labelled rows are named to train or to evaluate on, not only unlabelled text."""
        return self.has_labelled_rows or self.validation_file is not None or not self.has_transfer

    def load(self, to_train: bool = True) -> Task:
        """Load the labelled rows, limited to the numbers of rows that are asked for.

        Args:
            to_train: Whether a training split and a validation split are needed.

        Raises:
            ValueError: if no rows are named, or a split is missing.
        """
        if not self.has_labelled_rows and (to_train or self.validation_file is None):
            raise ValueError("No labelled rows given. Pass one of --task_name, --dataset_name and --train_file.")
        task = self._load_all_rows(needs_validation=False)
        if to_train and "train" in task.datasets and not task.validation_splits:
            # What `cache` writes for unlabelled text has no validation split. Labelled rows need one.
            task = self._load_all_rows(needs_validation=True) if has_labels(task) else hold_out_of_train(task)
        task = limit_rows(task, self.max_train_samples, self.max_eval_samples)
        if to_train and ("train" not in task.datasets or not task.validation_splits):
            raise ValueError(
                f"{task.name} has the splits {', '.join(task.datasets)}; a training and a validation split are needed."
            )
        return task

    def _load_all_rows(self, needs_validation: bool) -> Task:
        if self.task_name is not None:
            return load_task(self.task_name, self.data_dir)
        return load_text_dataset(
            dataset_name=self.dataset_name,
            dataset_config_name=self.dataset_config_name,
            train_file=self.train_file,
            validation_file=self.validation_file,
            text_column_names=self.text_columns,
            label_column_name=self.label_column_name,
            problem_type=self.problem_type,
            metric_name=self.metric_name,
            needs_validation=needs_validation,
            class_names=self.names_of_outputs,
        )
