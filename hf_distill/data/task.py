"""What a training run needs to know of a text classification or regression data set."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, DatasetDict

from hf_distill.data.metrics import logits_of
from hf_distill.labels import match_labels
from hf_distill.outputs import TEACHER_LOGITS

if TYPE_CHECKING:  # slow to import
    from transformers import EvalPrediction, PreTrainedTokenizerBase

    from hf_distill.data.metrics import ComputeMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A data set with text and labels, and how its models are compared.

    Args:
        name: Short name, e.g. `sst2`.
        datasets: The splits: `train`, and those whose names start with `validation` or `test`; any may be absent.
            Columns are `text_columns` and `label`: the id of a class, -1 where there is no label; multi-label, 0 or 1
            for every class, `(num_labels,)`; or for regression a number. NaN where there is none.
        text_columns: One column, or the two of a pair.
        problem_type: `single_label_classification`, `multi_label_classification` or `regression`.
        label_names: Names of the classes by id; None for regression.
        metric_name: The number to compare models by: a key of what `compute_metrics` returns.
        compute_metrics: From logits and labels to named numbers, as `Trainer` takes it.
        dataset_id: Where the data are from, for the model card: an id on the Hub, or a file's or folder's bare name.
        config_name: Configuration of the data set on the Hub.
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
            classification and regression.
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
                "num_labels": len(self.label_names or [None]),
                "num_model_labels": len(label2id or self.label_names or [None]),
                "model_ids": self._model_ids(label2id),
            },
            desc="Tokenizing",
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
    num_labels: int,
    num_model_labels: int,
    model_ids: list[int] | None,
) -> dict[str, Any]:
    texts = [rows[column] for column in text_columns]
    # Segment ids are asked for, since not every tokenizer of a model that reads them returns them unasked.
    encoded = tokenizer(*texts, truncation=True, max_length=max_length, return_token_type_ids=True)
    if problem_type == "multi_label_classification":
        given = np.array(rows.get("label", np.full((len(texts[0]), num_labels), np.nan)), dtype=np.float32)
        places = range(num_labels) if model_ids is None else model_ids
        labels = np.zeros((len(given), num_model_labels), dtype=np.float32)
        labels[:, list(places)] = given
        labels[np.isnan(given).any(axis=1)] = np.nan
    elif problem_type == "regression":
        labels = np.array(rows.get("label", [np.nan] * len(texts[0])), dtype=np.float32)
    else:
        ids = np.array(rows.get("label", [-1] * len(texts[0])), dtype=np.int64)
        labels = np.where(ids < 0, -100, ids if model_ids is None else np.array(model_ids)[ids])
    return {**encoded, "labels": labels}


def _in_task_order(
    prediction: EvalPrediction, *, model_ids: list[int], compute_metrics: ComputeMetrics
) -> dict[str, float]:
    from transformers import EvalPrediction

    logits, labels = logits_of(prediction), np.asarray(prediction.label_ids)
    order = model_ids + [i for i in range(logits.shape[-1]) if i not in model_ids]
    if labels.ndim == 2:
        return compute_metrics(EvalPrediction(predictions=logits[:, order], label_ids=labels[:, order]))
    task_ids = np.argsort(order)
    in_order = np.where(labels < 0, labels, task_ids[np.maximum(labels, 0)])
    return compute_metrics(EvalPrediction(predictions=logits[:, order], label_ids=in_order))
