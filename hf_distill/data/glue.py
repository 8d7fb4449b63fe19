"""The GLUE tasks (Wang et al., 2018, https://huggingface.co/papers/1804.07461), from the Hub or the original files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset

from hf_distill.data.columns import Choice
from hf_distill.data.compute_metrics import as_compute_metrics
from hf_distill.data.describe import Origin, summarize
from hf_distill.data.table import Source, counted, no_rows
from hf_distill.data.task import Task

logger = logging.getLogger(__name__)

GLUE_ON_THE_HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class GlueTask:
    """A task by the names that the Hub gives its parts, and the layout of its original TSV files.

    Args:
        text_columns: One column, or the two of a pair.
        label_names: Names of the classes by id; None for a score from 0 to 5.
        metric_names: Official metrics; models are compared by the first.
        folder: Of the original files.
        text_headers: Names of the text columns in the files, where they differ from the Hub's.
        label_header: Name of the label column in the files; None if no row has a label.
        label_words: How the files write `label_names`, if not so.
        columns_without_header: Columns of train and dev, where these files start without a header.
        files: File of each split.
        other_folder: Another name under which the folder is found.
        has_malformed_lines: Whether the original files have lines with too few cells, which are counted and skipped.
    """

    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    metric_names: tuple[str, ...]
    folder: str
    text_headers: tuple[str, ...] | None = None
    label_header: str | None = "label"
    label_words: tuple[str, ...] | None = None
    columns_without_header: tuple[str, ...] | None = None
    files: dict[str, str] = field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    )
    other_folder: str | None = None
    has_malformed_lines: bool = False

    @property
    def features(self) -> Features:
        """Columns and types of every split."""
        label = Value("float32") if self.label_names is None else ClassLabel(names=list(self.label_names))
        return Features({**{column: Value("string") for column in self.text_columns}, "label": label})


GLUE_TASKS: dict[str, GlueTask] = {
    "cola": GlueTask(
        text_columns=("sentence",),
        label_names=("unacceptable", "acceptable"),
        metric_names=("matthews_correlation",),
        folder="CoLA",
        label_words=("0", "1"),
        columns_without_header=("source", "label", "original_mark", "sentence"),
    ),
    "sst2": GlueTask(
        text_columns=("sentence",),
        label_names=("negative", "positive"),
        metric_names=("accuracy",),
        folder="SST-2",
        label_words=("0", "1"),
    ),
    "mrpc": GlueTask(
        text_columns=("sentence1", "sentence2"),
        label_names=("not_equivalent", "equivalent"),
        metric_names=("f1", "accuracy"),
        folder="MRPC",
        text_headers=("#1 String", "#2 String"),
        label_header="Quality",
        label_words=("0", "1"),
    ),
    "stsb": GlueTask(
        text_columns=("sentence1", "sentence2"),
        label_names=None,
        metric_names=("pearson", "spearmanr"),
        folder="STS-B",
        label_header="score",
    ),
    "qqp": GlueTask(
        text_columns=("question1", "question2"),
        label_names=("not_duplicate", "duplicate"),
        metric_names=("f1", "accuracy"),
        folder="QQP",
        label_header="is_duplicate",
        label_words=("0", "1"),
        has_malformed_lines=True,
    ),
    "mnli": GlueTask(
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),
        metric_names=("accuracy",),
        folder="MNLI",
        text_headers=("sentence1", "sentence2"),
        label_header="gold_label",
        files={
            "train": "train.tsv",
            "validation_matched": "dev_matched.tsv",
            "validation_mismatched": "dev_mismatched.tsv",
            "test_matched": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        },
    ),
    "qnli": GlueTask(
        text_columns=("question", "sentence"),
        label_names=("entailment", "not_entailment"),
        metric_names=("accuracy",),
        folder="QNLI",
    ),
    "rte": GlueTask(
        text_columns=("sentence1", "sentence2"),
        label_names=("entailment", "not_entailment"),
        metric_names=("accuracy",),
        folder="RTE",
    ),
    "wnli": GlueTask(
        text_columns=("sentence1", "sentence2"),
        label_names=("not_entailment", "entailment"),
        metric_names=("accuracy",),
        folder="WNLI",
        label_words=("0", "1"),
    ),
    "ax": GlueTask(
        text_columns=("premise", "hypothesis"),
        label_names=("entailment", "neutral", "contradiction"),
        metric_names=("matthews_correlation",),
        folder="diagnostic",
        text_headers=("sentence1", "sentence2"),
        label_header=None,
        files={"test": "diagnostic.tsv"},
        other_folder="AX",
    ),
}


def load_task(name: str, data_dir: str | os.PathLike[str] | None = None) -> Task:
    """Load a GLUE task.

    Args:
        name: One of `GLUE_TASKS`.
        data_dir: Folder that holds the original files, e.g. `SST-2/train.tsv`; splits without a file are left out.
            By default the data come from the Hub, in `nyu-mll/glue`.
    """
    if name not in GLUE_TASKS:
        raise ValueError(f"Unknown GLUE task {name!r}. Known are: {', '.join(GLUE_TASKS)}.")
    spec = GLUE_TASKS[name]
    problem_type = "regression" if spec.label_names is None else "single_label_classification"
    sources: dict[str, Source] = {}
    if data_dir is None:
        datasets = _read_hub(name, GLUE_ON_THE_HUB)
        sources = {split: Source(f"{name}/{split}", f"{name}/{split}", "Hub dataset") for split in datasets}
    else:
        datasets = _read_folder(spec, Path(data_dir).expanduser(), sources)
    text = Choice(spec.text_headers or spec.text_columns, "GLUE's layout")
    label = Choice((spec.label_header,), "GLUE's layout") if spec.label_header else None
    origins = {split: Origin([(source, len(datasets[split]))], text, label) for split, source in sources.items()}
    return Task(
        name=name,
        datasets=datasets,
        text_columns=spec.text_columns,
        problem_type=problem_type,
        label_names=None if spec.label_names is None else list(spec.label_names),
        metric_name=spec.metric_names[0],
        compute_metrics=as_compute_metrics(spec.metric_names, problem_type),
        dataset_id=GLUE_ON_THE_HUB,
        config_name=name,
        summary=summarize(datasets, spec.text_columns, problem_type, spec.label_names, origins),
    )


def _read_hub(name: str, repo_id: str) -> DatasetDict:
    features = GLUE_TASKS[name].features
    splits = load_dataset(repo_id, name).select_columns(list(features)).cast(features)
    if GLUE_TASKS[name].label_names is None:
        # The Hub marks a missing score by -1; a score is at least 0.
        return splits.map(
            lambda rows: {"label": [np.nan if score < 0 else score for score in rows["label"]]},
            batched=True,
            features=features,
        )
    return splits


def _read_folder(spec: GlueTask, data_dir: Path, sources: dict[str, Source]) -> DatasetDict:
    folder = data_dir / spec.folder
    if spec.other_folder is not None and not folder.is_dir():
        folder = data_dir / spec.other_folder
    paths = {split: folder / file for split, file in spec.files.items() if (folder / file).is_file()}
    if not paths:
        raise FileNotFoundError(
            f"There is no {' or '.join(spec.files.values())} in {data_dir / spec.folder}. `data_dir` is the folder "
            f"that holds {spec.folder}/ with the files as GLUE publishes them."
        )
    return DatasetDict({split: _read_split(spec, split, path, sources) for split, path in paths.items()})


def _read_split(spec: GlueTask, split: str, path: Path, sources: dict[str, Source]) -> Dataset:
    is_test = split.startswith("test")
    malformed: list[int] | None = [] if spec.has_malformed_lines else None
    rows = _read_tsv(path, None if is_test else spec.columns_without_header, malformed)
    _, header = next(rows, (0, []))
    wanted = spec.text_headers or spec.text_columns
    if not is_test and spec.label_header is not None:
        wanted += (spec.label_header,)
    if missing := [column for column in wanted if column not in header]:
        raise ValueError(f"{path}, line 1: the header is {header} and lacks {missing}. Is it GLUE's original file?")
    positions = [header.index(column) for column in wanted]
    columns: dict[str, list] = {column: [] for column in (*spec.text_columns, "label")}
    for line, row in rows:
        cells = [row[position] for position in positions]
        for column, text in zip(spec.text_columns, cells, strict=False):
            columns[column].append(text)
        is_labelled = len(cells) > len(spec.text_columns)
        columns["label"].append(_parse_label(spec, cells[-1] if is_labelled else None, f"{path}, line {line}"))
    if not columns["label"]:
        remedy = "Fetch GLUE's original file, or remove this one to leave the split out."
        raise ValueError(no_rows([str(path)], remedy))
    notes: tuple[str, ...] = ()
    if malformed:
        lines = ", ".join(f"{line:,}" for line in malformed[:5])
        notes = (f"left out: {counted(len(malformed), 'malformed line')}, as in the original file: line {lines}",)
        logger.warning(f"{path}: {notes[0]}.")
    sources[split] = Source(str(path), path.name, "TSV", "\t", None, "UTF-8", notes)
    return Dataset.from_dict(columns, features=spec.features)


def _parse_label(spec: GlueTask, word: str | None, place: str) -> int | float:
    if spec.label_names is None:
        if word is None:
            return np.nan
        try:
            score = float(word)
        except ValueError:
            score = np.nan
        if not 0 <= score <= 5:
            raise ValueError(f"{place}: the score is {word!r}; a number from 0 to 5 was expected.")
        return score
    if word is None:
        return -1
    words = spec.label_words or spec.label_names
    if word not in words:
        raise ValueError(f"{place}: the label is {word!r}; one of {', '.join(words)} was expected.")
    return words.index(word)


def _read_tsv(
    path: Path, columns: tuple[str, ...] | None, malformed: list[int] | None
) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and cells, the header first.

    Quotes are plain characters, since the texts hold unbalanced ones; only a line feed ends a line.

    Args:
        path: The file.
        columns: Its header, if it has none.
        malformed: List that receives the numbers of lines with too few cells, which are left out; None to refuse them.
    """
    with open(path, encoding="utf-8-sig", newline="\n") as file:  # MRPC starts with a byte-order mark
        header = list(columns or ())
        if header:
            yield 0, header
        for line, text in enumerate(file, start=1):
            cells = text.rstrip("\r\n").split("\t")
            header = header or cells
            if malformed is not None and len(cells) < len(header):
                malformed.append(line)
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {line}: {len(cells)} columns separated by tabs, but {len(header)} were expected: "
                    f"{header}."
                )
            yield line, cells
