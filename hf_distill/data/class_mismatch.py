"""Refuse a task and a model that have different classes, and say what to do in each case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_distill.classifiers.label_maps import are_paired_by_order
from hf_distill.data.label_column import LabelColumn
from hf_distill.data.labels.spelling import map_to_paste
from hf_distill.data.table import counted, name_some

if TYPE_CHECKING:  # this module is imported by the module of Task
    from hf_distill.data.task import Task


def check_has_classes(task: Task, model_names: Sequence[str], owner: str) -> None:
    """Refuse a model that lacks a class of a task.

    Args:
        task: The task, with label names.
        model_names: The names of the model's outputs, in their order.
        owner: What the messages call the model: `teacher` or `model`.

    Raises:
        ValueError: if the model lacks a class. Upper and lower case are the same; names without a meaning (`LABEL_0`,
            or the ids 0, 1, ...) are not checked if the model has enough outputs.
    """
    names = list(task.label_names or [])
    known = {name.casefold() for name in model_names}
    missing = [name for name in names if name.casefold() not in known]
    are_ids = set(names) <= {str(i) for i in range(len(model_names))}
    if not missing or are_ids or are_paired_by_order(names, model_names):
        return
    if len(names) <= len(model_names):
        raise ValueError(_other_names(names, model_names, owner))
    if len(missing) < len(names):
        raise ValueError(_missing_classes(task, missing, model_names, owner))
    raise ValueError(
        f"The data have {len(names):,} classes ({name_some(names)}), the {owner} has "
        f"{counted(len(model_names), 'output')} ({name_some(model_names)}). This {owner} was trained for another "
        f"task: name another {owner}, or fine-tune one on these labels with --fine_tune_teacher (in Python "
        "`fine_tune`)."
    )


def _other_names(names: Sequence[str], model_names: Sequence[str], owner: str) -> str:
    """Say how to give the same classes the same names; pairs are only suggested if the names are abbreviations."""
    class_names = f"--class_names with your names of the {owner}'s outputs, in their order ({name_some(model_names)})"
    label_map = "map your labels to these names with --label_map (`label_map`)"
    abbreviations = _abbreviations(names, model_names)
    if abbreviations is not None:
        label_map = f"pass {map_to_paste({name: abbreviations[name] for name in names})}"
        if len(names) == len(model_names) and not any("," in name for name in names):
            class_names = (
                f"--class_names {','.join(abbreviations)}, your names of the {owner}'s outputs in their order"
            )
    return (
        f"The data have the classes {name_some(names)}; the {owner} has {name_some(model_names)}. If these are the "
        f"same classes, pass {class_names}; or {label_map}. In Python, set `id2label` and `label2id` in "
        f"the {owner}'s config instead of --class_names. If these are other classes, name another {owner}, or "
        "fine-tune one on these labels with --fine_tune_teacher."
    )


def _abbreviations(names: Sequence[str], model_names: Sequence[str]) -> dict[str, str] | None:
    """Return the model's name for each name, in the model's order, if one name of each pair begins with the other.

    None unless every name fits one name of the model, and every name of the model fits at most one.
    """
    pairs = {
        name: model_name
        for model_name in model_names
        for name in names
        if _begins_alike(name.casefold(), model_name.casefold())
    }
    num_fits = sum(_begins_alike(n.casefold(), m.casefold()) for n in names for m in model_names)
    return pairs if num_fits == len(pairs) == len(set(pairs.values())) == len(names) else None


def _begins_alike(name: str, model_name: str) -> bool:
    return name.startswith(model_name) or model_name.startswith(name)


def _missing_classes(task: Task, missing: Sequence[str], model_names: Sequence[str], owner: str) -> str:
    """Say which classes the model lacks, in which splits and how often."""
    counts = {
        split: LabelColumn(dataset, task.problem_type, task.label_names).counts()
        for split, dataset in task.datasets.items()
        if "label" in dataset.column_names
    }
    unit = "word" if task.has_words else "row"
    by_split = {
        split: [f"{name!r} ({counted(numbers[name], unit)})" for name in missing if numbers[name]]
        for split, numbers in counts.items()
    }
    texts = [
        f"{split} has {'a class' if len(classes) == 1 else 'classes'} that the {owner} lacks: {name_some(classes)}."
        for split, classes in by_split.items()
        if classes
    ]
    if not texts:
        texts = [f"The data name classes that no row has and that the {owner} lacks: {name_some(missing)}."]
    return (
        f"{' '.join(texts)} The {owner} has {name_some(model_names)}. Remove these labels with "
        f"{map_to_paste(dict.fromkeys(missing))}, name a {owner} that has these classes, or fine-tune one on "
        "these labels with --fine_tune_teacher (in Python `fine_tune`)."
    )
