"""Determine the classes of a task, with the same names and order in all splits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from hf_distill.data.labels.alike import alike, extended_map, merging_map
from hf_distill.data.labels.cells import Cells, Scalars
from hf_distill.data.labels.problem import LabelCounts, listed
from hf_distill.data.labels.settings import LabelSettings
from hf_distill.data.labels.spelling import as_whole, form, map_to_paste, sort_names
from hf_distill.data.table import name_some

Rename = Callable[[str], str]
_MANY_ROWS = 20  # with fewer labelled rows, every row can have another class


class Classes:
    """The classes of a task.

    Args:
        columns: The label columns of all splits.
        settings: How to read labels.
        least: Lowest number of classes.

    Attributes:
        names: Name of each class, by id.
        notes: What was merged, and which ids were replaced by names.
        warnings: Contradictions between the splits.

    Raises:
        ValueError: if labels differ only by case or by leading zeros, if a label is not among the declared or named
            classes, if two splits have different classes, or if there are fewer than `least` classes.
    """

    def __init__(self, columns: Sequence[Cells], settings: LabelSettings, least: int = 2) -> None:
        self.columns, self.settings = columns, settings
        self.notes: list[str] = []
        self.warnings: list[str] = []
        labels = LabelCounts(columns, settings.agreed)
        self._unify = self._unifier(labels)
        declared = next((column.declared for column in columns if column.declared is not None), None)
        if declared is not None:  # a class that the label map removes is no class of the task
            declared = [name for name in declared if settings.mapping.get(name, name) is not None]
        if settings.names is not None:
            self.names = settings.names
            self._renames = {id(column): self._names_of(column, settings.names) for column in columns}
        else:
            _refuse_alike(labels, self._unify, settings.mapping)
            self._check_declared(declared)
            self.names = declared or sort_names({self._unify(label) for label in labels.counts})
            self._renames = {id(column): self._unify for column in columns}
        self._check_splits()
        if not labels.counts and settings.names is None and declared is None:
            raise ValueError(
                f"{labels.where} is empty in every row. Fill it in, or name another column: --label_column_name."
            )
        if len(self.names) < least:
            self._add_classes_of_teacher(labels.where)
        if (
            settings.names is None
            and labels.has("integer")
            and any(not label[-1].isdigit() for label in labels.of("word"))
        ):
            self.warnings.append(f"the classes are numbers and words: {listed(labels.of('integer', 'word'))}")
        if settings.names is None and not labels.is_declared and least > 1:  # not for lists of labels
            self.warnings += _joined_names(self.names)
        self.ids = {name: i for i, name in enumerate(self.names)}

    def name(self, column: Cells, label: str) -> str:
        """Return the class name of a label in a column."""
        return self._renames[id(column)](label)

    def refuse_ids(self, columns: Sequence[Scalars]) -> None:
        """Refuse a different label in every row, unless the user named the classes or the problem type."""
        settings = self.settings
        total, num_classes = sum(self._class_counts(columns).values()), len(self._class_counts(columns))
        is_settled = settings.problem_type or settings.names or settings.teacher_num_labels == num_classes
        labels = LabelCounts(columns)
        if total < _MANY_ROWS or is_settled or labels.is_declared:
            return
        if num_classes == total:
            raise ValueError(
                f"{labels.where} has a different value in each of {total:,} rows, such as {columns[0].values[0]!r}. "
                "It may be an id. Name another column with --label_column_name. If the values are classes or scores, "
                "pass --problem_type."
            )
        if num_classes * 2 > total:
            self.warnings.append(f"{num_classes:,} classes in {total:,} labelled rows: most classes have one row")

    def _unifier(self, labels: LabelCounts) -> Rename:
        """Return a function that gives `1` and `1.0`, or `true` and `True`, the same name."""
        if labels.is_declared:
            return str
        if labels.counts and labels.by_form.keys() <= {"bool"}:
            variants = [label for label in labels.counts if label != label.capitalize()]
            if variants and len(labels.counts) > len({label.casefold() for label in labels.counts}):
                merged = {label: labels.counts[label] for label in variants}
                self.notes.append(f"{listed(merged)}: read as 'True' and 'False'")
            return str.capitalize
        wholes = labels.of("whole")
        if not wholes or labels.has("number"):
            return as_whole if wholes else str
        self.notes.append(f"{listed(wholes)}: read as integers")
        return as_whole

    def _names_of(self, column: Cells, names: Sequence[str]) -> Rename:
        """Return a function from the labels of a column, which are names or ids, to the names that the user gave."""
        by_fold = defaultdict[str, list[str]](list)
        for name in names:
            by_fold[name.casefold()].append(name)
        labels = {self._unify(label) for label in column.counts()}
        exact = {label: label if label in names else (*by_fold[label.casefold()], "")[0] for label in labels}
        if all(exact.values()) and all(label in names or len(by_fold[label.casefold()]) == 1 for label in labels):
            return lambda label: exact[self._unify(label)]
        if all(form(label) == "integer" and 0 <= int(label) < len(names) for label in labels):
            self.notes.append(f"{column.split}: labels are ids of --class_names (0 is {names[0]!r})")
            return lambda label: names[int(self._unify(label))]
        unknown = sort_names({label for label in labels if not exact[label]} or labels)
        raise ValueError(
            f"{column.table.source.path}: the labels {', '.join(map(repr, unknown))} are not among --class_names "
            f"{', '.join(names)}. Pass the names that the data have, or a map such as "
            f"{map_to_paste({unknown[0]: names[0]})}."
        )

    def _check_declared(self, declared: list[str] | None) -> None:
        for column in self.columns:
            unknown = {self._unify(label) for label in column.counts()} - set(declared or ())
            if declared is not None and unknown:
                raise ValueError(
                    f"{column.table.source.path}: the labels {sort_names(unknown)} are not among the classes that the "
                    f"dataset declares: {declared}. Use these names, or map all other labels: "
                    f"{map_to_paste({min(unknown): declared[0]})}."
                )

    def _add_classes_of_teacher(self, where: str) -> None:
        """Add the other classes of the teacher to a single one, if that is one of them, upper or lower case."""
        folded, known = {name.casefold() for name in self.names}, self.settings.teacher_class_names
        others = [name for name in known if name.casefold() not in folded]
        if not others or len(others) == len(known):
            of_teacher = f" The teacher has the classes {name_some(known)}." if known else ""
            raise ValueError(
                f"{where} has only the labels {self.names}. Expected at least two classes.{of_teacher} If the models "
                "have more classes, name all of them, in the order of the teacher's outputs: --class_names "
                "(`class_names`)."
            )
        self.notes.append(f"all labelled rows are of the class {self.names[0]!r}; the teacher has {len(known)}")
        self.names = sort_names({*self.names, *others})

    def _class_counts(self, columns: Sequence[Cells]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for column in columns:
            for label, count in column.counts().items():
                counts[self.name(column, label)] += count
        return counts

    def _check_splits(self) -> None:
        """Refuse splits with different classes; warn about classes that the training split lacks."""
        counts = {
            split: self._class_counts([column for column in self.columns if column.split == split])
            for split in dict.fromkeys(column.split for column in self.columns)
        }
        train = counts.get("train")
        for split, split_counts in counts.items():
            new = set(split_counts) - set(train or split_counts)
            if not new or not train:
                continue
            are_ids = [all(form(label) == "integer" for label in labels) for labels in (train, new)]
            is_disjoint = len(split_counts) > 1 and not set(split_counts) & set(train)
            if is_disjoint or are_ids[0] != are_ids[1]:
                raise ValueError(
                    f"The split {split!r} ({self._file(split)}) has other labels than 'train' "
                    f"({self._file('train')}): {listed(split_counts)} and {listed(train)}. Use the same labels, map "
                    f"all of them ({map_to_paste({min(new): min(train)})}), or pass --class_names in the order of the "
                    "ids."
                )
            rows = Counter({label: split_counts[label] for label in new})
            self.warnings.append(f"{split} has classes that train lacks: {listed(rows)}")

    def _file(self, split: str) -> str:
        return ", ".join(dict.fromkeys(c.table.source.path for c in self.columns if c.split == split))


def _joined_names(names: Sequence[str]) -> list[str]:
    """Return a warning for names like `joy+love` beside `joy`, which can be several labels in one cell."""
    for delimiter in "/+& ":
        for name in names:
            parts = [part.strip() in names for part in name.split(delimiter)]
            # A word of a longer name can be a class, too: `card` and `card arrival`.
            if len(parts) > 1 and (all(parts) if delimiter == " " else any(parts)):
                return [
                    f"the class {name!r} contains another class. If such cells hold several labels, pass "
                    f"--label_delimiter {delimiter!r}"
                ]
    return []


def _value_of(label: str) -> str:
    """Return `1` for 01 and for +1; other texts unchanged."""
    return str(int(label)) if re.fullmatch(r"[-+]?\d{1,99}", label, re.ASCII) else label


def _refuse_alike(labels: LabelCounts, unify: Rename, label_map: Mapping[str, str | None]) -> None:
    """Refuse labels that differ only by case, or by zeros or a sign, with one map for all of them."""
    if labels.is_declared:
        return
    kinds = {"case": str.casefold, "the zeros or the sign in front of a number": _value_of}
    groups = {difference: alike(labels.counts, labels.agreed, unify, key) for difference, key in kinds.items()}
    texts = [
        f"labels that differ only by {difference}: {'; '.join(map(listed, kind_groups))}"
        for difference, kind_groups in groups.items()
        if kind_groups
    ]
    if texts:
        all_groups = [group for kind_groups in groups.values() for group in kind_groups]
        are_one_class = "they are" if len(all_groups) == 1 else "the labels of each group are"
        raise ValueError(
            f"{labels.where} has {', and '.join(texts)}. If {are_one_class} one class, pass "
            f"{map_to_paste(extended_map(label_map, merging_map(all_groups)))}. If not, map each of them to itself."
        )
