"""Derive the problem type of a task from its labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from hf_distill.data.labels.alike import alike, extended_map, merging_map
from hf_distill.data.labels.cells import Cells, Lists, Scalars
from hf_distill.data.labels.settings import MULTI, REGRESSION, SINGLE, TOKENS, LabelSettings
from hf_distill.data.labels.spelling import form, map_to_paste
from hf_distill.data.table import counted, name_some

_NUMBERS = {"integer", "whole", "number"}
_FRACTIONS = {"whole", "number", "comma", "percent"}
_DELIMITER = re.compile(r"[|;,]")
_ZERO_OR_ONE = {"0", "1", "True", "False", "0.0", "1.0"}


class LabelCounts:
    """The number of rows of each label of a task, grouped by the form of the label.

    Args:
        columns: The label columns of all splits.
        agreed: Labels that the user names as classes; they have the form `word`.
    """

    def __init__(self, columns: Sequence[Cells], agreed: Iterable[str] = ()) -> None:
        self.columns, self.agreed = columns, set(agreed)
        self.counts = sum((column.counts() for column in columns), Counter[str]())
        is_declared = any(column.declared is not None for column in columns)
        self.by_form: dict[str, Counter[str]] = {}
        for value, count in self.counts.items():
            kind = form(value)
            if is_declared or (value in self.agreed and kind not in _NUMBERS):
                kind = "word"
            self.by_form.setdefault(kind, Counter())[value] = count
        self.is_declared = is_declared

    def of(self, *kinds: str) -> Counter[str]:
        """Return the counts of the labels of some forms."""
        return sum((self.by_form.get(kind, Counter()) for kind in kinds), Counter[str]())

    def has(self, *kinds: str) -> bool:
        """Whether any label has one of these forms."""
        return bool(self.by_form.keys() & set(kinds))

    def example(self, *kinds: str) -> str:
        """Return the most frequent label of some forms."""
        return self.of(*kinds).most_common(1)[0][0]

    @property
    def where(self) -> str:
        """The files and the label column, for error messages."""
        files = dict.fromkeys(column.table.source.path for column in self.columns)
        return f"{', '.join(files)}: the label column {self.columns[0].column!r}"

    def place(self, label: str) -> str:
        """Return the first place of a label, for error messages."""
        return next((place for column in self.columns if (place := column.place(label)) is not None), self.where)


def listed(counts: Mapping[str, int]) -> str:
    """Return labels with their numbers of rows, the most frequent first."""
    return name_some([f"{value!r} ({counted(count, 'row')})" for value, count in Counter(counts).most_common()], 8)


def problem_of_scalars(columns: Sequence[Scalars], settings: LabelSettings) -> str:
    """Return the problem type of columns with one label per row.

    Names and integers are classes, numbers with a fraction are scores. If all numbers look like `1.0`, they can be
    either; then the number of the teacher's outputs decides, or the user must.

    Raises:
        ValueError: if the labels can be read in two ways, or contain words that could mean missing values.
    """
    labels = LabelCounts(columns, settings.agreed)
    ignored = _ignored_ids(labels) if settings.problem_type != REGRESSION else Counter[str]()
    _refuse_missing_words(labels, ignored, settings)
    if settings.problem_type is not None:
        return _check_asked(labels, settings.problem_type)
    _refuse_strange_numbers(labels)
    if labels.has("word", "bool"):
        _refuse_mixtures(labels)
        _refuse_joined_names(labels)
        return SINGLE
    if settings.teacher_num_labels == len(labels.counts) and len(labels.counts) > 1:
        return SINGLE
    if labels.has("number") or settings.teacher_num_labels == 1:
        return REGRESSION
    if labels.has("whole") and not _has_plain_ids(columns):
        raise ValueError(
            f"{labels.where} holds numbers without a fraction, such as {labels.example('whole')!r}. They can be "
            f"{len(labels.counts)} classes or scores. Pass --problem_type {SINGLE} or --problem_type {REGRESSION} "
            "(`problem_type`)."
        )
    return SINGLE


def problem_of_lists(columns: Sequence[Lists], settings: LabelSettings) -> tuple[str, bool]:
    """Return the problem type of columns with a list of labels per row.

    Returns:
        The problem type, and whether each list has one number for every class.

    Raises:
        ValueError: if no list has more than one label, because then each row can also have one class; and if the lists
            do not fit the problem type that the user names.
    """
    labels, asked = LabelCounts(columns, settings.agreed), settings.problem_type
    _refuse_missing_words(labels, Counter(), settings)
    lengths = {len(row) for column in columns for row in column.rows if row is not None}
    longest = max(lengths, default=0)
    is_hot = len(lengths) == 1 and longest > 1 and labels.counts.keys() <= _ZERO_OR_ONE
    are_numbers = labels.has(*_NUMBERS) and labels.by_form.keys() <= _NUMBERS
    if asked == TOKENS or (asked == REGRESSION and not are_numbers):
        expected = "columns `tokens` and `tags`" if asked == TOKENS else "numbers"
        raise ValueError(_cannot(labels, next(iter(labels.counts), ""), str(asked), expected))
    if is_hot or asked == REGRESSION:
        return asked or MULTI, True
    if are_numbers and labels.has("whole", "number") and asked != SINGLE:
        return asked or REGRESSION, True
    if asked == SINGLE:
        _refuse_several(columns)
    if asked is not None:
        return asked, False
    if labels.is_declared and not lengths:  # no row has a label, and the classes of lists are declared
        return MULTI, False
    if longest > 1 or settings.label_delimiter is not None or settings.teacher_problem_type == MULTI:
        return MULTI, False
    if not labels.counts:
        raise ValueError(f"{labels.where} holds only empty lists. Fill them in, or name another column.")
    if settings.teacher_problem_type == SINGLE:
        return SINGLE, False
    raise ValueError(
        f"{labels.where} holds lists of at most one label, such as [{next(iter(labels.counts))!r}]. Each row can have "
        f"one class or any number of classes. Pass --problem_type {SINGLE} or --problem_type {MULTI} (`problem_type`)."
    )


def _ignored_ids(labels: LabelCounts) -> Counter[str]:
    """Return the count of -100 beside ids: PyTorch's cross-entropy ignores such rows by default."""
    others = labels.counts.keys() - {"-100"}
    are_ids = bool(others) and all(form(label) == "integer" and int(label) >= -1 for label in others)
    is_ignored = are_ids and labels.counts["-100"] > 0 and "-100" not in labels.agreed and not labels.is_declared
    return Counter({"-100": labels.counts["-100"]}) if is_ignored else Counter()


def _refuse_missing_words(labels: LabelCounts, ignored: Counter[str], settings: LabelSettings) -> None:
    """Refuse words for missing values, which can also be class names. NaN among numbers is a missing value.

    Args:
        labels: The labels.
        ignored: Ids that can mean a missing value, too.
        settings: How to read labels. The map in the message extends the label map in the settings.
    """
    words, numbers = labels.of("word", "bool", "comma", "percent"), labels.of(*_NUMBERS)
    nones = Counter({value: count for value, count in words.items() if value.casefold() == "none"})
    is_numeric = bool(numbers) and words.keys() <= nones.keys()  # declared classes all have the form `word`
    strange = ignored + labels.of("missing") + (nones if is_numeric else labels.of("nan"))
    if strange:
        others = (numbers + words) - strange
        among = f" among labels such as {others.most_common(1)[0][0]!r}" if others else ""
        names = words - strange
        spellings = [] if settings.names else alike(names, labels.agreed, _as_bool(names), str.casefold)
        groups = "; ".join(map(listed, spellings))
        also = f" It also has labels that differ only by case: {groups}." if spellings else ""
        means = ", and the labels of each group are one class" if spellings else ""
        label_map = extended_map(settings.mapping, {**merging_map(spellings), **dict.fromkeys(strange)})
        raise ValueError(
            f"{labels.where} holds {listed(strange)}{among}.{also} If this means a missing label{means}, pass "
            f"{map_to_paste(label_map)}. If it is a class, map it to itself."
        )


def _as_bool(words: Iterable[str]) -> Callable[[str], str]:
    """Return a function that gives `true` and `True` the same name if the words are only such."""
    return str.capitalize if {form(word) for word in words} <= {"bool"} else str


def _refuse_strange_numbers(labels: LabelCounts) -> None:
    """Refuse numbers with a decimal comma or a percent sign, which would become class names."""
    for kind, advice in (
        ("comma", "Write decimal numbers with a point. If these are several labels, pass --label_delimiter ','"),
        ("percent", "Write percentages as numbers without a sign"),
    ):
        if labels.has(kind):
            raise ValueError(
                f"{labels.place(labels.example(kind))}: {labels.example(kind)!r} cannot be read as a number. "
                f"{advice}. If each such value is a class, pass --problem_type {SINGLE} (`problem_type`)."
            )


def _refuse_mixtures(labels: LabelCounts) -> None:
    """Refuse words among scores, and true or false among integers."""
    words = labels.of("word", "bool")
    if labels.has("number", "whole") or (labels.has("bool") and labels.has("integer") and not labels.has("word")):
        numbers = labels.of(*_NUMBERS)
        raise ValueError(
            f"{labels.where} holds the numbers {listed(numbers)} and the words {listed(words)}. Map the words: "
            f"{map_to_paste(dict.fromkeys(list(words)[:4]))}. If all of them are classes, pass --problem_type "
            f"{SINGLE} (`problem_type`)."
        )


def _refuse_joined_names(labels: LabelCounts) -> None:
    """Refuse cells that look like several labels with a delimiter. Each combination would become a class."""
    if labels.is_declared:
        return
    for delimiter in "|;,":
        parts = {value: {p.strip() for p in value.split(delimiter)} for value in labels.counts if delimiter in value}
        seen = Counter(part for items in parts.values() for part in items)
        joined = [v for v, items in parts.items() if any(seen[p] > 1 or p in labels.counts for p in items)]
        if parts and (joined or delimiter == "|"):
            value = (joined or list(parts))[0]
            raise ValueError(
                f"{labels.place(value)}: {value!r} looks like several labels with {delimiter!r} between them. If so, "
                f"pass --label_delimiter {delimiter!r} (`label_delimiter`). If it is one class, pass --problem_type "
                f"{SINGLE} (`problem_type`)."
            )


def _has_plain_ids(columns: Sequence[Scalars]) -> bool:
    """Whether some file has only integers. Then `1.0` in another file is the id 1."""
    return any(column.values and all(form(value) == "integer" for value in column.values) for column in columns)


def _refuse_several(columns: Sequence[Lists]) -> None:
    for column in columns:
        for number, row in enumerate(column.rows):
            if row is not None and len(row) > 1:
                raise ValueError(
                    f"{column.table.place(number, column.column)}: {row} is a list of {len(row)} labels, but "
                    f"`problem_type` is {SINGLE!r}. Keep one label in each row, or pass --problem_type {MULTI}."
                )


def _check_asked(labels: LabelCounts, problem_type: str) -> str:
    if problem_type == REGRESSION and (odd := labels.by_form.keys() - _NUMBERS - {"nan"}):
        raise ValueError(_cannot(labels, labels.example(*odd), REGRESSION, "numbers"))
    if problem_type == TOKENS and labels.counts:
        raise ValueError(_cannot(labels, next(iter(labels.counts)), TOKENS, "lists of tags, one for each word"))
    if problem_type == MULTI:
        if labels.has("whole", "number"):
            raise ValueError(_cannot(labels, labels.example("whole", "number"), MULTI, "lists of names"))
        joined = next((value for value in labels.counts if _DELIMITER.search(value)), None)
        if joined is not None:
            delimiter = _DELIMITER.search(joined)[0]  # type: ignore[index]
            raise ValueError(
                f"{labels.place(joined)}: {joined!r} is not a list, but `problem_type` is {MULTI!r}. To read such a "
                f"cell as a list, pass --label_delimiter {delimiter!r} (`label_delimiter`)."
            )
    return problem_type


def _cannot(labels: LabelCounts, label: str, problem_type: str, expected: str) -> str:
    return (
        f"{labels.place(label)}: the label is {label!r}, but `problem_type` is {problem_type!r}, which expects "
        f"{expected}. Correct the label, pass another --problem_type, or make the row unlabelled: "
        f"{map_to_paste({label: None})}."
    )
