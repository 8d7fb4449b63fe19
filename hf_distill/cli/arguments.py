"""Flags that the commands share, and recipes: the same names in YAML."""

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import yaml
from transformers import AutoTokenizer, HfArgumentParser, PreTrainedTokenizerBase

from hf_distill.data import Task, load_task, load_text_dataset
from hf_distill.data.metrics import METRICS


@dataclass
class ModelArguments:
    """Which teacher, and which student."""

    teacher_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Path or Hub id of the teacher. Unset: the data carry its logits (`hf-distill cache`)."},
    )
    teacher_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the teacher on the Hub."}
    )
    teacher_trust_remote_code: bool = field(
        default=False, metadata={"help": "Run Python files that come with the teacher. Not from a recipe."}
    )
    fine_tune_teacher: bool = field(
        default=False,
        metadata={"help": "Fine-tune the teacher on the labelled rows first, into <output_dir>/teacher."},
    )
    teacher_num_train_epochs: float | None = field(
        default=None, metadata={"help": "Epochs of that fine-tuning. Unset: num_train_epochs."}
    )
    teacher_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of that fine-tuning. Unset: learning_rate."}
    )
    student_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Path or Hub id of a student, instead of layers of the teacher; its tokenizer may differ."},
    )
    student_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of that student on the Hub."}
    )
    student_trust_remote_code: bool = field(
        default=False, metadata={"help": "Run Python files that come with that student. Not from a recipe."}
    )
    student_num_hidden_layers: int | None = field(
        default=None, metadata={"help": "Make the student of so many of the teacher's layers, evenly spaced."}
    )
    student_layers: str | None = field(
        default=None, metadata={"help": "Make the student of these layers of the teacher, from 0: 0,2,5."}
    )
    student_architecture: str | None = field(
        default=None, metadata={"help": "distilbert: make a DistilBERT of a BERT teacher. Unset: the teacher's own."}
    )
    freeze_student_embeddings: bool = field(
        default=False, metadata={"help": "Leave the student's word embeddings as they are: a faster step."}
    )
    baseline: bool = field(
        default=False,
        metadata={
            "help": "Also train the same student without the teacher: same initial weights, seed, steps and choice "
            "of checkpoint, on the labelled rows; into <output_dir>/baseline."
        },
    )

    def __post_init__(self) -> None:
        made = [self.student_num_hidden_layers, self.student_layers, self.student_architecture]
        if (self.student_model_name_or_path is None) == all(value is None for value in made):
            raise ValueError(
                "Say what the student is: --student_num_hidden_layers, --student_layers or --student_architecture to "
                "make it of the teacher, or --student_model_name_or_path alone."
            )
        if self.teacher_model_name_or_path is None and self.student_model_name_or_path is None:
            raise ValueError(
                "Without --teacher_model_name_or_path there are no layers to make a student of: name one by "
                "--student_model_name_or_path."
            )
        if self.teacher_model_name_or_path is None and self.fine_tune_teacher:
            raise ValueError("--fine_tune_teacher needs --teacher_model_name_or_path.")
        if self.student_model_name_or_path is None and (self.student_revision or self.student_trust_remote_code):
            raise ValueError(
                "--student_revision and --student_trust_remote_code need --student_model_name_or_path; a student that "
                "is made of the teacher is the teacher's revision and code."
            )
        _ = self.layers  # a typo is an error now, not after an hour

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher is named."""
        return self.teacher_model_name_or_path is not None

    @property
    def layers(self) -> list[int] | None:
        """The teacher's layers that the student is made of."""
        if self.student_layers is None:
            return None
        try:
            return [int(layer) for layer in self.student_layers.split(",")]
        except ValueError:
            raise ValueError(f"--student_layers takes numbers like 0,2,5, got {self.student_layers!r}.") from None


@dataclass
class DataArguments:
    """Which rows, which columns."""

    task_name: str | None = field(default=None, metadata={"help": "A GLUE task: sst2, mrpc, ..."})
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder with GLUE in its original files (SST-2/train.tsv). Unset: the Hub."}
    )
    dataset_name: str | None = field(default=None, metadata={"help": "A data set on the Hub, or a folder."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that data set."})
    train_file: str | None = field(
        default=None, metadata={"help": "CSV, TSV, JSON or Parquet file to train on; or of words .conll, .bio, .iob."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "The same to evaluate on."})
    transfer_file: str | None = field(
        default=None,
        metadata={
            "help": "Text without labels to distil on as well: .txt (one a line), CSV, TSV, JSON, Parquet, .conll; or "
            "several files: a.txt,b.csv."
        },
    )
    transfer_dataset_name: str | None = field(
        default=None, metadata={"help": "The same, or more of it, from the Hub or folders, their split `train`: a,b."}
    )
    transfer_weights: str | None = field(
        default=None,
        metadata={
            "help": "Share of each source in that text, files first: 0.7,0.3; as much is taken as keeps the shares. "
            "Unset: all."
        },
    )
    max_transfer_samples: int | None = field(
        default=None, metadata={"help": "Use only so many unlabelled texts, drawn at random, the same ones each time."}
    )
    transfer_deduplicate: bool = field(
        default=False,
        metadata={
            "help": "First drop unlabelled texts that are near-duplicates of a labelled or evaluation text, or of an "
            "earlier one of theirs."
        },
    )
    transfer_min_confidence: float | None = field(
        default=None,
        metadata={
            "help": "Last drop unlabelled texts on which the teacher's confidence, its highest probability, is "
            "lower; `train` needs cache_teacher_outputs for it."
        },
    )
    text_column_names: str | None = field(
        default=None,
        metadata={
            "help": "Text column, or two of a pair: a,b. Unset: the string columns, if 1 or 2; of words tokens."
        },
    )
    label_column_name: str | None = field(
        default=None, metadata={"help": "Unset: label, else labels; of words tags, ner_tags, labels or label."}
    )
    problem_type: str | None = field(
        default=None,
        metadata={
            "help": "What kind of problem it is, if the type of the labels says another, or the teacher's config "
            "leaves it open.",
            "choices": list(METRICS),
        },
    )
    metric_name: str | None = field(
        default=None,
        metadata={
            "help": "The number to compare models by, e.g. f1. Unset: accuracy; or f1_micro (multi-label), pearson "
            "(regression), entity_f1 (words)."
        },
    )
    max_seq_length: int = field(default=128, metadata={"help": "Tokens after which a row is cut."})
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Use only so many labelled rows, the first ones."}
    )
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on so many rows, the first ones."})

    def __post_init__(self) -> None:
        sources = [self.task_name, self.dataset_name, self.train_file]
        if sum(source is not None for source in sources) > 1:
            raise ValueError("Say where the rows are: only one of --task_name, --dataset_name or --train_file.")
        for name in ("metric_name", "problem_type"):
            if self.task_name is not None and getattr(self, name) is not None:
                raise ValueError(f"--{name} is for your own data; a GLUE task has its own. Leave one out.")
        self._check_transfer()
        if self.max_seq_length < 3:
            raise ValueError(
                f"--max_seq_length must be at least 3, special tokens included, got {self.max_seq_length}."
            )

    def _check_transfer(self) -> None:
        chosen = ("transfer_weights", "max_transfer_samples", "transfer_deduplicate", "transfer_min_confidence")
        num_sources = len(self.transfer_files) + len(self.transfer_dataset_names)
        if not num_sources and (given := [name for name in chosen if getattr(self, name)]):
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

    @property
    def transfer_files(self) -> list[str]:
        """The files of unlabelled text."""
        return self.transfer_file.split(",") if self.transfer_file else []

    @property
    def transfer_dataset_names(self) -> list[str]:
        """The data sets of unlabelled text."""
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
    def has_labelled_rows(self) -> bool:
        """Whether a labelled data set is named, not only unlabelled text."""
        return any(source is not None for source in (self.task_name, self.dataset_name, self.train_file))

    def load(self, to_train: bool = True) -> Task:
        """Load the labelled data, cut to the numbers of rows that are wanted.

        Args:
            to_train: Whether a training and a validation split are needed.
        """
        if not self.has_labelled_rows and (to_train or self.validation_file is None):
            raise ValueError("Say where the rows are: one of --task_name, --dataset_name or --train_file.")
        task = self._load_whole(needs_validation=to_train)
        for split, limit in (
            ("train", self.max_train_samples),
            *((s, self.max_eval_samples) for s in task.validation_splits),
        ):
            if limit is not None and split in task.datasets:
                task.datasets[split] = task.datasets[split].select(range(min(limit, len(task.datasets[split]))))
        if to_train and ("train" not in task.datasets or not task.validation_splits):
            raise ValueError(
                f"{task.name} has the splits {', '.join(task.datasets)}; a training and a validation split are needed."
            )
        return task

    def _load_whole(self, needs_validation: bool) -> Task:
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
        )

    @property
    def text_columns(self) -> list[str] | None:
        """The text columns that are named."""
        return None if self.text_column_names is None else self.text_column_names.split(",")


def load_tokenizer(
    name: str, revision: str | None = None, trust_remote_code: bool = False, for_words: bool = False
) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, to tokenise texts or lists of words.

    Raises:
        OSError: if it has none.
    """
    # RoBERTa's would take the words of a list for parts of one.
    options = {"add_prefix_space": True} if for_words else {}
    try:
        return AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=trust_remote_code, **options
        )
    except OSError as error:
        raise OSError(f"{name!r} has no tokenizer that can be loaded: {error}") from error


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print the usage first: 135 lines, since every training argument is a flag.
        raise ValueError(f"{message} (`--help` lists the flags)")


def parse(types: Iterable[Any], arguments: Sequence[str]) -> tuple[Any, ...]:
    """Parse flags, and those of `--config recipe.yaml` under them: a flag wins over the recipe.

    Raises:
        ValueError: for a recipe that is no mapping, an unknown flag, or a value that a type refuses.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config", type=Path)
    recipe, flags = first.parse_known_args(arguments)
    # argparse lets the last flag win: the recipe goes before all of them.
    # Not from `dataclasses.fields`, whose types the parser narrows when it is made.
    kinds = {name: str(kind) for of_type in types for name, kind in get_type_hints(of_type).items()}
    from_recipe = [] if recipe.config is None else _recipe_flags(recipe.config, kinds)
    return _Parser(types, prog="hf-distill", allow_abbrev=False).parse_args_into_dataclasses([*from_recipe, *flags])


def _recipe_flags(path: Path, kinds: Mapping[str, str]) -> list[str]:
    """Return the flags that a recipe stands for; `kinds` are the types of all that there are, by name."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path.name} is not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"The recipe {path.name} must map names of flags to values, got {type(recipe).__name__}.")
    for name, value in recipe.items():
        if name not in kinds:
            raise ValueError(f"The recipe {path.name} has {name!r}, which is no name of a flag (`--help` lists them).")
        if isinstance(value, dict) and "dict" not in kinds[name]:
            raise ValueError(f"The recipe {path.name} has names and values for `{name}`, which takes one value.")
        if name.endswith("trust_remote_code") and value:
            raise ValueError(
                f"The recipe {path.name} sets `{name}`: whether code is run is not for a file to say, which others "
                f"may have written. Pass --{name} True yourself if you trust the code."
            )
    return [word for name, value in recipe.items() if value is not None for word in _words(name, value, kinds[name])]


def _words(name: str, value: Any, kind: str) -> list[str]:
    if not kind.startswith("list["):
        return [f"--{name}={_as_text(name, value)}"]  # one word: a value cannot be taken for another flag
    items = [str(item) for item in (value if isinstance(value, list) else [value])]
    if odd := [item for item in items if item.startswith("-")]:
        raise ValueError(f"The recipe has {odd[0]!r} in `{name}`, which would be taken for a flag.")
    return [f"--{name}", *items] if items else []


def _as_text(name: str, value: Any) -> str:
    if value is False and name.endswith("_strategy"):
        return "no"  # which YAML reads as false
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)
