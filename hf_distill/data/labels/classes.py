"""Which classes a task has: their names and order, the same in all splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from hf_distill.data.labels.cells import Cells, Scalars
from hf_distill.data.labels.problem import LabelCounts, listed
from hf_distill.data.labels.settings import LabelSettings
from hf_distill.data.labels.spelling import as_whole, form, map_to_paste, sort_names

Rename = Callable[[str], str]
_MANY_ROWS = 20  # from so many labelled rows on, a label for each row is no class


class Classes:
    """The classes of a task.

    Args:
        columns: The cells of all splits.
        settings: What the user says of labels.

    Attributes:
        names: By id.
        notes: What was merged, and which ids became names.
        warnings: Contradictions between the splits.

    Raises:
        ValueError: for spellings that differ by upper and lower case, labels of which no class is known, splits that
            have no class in common, and fewer than `least` classes.
    """

    def __init__(self, columns: Sequence[Cells], settings: LabelSettings, least: int = 2) -> None:
        self.columns, self.settings = columns, settings
        self.notes: list[str] = []
        self.warnings: list[str] = []
        labels = LabelCounts(columns, settings.agreed)
        self._unify = self._unifier(labels)
        declared = next((column.declared for column in columns if column.declared is not None), None)
        if settings.names is not None:
            self.names = settings.names
            self._renames = {id(column): self._names_of(column, settings.names) for column in columns}
        else:
            _refuse_cases(labels, self._unify)
            self._check_declared(declared)
            self.names = declared or sort_names({self._unify(label) for label in labels.counts})
            self._renames = {id(column): self._unify for column in columns}
        self._check_splits()
        if not labels.counts and settings.names is None and declared is None:
            raise ValueError(f"{labels.where} is empty in every row. Fill it in, or name another --label_column_name.")
        if len(self.names) < least:
            raise ValueError(f"{labels.where} holds the labels {self.names}; at least two classes are wanted.")
        if labels.has("integer") and any(not label[-1].isdigit() for label in labels.of("word")):
            self.warnings.append(f"numbers and words are classes: {listed(labels.of('integer', 'word'))}")
        self.ids = {name: i for i, name in enumerate(self.names)}

    def name(self, column: Cells, label: str) -> str:
        """Return the class of a label."""
        return self._renames[id(column)](label)

    def refuse_ids(self, columns: Sequence[Scalars]) -> None:
        """Refuse a label column with another label in each row, unless the user has said that these are classes."""
        settings = self.settings
        total, num_classes = sum(self._class_counts(columns).values()), len(self._class_counts(columns))
        is_settled = settings.problem_type or settings.names or settings.teacher_num_labels == num_classes
        labels = LabelCounts(columns)
        if total < _MANY_ROWS or is_settled or labels.is_declared:
            return
        if num_classes == total:
            raise ValueError(
                f"{labels.where} has another value in each of {total:,} rows, such as {columns[0].values[0]!r}: "
                "perhaps an id. Name another column by --label_column_name; if these are classes or scores, say it by "
                "--problem_type."
            )
        if num_classes * 2 > total:
            self.warnings.append(f"{num_classes:,} classes in {total:,} labelled rows: most have a single row")

    def _unifier(self, labels: LabelCounts) -> Rename:
        """Return what makes one class of `1` and `1.0`, or of `true` and `True`."""
        if labels.is_declared:
            return str
        if labels.counts and labels.by_form.keys() <= {"bool"}:
            variants = [label for label in labels.counts if label != label.capitalize()]
            if variants and len(labels.counts) > len({label.casefold() for label in labels.counts}):
                merged = {label: labels.counts[label] for label in variants}
                self.notes.append(f"{listed(merged)} merged into 'True' and 'False'")
            return str.capitalize
        wholes = labels.of("whole")
        if not wholes or labels.has("number"):
            return as_whole if wholes else str
        self.notes.append(f"{listed(wholes)}: read as integers")
        return as_whole

    def _names_of(self, column: Cells, names: Sequence[str]) -> Rename:
        """Return the user's name for each label of a column, which holds names or ids."""
        by_fold = defaultdict[str, list[str]](list)
        for name in names:
            by_fold[name.casefold()].append(name)
        labels = {self._unify(label) for label in column.counts()}
        exact = {label: label if label in names else (*by_fold[label.casefold()], "")[0] for label in labels}
        if all(exact.values()) and all(label in names or len(by_fold[label.casefold()]) == 1 for label in labels):
            return lambda label: exact[self._unify(label)]
        if all(form(label) == "integer" and 0 <= int(label) < len(names) for label in labels):
            self.notes.append(f"{column.split}: the ids are those of --class_names (0 is {names[0]!r})")
            return lambda label: names[int(self._unify(label))]
        unknown = sort_names({label for label in labels if not exact[label]} or labels)
        raise ValueError(
            f"{column.table.source.path}: the labels {', '.join(map(repr, unknown))} are not among --class_names "
            f"{', '.join(names)}. Pass the names that the data have, or {map_to_paste({unknown[0]: names[0]})}."
        )

    def _check_declared(self, declared: list[str] | None) -> None:
        for column in self.columns:
            unknown = {self._unify(label) for label in column.counts()} - set(declared or ())
            if declared is not None and unknown:
                raise ValueError(
                    f"{column.table.source.path}: the labels {sort_names(unknown)} are not among the classes that the "
                    f"dataset declares: {declared}. Write these names, or pass "
                    f"{map_to_paste({min(unknown): declared[0]})} with all of them."
                )

    def _class_counts(self, columns: Sequence[Cells]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for column in columns:
            for label, count in column.counts().items():
                counts[self.name(column, label)] += count
        return counts

    def _check_splits(self) -> None:
        """Refuse names in one split and ids in another; warn of classes that the training rows lack."""
        counts = {
            split: self._class_counts([column for column in self.columns if column.split == split])
            for split in dict.fromkeys(column.split for column in self.columns)
        }
        train = counts.get("train")
        for split, found in counts.items():
            new = set(found) - set(train or found)
            if not new or not train:
                continue
            are_ids = [all(form(label) == "integer" for label in labels) for labels in (train, new)]
            are_others = len(found) > 1 and not set(found) & set(train)
            if are_others or are_ids[0] != are_ids[1]:
                raise ValueError(
                    f"The labels of the split {split!r} ({self._file(split)}) are not those of 'train' "
                    f"({self._file('train')}): {listed(found)} against {listed(train)}. Write the same labels, "
                    f"or pass {map_to_paste({min(new): min(train)})} with all of them, or --class_names in the "
                    "order of the ids."
                )
            rows = Counter({label: found[label] for label in new})
            self.warnings.append(f"{split} has classes that train lacks: {listed(rows)}")

    def _file(self, split: str) -> str:
        return ", ".join(dict.fromkeys(c.table.source.path for c in self.columns if c.split == split))


def _refuse_cases(labels: LabelCounts, unify: Rename) -> None:
    """Refuse classes whose names differ by upper and lower case."""
    if labels.is_declared:
        return
    groups = defaultdict[str, Counter[str]](Counter)
    for label, count in labels.counts.items():
        groups[unify(label).casefold()][unify(label)] += count
    for group in groups.values():
        if len(group) > 1 and not set(group) <= labels.agreed:
            common = group.most_common(1)[0][0]
            others = {label: common for label in group if label != common}
            raise ValueError(
                f"{labels.where} holds labels that differ by upper and lower case: {listed(group)}. If they are one "
                f"class, pass {map_to_paste(others)}; if not, map each to a name of its own."
            )
