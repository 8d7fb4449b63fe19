"""Hold out a part of the training rows for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from hf_distill.data.label_column import LabelColumn
from hf_distill.data.minhash import Shingles
from hf_distill.data.table import counted, take_rows
from hf_distill.data.transfer import NEAR_DUPLICATE_THRESHOLD, SEED, allot


def hold_out(
    dataset: Dataset,
    text_columns: Sequence[str],
    problem_type: str,
    label_names: Sequence[str] | None,
    percentage: float,
    seed: int = SEED,
) -> tuple[Dataset, Dataset]:
    """Split the rows of a task into rows for training and rows for validation.

    The draw is stratified: each class, or each tenth of the scores, gives the same share of its rows. If a row has
    several labels or tags, its rarest one counts. Near-duplicates, found by
    [`~hf_distill.data.minhash.Shingles.groups`], are on the same side; a text in validation that is nearly a text of
    train would measure memory. The same rows are drawn in every run.

    Args:
        dataset: The text columns, and the column `label` of a [`Task`].
        text_columns: One column, or the two columns of a pair.
        problem_type: Problem type of the task.
        label_names: Class names of the task.
        percentage: Share of the labelled rows to hold out, between 0 and 100. Unlabelled rows stay in train, unless
            they are near-duplicates of a row that is held out.
        seed: Seed of the draw.

    Returns:
        The rows for training and the rows for validation, both in the order of `dataset`.

    Raises:
        ValueError: if `percentage` is not between 0 and 100, or if no row can be held out.
    """
    if not 0 < percentage < 100:
        raise ValueError(f"`validation_split_percentage` must be between 0 and 100, got {percentage:g}.")
    strata = LabelColumn(dataset, problem_type, label_names).strata()
    num_labelled = int((strata >= 0).sum())
    if not num_labelled:
        raise ValueError(
            "--validation_split_percentage (`validation_split_percentage`) holds out labelled rows, and no row of "
            "train has a label. Leave it out."
        )
    groups = Shingles(dataset, text_columns).groups(NEAR_DUPLICATE_THRESHOLD)
    is_drawn = _draw(groups, strata, percentage / 100, seed)
    if not (is_drawn & (strata >= 0)).any() or not (~is_drawn & (strata >= 0)).any():
        raise ValueError(
            f"`validation_split_percentage` is {percentage:g}, but no such share of "
            f"{counted(num_labelled, 'labelled row')} in {counted(len(set(groups.tolist())), 'group')} of "
            "near-duplicates can be held out. Use another percentage, or "
            "name validation rows with --validation_file (`validation_file`)."
        )
    return take_rows(dataset, np.flatnonzero(~is_drawn)), take_rows(dataset, np.flatnonzero(is_drawn))


def _draw(groups: np.ndarray, strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask of the rows that are held out; groups are drawn as a whole.

    Args:
        groups: `(rows,)`, the number of the group of each row.
        strata: `(rows,)`, the stratum of each row; -1 for rows without a label.
        share: Share of the labelled rows.
        seed: Seed of the draw.
    """
    is_labelled = strata >= 0
    sizes = np.bincount(strata[is_labelled], minlength=1)
    left = allot(sizes.tolist(), sizes.tolist(), round(share * int(sizes.sum())))
    group_sizes = np.bincount(groups[is_labelled], minlength=len(groups))
    stratum_of: dict[int, int] = {}  # a group belongs to the stratum of its first labelled row
    for group, stratum in zip(groups[is_labelled].tolist(), strata[is_labelled].tolist(), strict=True):
        stratum_of.setdefault(group, stratum)
    names = np.array(list(stratum_of))
    drawn = set()
    for group in np.random.default_rng(seed).permutation(names).tolist():
        stratum = stratum_of[group]
        if group_sizes[group] <= left[stratum]:
            left[stratum] -= int(group_sizes[group])
            drawn.add(group)
    return np.isin(groups, list(drawn))
