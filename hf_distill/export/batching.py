"""Running rows in several batchings: whether the answer for a text depends on the texts that share its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hf_distill.export.predictor import Predictor

Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], np.ndarray]  # padded inputs -> logits

_MOST_ROWS = 500
_SHUFFLED_BATCH_SIZES = (8, 8, 32)


class TokenIds(NamedTuple):
    """A tokenized text.

    Attributes:
        ids: Token ids.
        type_ids: Segment ids.
    """

    ids: list[int]
    type_ids: list[int]


def sorted_batches(rows: Sequence[TokenIds], batch_size: int = 32) -> list[list[int]]:
    """Return the indices of rows in batches of similar length. A row above 128 tokens is a batch by itself."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    short = [index for index in order if len(rows[index].ids) <= 128]
    return _cut(short, batch_size) + [[index] for index in order[len(short) :]]


def _cut(indices: Sequence[int], batch_size: int) -> list[list[int]]:
    return [list(indices[start : start + batch_size]) for start in range(0, len(indices), batch_size)]


def run_batches(
    run: Run, rows: Sequence[TokenIds], batches: Sequence[Sequence[int]], predictor: Predictor
) -> list[np.ndarray]:
    """Return the logits of each row, `(num_labels,)`; of a token classifier `(tokens, num_labels)` without padding."""
    row_logits: list[Any] = [None] * len(rows)
    for indices in batches:
        inputs = predictor.pad([rows[i].ids for i in indices], [rows[i].type_ids for i in indices])
        for index, logits, mask in zip(indices, run(inputs), inputs["attention_mask"], strict=True):
            row_logits[index] = logits if logits.ndim == 1 else logits[mask == 1]
    return row_logits


def decide(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Return the decisions: a class for each row, or for a multi-label model whether each label is predicted."""
    return logits > 0 if problem_type == "multi_label_classification" else logits.argmax(axis=-1)


def measure_batch_dependence(predictor: Predictor, rows: Sequence[TokenIds]) -> dict[str, Any]:
    """Run an export on the same rows in several batchings.

    Args:
        predictor: The export.
        rows: The rows, of which the first 500 are used.

    Returns:
        - `batchings`: description of the rows and batchings;
        - `batch_dependent_decisions`: number of decisions that differ between batchings; not for a regression;
        - `batch_difference`: largest difference between two logits of the same row in two batchings.
    """
    rows = rows[:_MOST_ROWS]
    batchings = [[[index] for index in range(len(rows))]]
    for seed, batch_size in enumerate(_SHUFFLED_BATCH_SIZES):
        batchings.append(_cut(np.random.default_rng(seed).permutation(len(rows)).tolist(), batch_size))
    logits = np.stack(
        [
            np.concatenate([np.atleast_2d(row) for row in run_batches(predictor.run, rows, batches, predictor)])
            for batches in batchings
        ]
    )
    sizes = ", ".join(map(str, _SHUFFLED_BATCH_SIZES))
    result: dict[str, Any] = {
        "batchings": f"{len(rows)} rows, one by one and shuffled in batches of {sizes}",
        "batch_difference": float(np.ptp(logits, axis=0).max()),
    }
    if predictor.problem_type != "regression":
        decisions = decide(logits, predictor.problem_type)
        result["batch_dependent_decisions"] = int((decisions != decisions[0]).any(axis=0).sum())
    return result
