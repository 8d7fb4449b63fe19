"""What a training run needs to know of a dataset of texts, or of words, with labels."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, DatasetDict

from hf_distill.classifiers.label_maps import (
    are_paired_by_order,
    are_placeholders,
    class_names_of,
    label2id_of,
    match_labels,
)
from hf_distill.classifiers.label_order import LABELS, note_class_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import resolve_problem_type, without_adapter
from hf_distill.classifiers.signature import return_token_type_ids
from hf_distill.data.class_mismatch import check_has_classes
from hf_distill.data.model_order import metrics_in_order, put_in_order
from hf_distill.data.summary import DataSummary
from hf_distill.data.tokens import tokenize_words
from hf_distill.functional import IGNORE_INDEX

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hf_distill.data.compute_metrics import ComputeMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A dataset with text and labels, and how its models are compared.

    Args:
        name: Short name, e.g. `sst2`.
        datasets: The splits: `train`, and those whose names start with `validation` or `test`; any may be absent.
            Columns are `text_columns` and `label`: the id of a class, -1 where there is no label; multi-label, 0 or 1
            for every class, `(num_labels,)`; for regression a number, or one for each output; NaN where there is none;
            of words the id of each one's tag, -1 where it has none, or null for the whole sentence.
        text_columns: One column, or the two of a pair; of words one column of lists.
        problem_type: `single_label_classification`, `multi_label_classification`, `regression` or
            `token_classification`.
        label_names: Names of the classes by id, or of several outputs; None for one output.
        metric_name: The number to compare models by: a key of what `compute_metrics` returns.
        compute_metrics: From logits and labels to named numbers, as `Trainer` takes it.
        dataset_id: Where the data are from, for the model card: an id on the Hub, or a file's or folder's bare name.
        config_name: Configuration of the dataset on the Hub.
        summary: What was read from which files, and how it was interpreted.
        noted_lengths: Pairs of a `max_length` and the smaller length that a tokenizer allows, about which the user
            knows. The task in the order of a model shares them.
    """

    name: str
    datasets: DatasetDict
    text_columns: tuple[str, ...]
    problem_type: str
    label_names: list[str] | None
    metric_name: str
    compute_metrics: ComputeMetrics
    dataset_id: str
    config_name: str | None = None
    summary: DataSummary = field(default_factory=DataSummary)
    noted_lengths: set[tuple[int, int]] = field(default_factory=set, repr=False, compare=False)

    @property
    def revision(self) -> str | None:
        """Commit of the dataset on the Hub, after which `datasets` names the folder of its cache; None for files."""
        files = [Path(file["filename"]) for split in self.datasets.values() for file in split.cache_files]
        commits = {name for file in files if re.fullmatch("[0-9a-f]{40}", name := file.parent.name)}
        return commits.pop() if len(commits) == 1 else None

    @property
    def validation_splits(self) -> tuple[str, ...]:
        """Names of the splits to choose and compare models on; two for MNLI, none for `ax`."""
        return tuple(split for split in self.datasets if split.startswith("validation"))

    @property
    def has_words(self) -> bool:
        """Whether rows are lists of words, with a label for each."""
        return self.problem_type == "token_classification"

    @property
    def no_label(self) -> Any:
        """What the column `label` holds where there is none."""
        if self.problem_type == "single_label_classification":
            return -1
        if self.has_words:
            return None
        return np.nan if self.label_names is None else [np.nan] * len(self.label_names)

    def for_model(self, model: PreTrainedModel, shows_pairs: bool = True) -> Task:
        """Return the task with its classes in the order of a model's outputs.

        The labels of all splits, `label_names`, and what `tokenize` and `compute_metrics` do follow this order. Pass
        the teacher, or the model that is trained on the rows.

        Classes are matched by name, upper or lower case. If model or data have no names (`LABEL_0`, ...), the order
        of the data is taken for the model's, and a warning shows the pairs. Classes that only the model has are added.

        Args:
            model: A classifier for this kind of problem.
            shows_pairs: Whether to show pairs of that kind; False if the caller shows them.

        Raises:
            ValueError: if the model is for another kind of problem, or its class names do not match the data's.
        """
        self.check_model(model)
        if self.label_names is None:
            return self
        old_names, model_names = self.label_names, class_names_of(model.config)
        check_has_classes(self, model_names, "model")
        ids = match_labels(old_names, label2id_of(model.config))
        if shows_pairs and are_paired_by_order(old_names, model_names):
            pairs = ", ".join(f"{m} = {n}" for m, n in zip(model_names, old_names, strict=True))
            logger.warning(f"Model and data are paired by the order of their classes, not by name: {pairs}.")
        has_names = not are_placeholders(dict(enumerate(old_names)))
        by_id = dict(zip(ids, old_names, strict=True)) if has_names else {}
        names = [by_id.get(i, name) for i, name in enumerate(model_names)]
        if names == old_names:
            return self
        datasets = DatasetDict(
            {split: put_in_order(dataset, "label", ids, names) for split, dataset in self.datasets.items()}
        )
        compute_metrics = metrics_in_order(self.compute_metrics, ids, names)
        return replace(self, datasets=datasets, label_names=names, compute_metrics=compute_metrics)

    def tokenize(
        self, tokenizer: PreTrainedTokenizerBase, max_length: int = 128, keep_text: bool = False
    ) -> DatasetDict:
        """Replace text by the tokenizer's columns and `label` by `labels`, in every split; nothing is padded.

        Class ids follow the order of `label_names`: call [`Task.for_model`] first for the order of a model. A column
        `teacher_logits` stays as it is.

        Args:
            tokenizer: Tokenizer of the model that will read the rows.
            max_length: Number of tokens after which a row is cut, special tokens included; at most what the tokenizer
                allows.
            keep_text: Whether the text stays in the rows, for a teacher with another tokenizer.

        Returns:
            Splits with `labels` in int64, -100 where there is no label; or float32, NaN, for multi-label
            classification and regression. For words see [`tokenize_words`].
        """
        return DatasetDict(
            {
                split: self.tokenize_dataset(dataset, tokenizer, max_length, keep_text)
                for split, dataset in self.datasets.items()
            }
        )

    def tokenize_dataset(
        self, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int = 128, keep_text: bool = False
    ) -> Dataset:
        """Tokenize rows as [`Task.tokenize`] does, for instance text without a column `label`."""
        max_length = self._allowed_length(max_length, tokenizer.model_max_length)
        has_label = "label" in dataset.column_names
        if self.has_words:
            (words,) = self.text_columns
            tokenized = tokenize_words(
                dataset, tokenizer, words, "label" if has_label else None, max_length, keep_text
            )
        else:
            tokenized = self._encode(dataset, tokenizer, max_length, keep_text)
        if self.label_names is not None and has_label:
            tokenized = note_class_names(tokenized, LABELS, self.label_names)
        return tokenized

    def _allowed_length(self, max_length: int, allowed: int) -> int:
        """Return the number of tokens to cut rows to. If the tokenizer decides it, one message says so."""
        if max_length > allowed and (max_length, allowed) not in self.noted_lengths:
            self.noted_lengths.add((max_length, allowed))
            logger.warning(
                f"`max_length` is {max_length}, but the tokenizer allows {allowed} tokens: rows are cut to that."
            )
        return min(max_length, allowed)

    def _encode(
        self, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, keep_text: bool
    ) -> Dataset:
        kept = {TEACHER_LOGITS, *(self.text_columns if keep_text else ())}
        return dataset.map(
            _encode,
            batched=True,
            remove_columns=[name for name in dataset.column_names if name not in kept],
            # Passed as values: a method would have its whole task, data included, hashed for the cache.
            fn_kwargs={
                "tokenizer": tokenizer,
                "text_columns": self.text_columns,
                "max_length": max_length,
                "problem_type": self.problem_type,
                "no_label": self.no_label,
            },
            desc="Tokenizing",
        )

    def targets(self, dataset: Dataset) -> np.ndarray:
        """Return the labels of rows with a column `label`, as [`Task.tokenize`] returns them."""
        return _as_targets(np.array(dataset["label"]), self.problem_type)

    def check_model(self, model: PreTrainedModel) -> None:
        """Check that a model is for the same kind of problem as the labels.

        Raises:
            ValueError: if it is not. The message names the problem type of the labels and of the model.
        """
        model_type = resolve_problem_type(model).name
        config = model.config
        self.check_problem_type(
            model_type,
            f"model {config.name_or_path!r}",
            f", a {type(without_adapter(model)).__name__} with num_labels={config.num_labels} and "
            f"problem_type={config.problem_type!r}",
        )

    def check_problem_type(self, model_type: str, model: str, details: str = "") -> None:
        """Check that a problem type is the problem type of the labels.

        Args:
            model_type: Problem type of a model.
            model: The model, for the error message.
            details: What the model is, for the error message.

        Raises:
            ValueError: if the problem types differ.
        """
        if model_type != self.problem_type:
            raise ValueError(
                f"The rows of {self.name!r} are for {self.problem_type}, and the {model} is for "
                f"{model_type}{details}. {_advice(self.problem_type, model_type)}"
            )


def _advice(problem_type: str, model_type: str) -> str:
    if "token_classification" in (problem_type, model_type):
        return (
            "A token classifier needs rows with a list of words and a list of tags, another classifier needs texts "
            "with labels. Take other rows or another model."
        )
    advice = (
        "Take another model, fine-tune this one on the task (--fine_tune_teacher gives it a new head), or say what "
        "both are with --problem_type (`problem_type` of `load_text_dataset` and of the config)."
    )
    if model_type != "single_label_classification" or problem_type != "multi_label_classification":
        return advice
    return (
        "If each row has exactly one class, pass --problem_type single_label_classification (`problem_type`). "
        f"Otherwise: {advice[0].lower()}{advice[1:]}"
    )


def _encode(
    rows: dict[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    text_columns: tuple[str, ...],
    max_length: int,
    problem_type: str,
    no_label: Any,
) -> dict[str, Any]:
    texts = [rows[column] for column in text_columns]
    encoded = tokenizer(
        *texts, truncation=True, max_length=max_length, return_token_type_ids=return_token_type_ids(tokenizer)
    )
    labels = np.array(rows.get("label", [no_label] * len(texts[0])))
    return {**encoded, "labels": _as_targets(labels, problem_type)}


def _as_targets(labels: np.ndarray, problem_type: str) -> np.ndarray:
    """Return class ids with -100, or numbers with NaN, where a row has no label."""
    if problem_type == "single_label_classification":
        return np.where(labels < 0, IGNORE_INDEX, labels)
    targets = labels.astype(np.float32)
    targets[np.isnan(targets.reshape(len(targets), -1)).any(axis=1)] = np.nan
    return targets
