"""Transfer sets: draw unlabelled text from several sources, and select texts for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset, concatenate_datasets

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.data.minhash import Shingles
from hf_distill.utils.columns import select_formatted

NEAR_DUPLICATE_THRESHOLD = 0.8
EARLIER_TEXT = "an earlier text"
SEED = 42


def mix_sources(
    datasets: Sequence[Dataset],
    weights: Sequence[float] | None = None,
    num_rows: int | None = None,
    seed: int = SEED,
) -> tuple[Dataset, list[int]]:
    """Draw texts from several sources, without replacement.

    With the same seed, sources and weights, a larger draw contains a smaller draw. So the teacher can reuse the logits
    that it computed for the smaller draw.

    Args:
        datasets: The sources, with the same columns.
        weights: Share of each source in the mix, > 0, in any unit; None for their sizes.
        num_rows: Number of rows to draw. A source with too few rows gives all of them, and the other sources give
            more. None for all rows, or with `weights` for as many as keep the shares exact.
        seed: Seed of the draw.

    Returns:
        The rows, source after source, in the order of each source; and the number of rows from each source.

    Raises:
        ValueError: for weights that do not fit the sources, sources with different columns, or no rows.
    """
    sizes = [len(dataset) for dataset in datasets]
    if weights is not None and (len(weights) != len(datasets) or not all(0 < w < np.inf for w in weights)):
        raise ValueError(f"`weights` must be {len(datasets)} numbers > 0, one for each source, got {list(weights)}.")
    if len({frozenset(dataset.column_names) for dataset in datasets}) > 1:
        columns = "; ".join(", ".join(dataset.column_names) for dataset in datasets)
        raise ValueError(f"The sources have different columns: {columns}. Give all sources the same columns.")
    if sum(sizes) == 0 or (weights is not None and 0 in sizes):
        raise ValueError(f"The sources have {sizes} texts. Leave out those without one.")
    if num_rows is None:
        reach = [size * sum(weights) / weight for size, weight in zip(sizes, weights, strict=True)] if weights else []
        num_rows = int(min(reach) + 1e-6) if weights else sum(sizes)
    draw = np.random.default_rng(seed)
    drawn = allot(sizes, weights or sizes, num_rows)
    chosen = [np.sort(draw.permutation(size)[:count]) for size, count in zip(sizes, drawn, strict=True)]
    return concatenate_datasets([d.select(rows) for d, rows in zip(datasets, chosen, strict=True)]), drawn


def find_near_duplicates(
    dataset: Dataset,
    text_columns: Sequence[str],
    threshold: float = NEAR_DUPLICATE_THRESHOLD,
    against: Mapping[str, Dataset] | None = None,
) -> list[str | None]:
    """Return for each row what it is a near-duplicate of: a name in `against`, [`EARLIER_TEXT`], or None.

    Two texts are near-duplicates if the Jaccard similarity of their shingles, two words each, reaches the threshold.
    Equal texts always do, and so do texts that differ only by punctuation and case. At 0.8, a text of five words is a
    near-duplicate of the same text with one more word at the end, a text of ten words with another last word, and a
    text of nineteen words with another word in the middle. In a shorter text, one word is more likely to change the
    meaning. See [`~hf_distill.data.minhash.Shingles`].

    Args:
        dataset: Rows of text. The first of several near-duplicates is kept.
        text_columns: One column, or the two columns of a pair.
        threshold: Lowest Jaccard similarity of near-duplicates, from 0.1 to 1.
        against: More rows by name, with the same columns. The first name that has a near-duplicate is returned. Pass
            evaluation texts here: scores on texts that were trained on say nothing about new texts. Lee et al. (2022),
            https://huggingface.co/papers/2107.06499, find such leaks in many corpora.
    """
    if not 0.1 <= threshold <= 1:
        raise ValueError(f"`threshold` must be a Jaccard similarity from 0.1 to 1, got {threshold}.")
    parts = {**(against or {}), EARLIER_TEXT: dataset}
    whole = concatenate_datasets([part.select_columns(list(text_columns)) for part in parts.values()])
    found = Shingles(whole, text_columns).first_near_duplicates(threshold, len(whole) - len(dataset))
    ends, names = np.cumsum([len(part) for part in parts.values()]), list(parts)
    return [
        None if other < 0 else names[int(np.searchsorted(ends, other, side="right"))]
        for other in found[len(whole) - len(dataset) :]
    ]


def drop_near_duplicates(
    dataset: Dataset,
    text_columns: Sequence[str],
    threshold: float = NEAR_DUPLICATE_THRESHOLD,
    against: Mapping[str, Dataset] | None = None,
) -> tuple[Dataset, dict[str, int]]:
    """Drop near-duplicates as [`find_near_duplicates`] finds them; return the rows left and the counts by name."""
    found = find_near_duplicates(dataset, text_columns, threshold, against)
    return dataset.select(np.flatnonzero([name is None for name in found])), dict(Counter(filter(None, found)))


def teacher_confidence(logits: np.ndarray, problem_type: ProblemType) -> np.ndarray:
    r"""Return the probability of the teacher's most likely answer, `(num_rows,)`.

    It is the maximum of the softmax; for several labels in a row, the probability of the most likely set of labels,
    $\prod_c \max(p_c, 1 - p_c)$.

    Args:
        logits: `(num_rows, num_labels)`.
        problem_type: The teacher's problem type.

    Raises:
        ValueError: for regression, whose teacher has no probabilities, and for tokens.
    """
    check_has_confidence(problem_type)
    logits = np.asarray(logits, dtype=np.float64)
    if problem_type.is_exclusive:
        return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return np.exp(-np.log1p(np.exp(-np.abs(logits))).sum(axis=1))


def has_confidence(problem_type: ProblemType) -> bool:
    """Whether a teacher has a [`teacher_confidence`]: not for regression, which has no probabilities, and words."""
    return problem_type.has_temperature and not problem_type.is_token_level


def check_has_confidence(problem_type: ProblemType) -> None:
    """Refuse a problem type whose teacher has no [`teacher_confidence`].

    Raises:
        ValueError: if it has none.
    """
    if not has_confidence(problem_type):
        raise ValueError(
            f"A teacher's confidence is the probability of its answer to a whole text; {problem_type.name} has none."
        )


def logits_column(dataset: Dataset) -> np.ndarray:
    """Read the column `teacher_logits`, `(num_rows, num_labels)`."""
    return np.asarray(select_formatted(dataset, [TEACHER_LOGITS], "numpy")[:][TEACHER_LOGITS])


def select_by_teacher(
    dataset: Dataset,
    problem_type: ProblemType,
    *,
    min_confidence: float = 0.0,
    num_rows: int | None = None,
    balanced: bool = False,
    seed: int = SEED,
) -> Dataset:
    """Select texts by the teacher's answers; their order stays the same.

    By default, train on a random draw of the texts that the student will meet. Set a lowest confidence if a part of
    the texts is from another domain, where the teacher guesses. Balance the classes if some of them are rare. Xie et
    al. (2020), https://huggingface.co/papers/1911.04252, do both, with a lowest confidence of 0.3 among 1,000 classes.
    Soft targets already contain the teacher's confidence, so often neither is needed; and a high limit would leave
    only easy texts.

    Args:
        dataset: Rows with `teacher_logits`, as [`TeacherCache.label`] returns them.
        problem_type: The teacher's problem type.
        min_confidence: Rows with a lower [`teacher_confidence`] are dropped.
        num_rows: Number of rows to draw at random from the rows left; None for all.
        balanced: Whether to draw the same number of rows for each predicted class, as far as there are enough.
        seed: Seed of the draw.

    Raises:
        ValueError: for a problem type that has no confidence or, if `balanced`, no classes that exclude each other; or
            if no row is left.
    """
    logits = logits_column(dataset)
    rows = np.flatnonzero(teacher_confidence(logits, problem_type) >= min_confidence)
    if not len(rows):
        raise ValueError(f"The teacher's confidence is below {min_confidence} on all {len(dataset):,} texts.")
    if balanced and not problem_type.is_exclusive:
        raise ValueError(f"Only classes that exclude each other can be balanced, not those of {problem_type.name}.")
    if num_rows is not None:
        classes = logits[rows].argmax(axis=1) if balanced else np.zeros(len(rows))
        of_class = [rows[classes == i] for i in np.unique(classes)]
        counts = allot([len(members) for members in of_class], [1.0] * len(of_class), num_rows)
        draw = np.random.default_rng(seed)
        rows = np.concatenate([draw.permutation(m)[:count] for m, count in zip(of_class, counts, strict=True)])
    return dataset.select(np.sort(rows))


def out_of_domain_share(
    transfer_logits: np.ndarray, reference_logits: np.ndarray, problem_type: ProblemType, percentile: float = 5.0
) -> float:
    """Return the share of texts on which the teacher is less confident than on nearly all texts of its own domain.

    In-domain text gives about `percentile` / 100. Low confidence tells misclassified and out-of-domain texts apart
    from others, imperfectly: Hendrycks & Gimpel (2017), https://huggingface.co/papers/1610.02136.

    Args:
        transfer_logits: The teacher's logits, `(num_rows, num_labels)`.
        reference_logits: The teacher's logits on texts of the task that it was not trained on, such as the validation
            texts.
        problem_type: The teacher's problem type.
        percentile: A text is out of domain if the teacher's confidence is below this percentile of the reference.
    """
    limit = np.percentile(teacher_confidence(reference_logits, problem_type), percentile)
    return float((teacher_confidence(transfer_logits, problem_type) < limit).mean())


def allot(sizes: Sequence[int], weights: Sequence[float], num_rows: int) -> list[int]:
    """Split a number into parts proportional to the weights. If a size is too small, the other parts are larger."""
    size, weight = np.array(sizes), np.array(weights, dtype=np.float64)
    parts, is_open = np.zeros(len(size)), np.ones(len(size), dtype=bool)
    rest = float(min(num_rows, size.sum()))
    while is_open.any():
        parts[is_open] = rest * weight[is_open] / weight[is_open].sum()
        is_short = is_open & (parts >= size)
        if not is_short.any():
            break
        parts[is_short] = size[is_short]
        rest -= size[is_short].sum()
        is_open &= ~is_short
    whole = np.floor(parts + 1e-9).astype(int)
    missing = int(round(parts.sum())) - whole.sum()
    whole[np.argsort(whole - parts, kind="stable")[:missing]] += 1
    return whole.tolist()
