"""The label names of models and datasets, and how two label spaces are aligned by name."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from transformers import PreTrainedConfig

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def id2label_of(config: PreTrainedConfig) -> dict[int, str]:
    """Return the label names of a model by class id.

    Raises:
        ValueError: if the ids are not 0, 1, ..., the positions of the logits.
    """
    id2label = cast("dict[int, str]", config.id2label)  # a loaded config has integer keys, JSON has strings
    _check_ids(id2label)
    return id2label


def _check_ids(id2label: Mapping[int, str]) -> None:
    if sorted(id2label) != list(range(len(id2label))):
        raise ValueError(
            f"The ids in `id2label` must be the positions of the logits, 0 to {len(id2label) - 1}, each once; got "
            f"{dict(id2label)}. Correct `id2label` in the model's config."
        )


def label2id_of(config: PreTrainedConfig) -> dict[str, int]:
    """Return the class ids of a model by label name."""
    return {name: i for i, name in id2label_of(config).items()}


def class_names_of(config: PreTrainedConfig) -> list[str]:
    """Return the label names of a model in the order of its outputs."""
    id2label = id2label_of(config)
    return [id2label[i] for i in range(len(id2label))]


def name_classes(config: PreTrainedConfig, names: Sequence[str]) -> None:
    """Set the label names of a model, in the order of its outputs."""
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}


def check_class_names(class_names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names of a teacher's outputs as the user says; as its config says if they differ in case only.

    Args:
        class_names: The names that the user gives, in the order of the outputs.
        known: The names in the teacher's config.

    Raises:
        ValueError: if there is not one name for each output, or if the config has the same names in another order.
    """
    if len(set(class_names)) < len(class_names) or not all(class_names):
        raise ValueError(f"--class_names (`class_names`) must be different names, got {', '.join(class_names)!r}.")
    if len(class_names) != len(known):
        raise ValueError(
            f"--class_names (`class_names`) has {len(class_names)} names, {', '.join(class_names)}; the teacher has "
            f"{len(known)} outputs, {', '.join(known)}. Give one name for each output."
        )
    folded, known_folded = ([name.casefold() for name in names] for names in (class_names, known))
    if folded == known_folded:
        return list(known)
    if sorted(folded) == sorted(known_folded):
        raise ValueError(
            f"--class_names (`class_names`) says that the teacher's outputs are {', '.join(class_names)}; its config "
            f"has the same names in the order {', '.join(known)}. Leave out --class_names, or correct `id2label` in "
            "the config."
        )
    return list(class_names)


def are_placeholders(id2label: Mapping[int, str]) -> bool:
    """Return whether all names are the placeholders that transformers sets for a model without label names."""
    return all(_PLACEHOLDER.fullmatch(name) for name in id2label.values())


def are_paired_by_order(names: Sequence[str], model_names: Sequence[str]) -> bool:
    """Return whether only their order can pair two lists of label names: one has placeholders, and they differ."""
    has_placeholders = are_placeholders(dict(enumerate(names))) or are_placeholders(dict(enumerate(model_names)))
    return has_placeholders and len(names) == len(model_names) and not set(names) <= set(model_names)


def match_labels(names: Sequence[str], label2id: Mapping[str, int]) -> list[int]:
    """Find the class id of each label name; if a name differs in case only, the case is ignored.

    Args:
        names: Label names, for instance of a dataset.
        label2id: The class ids of a model by label name. It can contain more names.

    Returns:
        The `len(names)` ids. They are 0, 1, ... if the names on one side are placeholders, which do not define an
        order.

    Raises:
        ValueError: if a name is missing, or is ambiguous when the case is ignored.
    """
    if all(name in label2id for name in names):
        return [label2id[name] for name in names]
    if are_paired_by_order(names, list(label2id)):
        return list(range(len(names)))
    ids = {name.casefold(): i for name, i in label2id.items()}
    folded_names = [name.casefold() for name in names]
    is_ambiguous = len(ids) < len(label2id) or len(set(folded_names)) < len(folded_names)
    if is_ambiguous or not ids.keys() >= set(folded_names):
        are_ids = set(names) <= {str(i) for i in range(len(label2id))}
        advice = (
            f"If the first ones are the ids of the model's outputs, pass --class_names {','.join(label2id)} "
            "(`class_names`)."
            if are_ids
            else "Set `id2label` and `label2id` in the config of a model to the other label names, each name at the "
            "id of its class; or name a teacher's outputs, in its order, with --class_names (`class_names`)."
        )
        raise ValueError(f"The label names differ: {dict(enumerate(names))} and {dict(label2id)}. {advice}")
    return [ids[name] for name in folded_names]


def align_labels(source: Mapping[int, str], target: Mapping[int, str]) -> list[int] | None:
    """Find the class of `source` that has the name of each class of `target`.

    Args:
        source: `id2label` of the model whose outputs are reordered, for instance the teacher.
        target: `id2label` of the model whose order is kept, for instance the student.

    Returns:
        `order`, such that `logits[:, order]` are in the order of `target`, or None if the order is the same. If the
        names on one side are placeholders (`LABEL_0`, ...), the order is assumed to be the same.

    Raises:
        ValueError: if the numbers of classes or the names differ, or the ids are not 0, 1, ...
    """
    _check_ids(source)
    _check_ids(target)
    if len(source) != len(target):
        raise ValueError(
            f"{len(source)} classes cannot be aligned with {len(target)} classes: {dict(source)} and {dict(target)}."
        )
    if are_placeholders(source) or are_placeholders(target):
        return None
    order = match_labels([target[i] for i in range(len(target))], {name: i for i, name in source.items()})
    if len(set(order)) < len(order):
        raise ValueError(f"The label names differ: {dict(source)} and {dict(target)}. A name occurs twice.")
    return None if order == sorted(order) else order
