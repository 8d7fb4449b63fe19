"""What a training run needs to know of a data set of texts, or of words, with labels."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, DatasetDict

from hf_distill.classifiers.label_maps import match_labels
from hf_distill.classifiers.label_order import name_teacher_logits, teacher_label_names
from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import resolve_problem_type, without_adapter
from hf_distill.classifiers.signature import return_token_type_ids
from hf_distill.data.compute_metrics import logits_of
from hf_distill.data.summary import DataSummary
from hf_distill.data.tokens import tokenize_words
from hf_distill.functional import IGNORE_INDEX

if TYPE_CHECKING:  # slow to import
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

    from hf_distill.data.compute_metrics import ComputeMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A data set with text and labels, and how its models are compared.

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
        config_name: Configuration of the data set on the Hub.
        summary: What was read from which files, and how it was interpreted.
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

    @property
    def revision(self) -> str | None:
        """Commit of the data set on the Hub, after which `datasets` names the folder of its cache; None for files."""
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

    def tokenize(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 128,
        label2id: Mapping[str, int] | None = None,
        keep_text: bool = False,
    ) -> DatasetDict:
        """Replace text by the tokenizer's columns and `label` by `labels`, in every split; nothing is padded.

        A column `teacher_logits` stays as it is.

        Args:
            tokenizer: Of the model that will read the rows.
            max_length: Tokens to cut a row to, special tokens included; at most what the tokenizer allows.
            label2id: The model's own map. Labels then carry the model's ids, found by name, upper or lower case;
                names such as `LABEL_0` say nothing and keep the order. The model may know further classes.
            keep_text: Whether the text stays beside its tokens, for a teacher with another tokenizer.

        Returns:
            Splits with `labels` in int64, -100 where there is no label; or float32, NaN, for multi-label
            classification and regression. Of words see [`tokenize_words`].
        """
        return DatasetDict(
            {
                split: self.tokenize_dataset(dataset, tokenizer, max_length, label2id, keep_text)
                for split, dataset in self.datasets.items()
            }
        )

    def tokenize_dataset(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 128,
        label2id: Mapping[str, int] | None = None,
        keep_text: bool = False,
    ) -> Dataset:
        """[`Task.tokenize`] for rows that are not of a split, e.g. text without a column `label`."""
        if max_length > tokenizer.model_max_length:
            logger.warning(
                f"`max_length` is {max_length}, but the tokenizer allows {tokenizer.model_max_length} tokens: "
                "rows are cut to that."
            )
            max_length = tokenizer.model_max_length
        if self.has_words:
            labels_column = "label" if "label" in dataset.column_names else None
            (words,), model_ids = self.text_columns, self._model_ids(label2id)
            return tokenize_words(dataset, tokenizer, words, labels_column, max_length, keep_text, model_ids)
        kept = {TEACHER_LOGITS, *(self.text_columns if keep_text else ())}
        tokenized = dataset.map(
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
                "num_model_labels": len(label2id or self.label_names or [None]),
                "model_ids": self._model_ids(label2id),
            },
            desc="Tokenizing",
        )
        if TEACHER_LOGITS in tokenized.column_names and teacher_label_names(tokenized) is None and self.label_names:
            tokenized = name_teacher_logits(tokenized, self.label_names)
        return tokenized

    def model_labels(self, dataset: Dataset, label2id: Mapping[str, int] | None) -> list[Any]:
        """Return what `dataset` has as `label`, in the model's order of classes: ids, or a number for every class.

        Of words a list of ids, negative where a word has no label, or None for a whole sentence.
        """
        given, model_ids = dataset["label"][:], self._model_ids(label2id)
        if not self.has_words:
            labels = _labels(
                np.array(given), self.problem_type, len(label2id or self.label_names or [None]), model_ids
            )
            return labels.tolist()
        if model_ids is None:
            return given
        return [None if row is None else [y if y < 0 else model_ids[y] for y in row] for row in given]

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that is for another kind of problem.

        Raises:
            ValueError: that says what the data are, and what of the model says otherwise.
        """
        found = resolve_problem_type(model).name
        if found != self.problem_type:
            raise ValueError(
                f"By their labels the data are {self.problem_type}; the model {model.config.name_or_path!r} is for "
                f"{found}: it is a {type(without_adapter(model)).__name__} with num_labels={model.config.num_labels} "
                f"and problem_type={model.config.problem_type!r}. Take another model, fine-tune this one on the task "
                "(--fine_tune_teacher gives it a new head), or say what both are by --problem_type (`problem_type` of "
                "`load_text_dataset` and of the config)."
            )

    def compute_metrics_for(self, label2id: Mapping[str, int] | None) -> ComputeMetrics:
        """`compute_metrics` for a model that has its own order of classes, fed by `tokenize(..., label2id)`.

        The order matters to F1, which must know which class is the positive one.
        """
        model_ids = self._model_ids(label2id)
        if model_ids is None or model_ids == list(range(len(model_ids))):
            return self.compute_metrics
        return functools.partial(_in_task_order, model_ids=model_ids, compute_metrics=self.compute_metrics)

    def _model_ids(self, label2id: Mapping[str, int] | None) -> list[int] | None:
        if label2id is None or self.label_names is None:
            return None
        return match_labels(self.label_names, label2id)


def _encode(
    rows: dict[str, list[Any]],
    tokenizer: PreTrainedTokenizerBase,
    text_columns: tuple[str, ...],
    max_length: int,
    problem_type: str,
    no_label: Any,
    num_model_labels: int,
    model_ids: list[int] | None,
) -> dict[str, Any]:
    texts = [rows[column] for column in text_columns]
    encoded = tokenizer(
        *texts, truncation=True, max_length=max_length, return_token_type_ids=return_token_type_ids(tokenizer)
    )
    given = np.array(rows.get("label", [no_label] * len(texts[0])))
    return {**encoded, "labels": _labels(given, problem_type, num_model_labels, model_ids)}


def _labels(
    given: np.ndarray, problem_type: str, num_model_labels: int, model_ids: Sequence[int] | None
) -> np.ndarray:
    """Return labels of texts as a model of `num_model_labels` classes counts them; -100 or NaN where there is none."""
    if problem_type == "single_label_classification":
        return np.where(given < 0, IGNORE_INDEX, given if model_ids is None else np.array(model_ids)[given])
    if given.ndim == 1:
        return given.astype(np.float32)
    labels = np.zeros((len(given), num_model_labels), dtype=np.float32)
    labels[:, list(range(given.shape[1]) if model_ids is None else model_ids)] = given
    labels[np.isnan(given).any(axis=1)] = np.nan
    return labels


def _in_task_order(
    prediction: EvalPrediction, *, model_ids: list[int], compute_metrics: ComputeMetrics
) -> dict[str, float]:
    from transformers import EvalPrediction

    logits, labels = logits_of(prediction), np.asarray(prediction.label_ids)
    order = model_ids + [i for i in range(logits.shape[-1]) if i not in model_ids]
    if labels.ndim == logits.ndim:  # a number for every class, not the id of one
        return compute_metrics(EvalPrediction(predictions=logits[..., order], label_ids=labels[..., order]))
    task_ids = np.argsort(order)
    in_order = np.where(labels < 0, labels, task_ids[np.maximum(labels, 0)])
    return compute_metrics(EvalPrediction(predictions=logits[..., order], label_ids=in_order))
