"""Label spaces of models and data, aligned by name."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from transformers import PreTrainedConfig

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def id2label_of(config: PreTrainedConfig) -> dict[int, str]:
    """Return the label names of a model by class id.

    Raises:
        ValueError: if the ids are not 0, 1, ..., the places of the logits.
    """
    id2label = cast("dict[int, str]", config.id2label)  # JSON has them as text, a loaded config as numbers
    _check_ids(id2label)
    return id2label


def _check_ids(id2label: Mapping[int, str]) -> None:
    if sorted(id2label) != list(range(len(id2label))):
        raise ValueError(
            f"`id2label` is {dict(id2label)}; its ids are the places of the logits, so 0 to {len(id2label) - 1} are "
            "wanted, each once. Set it so in the model's config."
        )


def label2id_of(config: PreTrainedConfig) -> dict[str, int]:
    """Return the class ids of a model by label name."""
    return {name: i for i, name in id2label_of(config).items()}


def are_placeholders(id2label: Mapping[int, str]) -> bool:
    """Whether the names are those that transformers invents for a model that was given none."""
    return all(_PLACEHOLDER.fullmatch(name) for name in id2label.values())


def match_labels(names: Sequence[str], label2id: Mapping[str, int]) -> list[int]:
    """Find the id of every name, upper or lower case.

    Args:
        names: Label names, e.g. those of a data set.
        label2id: A model's ids by name; it may know further labels.

    Returns:
        `(len(names),)`, ids; 0, 1, ... if either side's names are placeholders, which say nothing about the order.

    Raises:
        ValueError: if a name is not there, or only without regard to case and more than once.
    """
    if all(name in label2id for name in names):
        return [label2id[name] for name in names]
    are_open = are_placeholders(dict(enumerate(names))) or are_placeholders({i: name for name, i in label2id.items()})
    if are_open and sorted(label2id.values()) == list(range(len(names))):
        return list(range(len(names)))
    ids = {name.casefold(): i for name, i in label2id.items()}
    folded = [name.casefold() for name in names]
    is_ambiguous = len(ids) < len(label2id) or len(set(folded)) < len(folded)
    if is_ambiguous or not ids.keys() >= set(folded):
        raise ValueError(
            f"The label names differ: {dict(enumerate(names))} against {dict(label2id)}. Set `id2label` and "
            "`label2id` of a model's config to the other names, each at the id of the class that it means."
        )
    return [ids[name] for name in folded]


def align_labels(source: Mapping[int, str], target: Mapping[int, str]) -> list[int] | None:
    """Find for every class of `target` the class of `source` with the same name, upper or lower case.

    Args:
        source: `id2label` of the model whose outputs are to be reordered, e.g. the teacher's.
        target: `id2label` of the order that is wanted, e.g. the student's.

    Returns:
        `order`, so that `logits[:, order]` are in the order of `target`; None if they are already. Placeholder names
        (`LABEL_0`, ...) on either side say nothing about the order: it is then taken to be the same.

    Raises:
        ValueError: if the numbers of classes differ, or the names do, or ids are not 0, 1, ...
    """
    _check_ids(source)
    _check_ids(target)
    if len(source) != len(target):
        raise ValueError(
            f"{len(source)} classes cannot be aligned with {len(target)}: {dict(source)} against {dict(target)}."
        )
    if are_placeholders(source) or are_placeholders(target):
        return None
    order = match_labels([target[i] for i in range(len(target))], {name: i for i, name in source.items()})
    if len(set(order)) < len(order):
        raise ValueError(f"The label names differ: {dict(source)} against {dict(target)}. A name occurs twice.")
    return None if order == sorted(order) else order
