"""Find labels that are probably one class in several spellings, and the label map that merges them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping


def alike(
    counts: Mapping[str, int], agreed: Collection[str], unify: Callable[[str], str], key: Callable[[str], str]
) -> list[Counter[str]]:
    """Return groups of labels with the same key, such as the same letters in lower case.

    Args:
        counts: The number of rows of each label.
        agreed: Labels that the user names as classes. A group of such labels is left out.
        unify: A function that gives labels which are one class without a doubt the same name.
        key: A function that gives labels which can be one class the same key.

    Returns:
        For each group the number of rows of each label.
    """
    groups = defaultdict[str, Counter[str]](Counter)
    for label, count in counts.items():
        groups[key(unify(label))][unify(label)] += count
    return [group for group in groups.values() if len(group) > 1 and not set(group) <= set(agreed)]


def merging_map(groups: Collection[Counter[str]]) -> dict[str, str | None]:
    """Return the label map that gives each group the name of its most frequent label."""
    return {
        label: group.most_common(1)[0][0] for group in groups for label in group if label != group.most_common(1)[0][0]
    }


def extended_map(label_map: Mapping[str, str | None], more: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return a label map that does what one map does, and then another: a label is mapped once only."""
    chained = {label: name if name is None else more.get(name, name) for label, name in label_map.items()}
    return {**chained, **more}
