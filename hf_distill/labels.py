"""Alignment of the label spaces of teacher and student, by name."""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def are_placeholders(id2label: Mapping[int, str]) -> bool:
    """Whether the names are those that transformers invents for a model that was given none."""
    return all(_PLACEHOLDER.fullmatch(name) for name in id2label.values())


def align_labels(source: Mapping[int, str], target: Mapping[int, str]) -> list[int] | None:
    """Find for every class of `target` the class of `source` with the same name, upper or lower case.

    Args:
        source: `id2label` of the model whose outputs are to be reordered, e.g. the teacher's.
        target: `id2label` of the order that is wanted, e.g. the student's.

    Returns:
        `order`, so that `logits[:, order]` are in the order of `target`; None if they are already. Placeholder names
        (`LABEL_0`, ...) on either side say nothing about the order: it is then taken to be the same.

    Raises:
        ValueError: if the numbers of classes differ, or the names do.
    """
    maps = f"{dict(source)} against {dict(target)}"
    if len(source) != len(target):
        raise ValueError(f"{len(source)} classes cannot be aligned with {len(target)}: {maps}.")
    if are_placeholders(source) or are_placeholders(target):
        return None
    ids = {name.lower(): i for i, name in source.items()}
    names = [target[i].lower() for i in range(len(target))]
    if len(ids) != len(source) or ids.keys() != set(names):
        raise ValueError(
            f"The label names differ: {maps}. Set `id2label` and `label2id` of one model's config to the other's "
            "names, each at the id of the class that it means."
        )
    order = [ids[name] for name in names]
    return None if order == sorted(order) else order
