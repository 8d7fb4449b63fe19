"""TF-IDF with a linear model: what the same labels give without a neural network."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from transformers import EvalPrediction

from hf_distill.classifiers.problem_types import PROBLEM_TYPES

if TYPE_CHECKING:
    from hf_distill.data.compute_metrics import ComputeMetrics

TFIDF_PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
_MOST_ROWS = 50_000  # the linear model learns little from more, and the run should not wait for it
_LEAST_PROBABILITY = 1e-9
_LATENCY_ROUNDS = 30


class TfidfModel:
    """A linear model on the TF-IDF of words and pairs of words: logistic regression, or ridge for numbers.

    Args:
        problem_type: One of `TFIDF_PROBLEM_TYPES`.
        num_labels: Number of outputs.
    """

    def __init__(self, problem_type: str, num_labels: int) -> None:
        self.problem_type = problem_type
        self.num_labels = num_labels
        self.vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
        logistic = LogisticRegression(C=10.0, max_iter=200)
        self.linear: Any = {
            "single_label_classification": logistic,
            "multi_label_classification": OneVsRestClassifier(logistic),
            "regression": Ridge(),
        }[problem_type]

    def fit(self, texts: Sequence[str], labels: np.ndarray) -> TfidfModel:
        """Fit the model.

        Args:
            texts: `(num_rows,)`.
            labels: Ids of classes, `(num_rows,)`; 0 or 1 for each class, or numbers, `(num_rows, num_labels)`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Label .* is present in all training examples")
            self.linear.fit(self.vectorizer.fit_transform(texts), labels)
        return self

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return `(num_rows, num_labels)`; of classes log probabilities, of several labels their log odds."""
        features = self.vectorizer.transform(texts)
        if self.problem_type == "regression":
            return self.linear.predict(features).reshape(len(texts), -1)
        probabilities = np.clip(self.linear.predict_proba(features), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        if self.problem_type == "multi_label_classification":
            return np.log(probabilities) - np.log1p(-probabilities)
        logits = np.full((len(texts), self.num_labels), np.log(_LEAST_PROBABILITY))
        logits[:, self.linear.classes_] = np.log(probabilities)
        return logits

    @property
    def num_parameters(self) -> int:
        """Number of weights of the linear model."""
        return len(self.vectorizer.vocabulary_) * self.num_labels + self.num_labels


def measure_tfidf(
    train_texts: Sequence[str],
    train_labels: np.ndarray,
    texts: Sequence[str],
    labels: np.ndarray,
    problem_type: str,
    num_labels: int,
    compute_metrics: ComputeMetrics,
) -> dict[str, Any] | None:
    """Fit TF-IDF with a linear model on some rows, and evaluate it on others.

    Args:
        train_texts: Texts to fit on; of more than 50,000 with a label, 50,000 random ones are used.
        train_labels: Their labels as [`~hf_distill.data.Task.tokenize`] returns them. Rows without a label are left
            out.
        texts: Texts to evaluate on.
        labels: Their labels.
        problem_type: One of `TFIDF_PROBLEM_TYPES`.
        num_labels: Number of outputs.
        compute_metrics: The task's metrics.

    Returns:
        `metrics`, `rows` (the number of rows that it was fitted on), `num_parameters`, and `p50_ms`, the median
        latency of one text in milliseconds. None if no text, or only one class, has a label.
    """
    labelled = np.flatnonzero(PROBLEM_TYPES[problem_type].is_labelled(torch.from_numpy(train_labels)).numpy())
    if problem_type == "single_label_classification" and len(np.unique(train_labels[labelled])) < 2:
        return None
    if len(labelled) > _MOST_ROWS:
        labelled = np.sort(np.random.default_rng(0).permutation(labelled)[:_MOST_ROWS])
    labelled_texts = [train_texts[i] for i in labelled.tolist()]
    if not any(text.strip() for text in labelled_texts):
        return None
    model = TfidfModel(problem_type, num_labels).fit(labelled_texts, train_labels[labelled])
    return {
        "metrics": compute_metrics(EvalPrediction(model.logits(texts), labels)),
        "rows": len(labelled),
        "num_parameters": model.num_parameters,
        "p50_ms": _latency(model, texts[0]),
    }


def join_texts(rows: Dataset, text_columns: Sequence[str]) -> list[str]:
    """Return one text for each row, in which the two texts of a pair are joined."""
    columns = [rows[name] for name in text_columns]
    return ["\n".join(text or "" for text in texts) for texts in zip(*columns, strict=True)]


def _latency(model: TfidfModel, text: str) -> float:
    times = []
    for _ in range(_LATENCY_ROUNDS):
        start = time.perf_counter()
        model.logits([text])
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000
