"""The rows to compare models on: texts or token ids, with labels in one order of the classes for all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import ClassLabel, Dataset, Value

from hf_distill.classifiers.label_maps import align_labels, are_placeholders, match_labels
from hf_distill.classifiers.label_order import noted_class_names
from hf_distill.classifiers.outputs import WORD_STARTS
from hf_distill.data import sort_names, tokenize_words
from hf_distill.functional import IGNORE_INDEX
from hf_distill.reporting.comparison.predict import Predicts, TagsWords, TorchPredictor
from hf_distill.reporting.comparison.units import Units

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

LABEL_COLUMNS = ("label", "labels")
_PASS_TEXT = "Pass rows of text, and name their columns in `text_columns`."


@dataclass(frozen=True)
class EvaluationSet:
    """The units of an evaluation set, and the rows that models read.

    Attributes:
        units: The units; their labels are ids into `units.names`.
        dataset: The rows that the user passed.
        text_columns: One or two text columns, or the column of words; empty if the rows are token ids.
        tokenizer: The tokenizer that made the token ids, the same for all models; None for rows of text.
    """

    units: Units
    dataset: Dataset
    text_columns: list[str]
    tokenizer: PreTrainedTokenizerBase | None

    def predict(self, predictor: Predicts, batch_size: int) -> np.ndarray:
        """Return a model's logits, `(num_units, num_labels)`, with the classes in the order of `units.names`.

        Raises:
            ValueError: if the model has other classes, or cannot read the rows.
        """
        order = align_labels(predictor.id2label, dict(enumerate(self.units.names)))
        logits = self._logits(predictor, batch_size)
        return logits if order is None else logits[:, order]

    def _logits(self, predictor: Predicts, batch_size: int) -> np.ndarray:
        if not isinstance(predictor, TorchPredictor):
            if self.tokenizer is not None:
                raise ValueError(f"A {type(predictor).__name__} reads texts, but the rows are token ids. {_PASS_TEXT}")
            if self.units.is_token_level:
                return _word_logits(predictor, self.units, batch_size)
            return np.asarray(predictor.logits(self.units.texts, batch_size), dtype=np.float32)
        if self.tokenizer is not None and predictor.tokenizer.get_vocab() != self.tokenizer.get_vocab():
            raise ValueError(f"The models have different tokenizers, but the rows are token ids. {_PASS_TEXT}")
        if not self.units.is_token_level:
            rows = predictor.encode(self.units.texts) if self.tokenizer is None else self.dataset.to_list()
            return np.stack(predictor.logits_of(rows, batch_size))
        rows = self.dataset.to_list()
        if self.tokenizer is None:
            (column,), tokenizer = self.text_columns, predictor.tokenizer
            words = self.dataset.select_columns([column])
            rows = tokenize_words(words, tokenizer, column, max_length=predictor.max_length).to_list()
            _check_all_words(rows, self.units)
        positions = [np.flatnonzero(is_counted) for is_counted in map(_counted_tokens, rows)]
        logits = predictor.logits_of(rows, batch_size)
        return np.concatenate([values[chosen] for values, chosen in zip(logits, positions, strict=True)])


def _word_logits(predictor: Predicts, units: Units, batch_size: int) -> np.ndarray:
    if not isinstance(predictor, TagsWords):
        raise ValueError(f"A {type(predictor).__name__} has no `word_logits`, which rows of words need.")
    rows = predictor.word_logits(units.texts, batch_size)
    for row, logits in enumerate(rows):
        if (is_unseen := np.isnan(logits).any(axis=1)).any():
            raise _not_all_seen(row, len(logits), int((~is_unseen).sum()))
    return np.concatenate(rows).astype(np.float32)


def _counted_tokens(row: Mapping[str, Any]) -> np.ndarray:
    """Return which tokens count: those with a label; in a sentence without labels the first token of each word."""
    has_label = np.array(row.get("labels", [IGNORE_INDEX])) != IGNORE_INDEX
    return has_label if has_label.any() else np.array(row.get(WORD_STARTS, [0])) == 1


def _check_all_words(rows: Sequence[Mapping[str, Any]], units: Units) -> None:
    for row, (tokens, words) in enumerate(zip(rows, units.texts, strict=True)):
        if (seen := sum(tokens[WORD_STARTS])) != len(words):
            raise _not_all_seen(row, len(words), seen)


def _not_all_seen(row: int, num_words: int, num_seen: int) -> ValueError:
    return ValueError(
        f"Row {row} has {num_words} words, but a model sees only {num_seen}: the row was cut, or the tokenizer drops "
        "a word. Raise `max_length`, or remove the row."
    )


def read_evaluation_set(
    dataset: Dataset,
    problem_type: str,
    teacher: Predicts,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
) -> EvaluationSet:
    """Read the rows of a dataset.

    Args:
        dataset: Rows of text; or of token ids, if there is a column `input_ids` and `text_columns` is None.
        problem_type: Problem type of the models.
        teacher: Its classes are used if the dataset does not name any.
        text_columns: One text column, or the two columns of a pair; for token classification the column of words.
        label_column: Column of the labels.
        label_names: The classes in the wanted order. Ids that the dataset does not name refer to this list.

    Raises:
        ValueError: if a column does not exist, or labels do not fit the classes.
        TypeError: if `text_columns` is a string.
    """
    if not len(dataset):
        raise ValueError("The dataset to compare on is empty. Pass at least one row.")
    label_column = find_label_column(dataset, label_column)
    names = _class_names(dataset, label_column, label_names, teacher, problem_type)
    if text_columns is None and "input_ids" in dataset.column_names:
        return _read_tokens(dataset, problem_type, teacher, label_column, names)
    is_token_level = problem_type == "token_classification"
    columns = _text_columns(dataset, text_columns, label_column, is_token_level)
    texts = _texts(dataset, columns)
    given = _given_labels(dataset, label_column)
    if is_token_level:
        lengths = np.array([len(words) for words in texts])
        row_ids = [_class_ids(labels or [None] * n, names) for labels, n in zip(given, lengths, strict=True)]
        if (differs := lengths != [len(ids) for ids in row_ids]).any():
            row = int(differs.argmax())
            raise ValueError(f"Row {row} has {lengths[row]} words but {len(row_ids[row])} labels.")
        labels, rows = np.concatenate(row_ids), np.repeat(np.arange(len(texts)), lengths)
    else:
        lengths = np.array([len(" ".join([text] if isinstance(text, str) else text).split()) for text in texts])
        labels, rows = _row_labels(given, problem_type, names), np.arange(len(texts))
    units = Units(problem_type, names, labels, rows, texts, lengths)
    return EvaluationSet(units, dataset, columns, None)


def _read_tokens(
    dataset: Dataset, problem_type: str, teacher: Predicts, label_column: str | None, names: list[str]
) -> EvaluationSet:
    if not isinstance(teacher, TorchPredictor):
        raise ValueError(f"The teacher reads texts, but the rows are token ids. {_PASS_TEXT}")
    if label_column is not None and label_column != "labels":
        dataset, label_column = dataset.rename_column(label_column, "labels"), "labels"
    texts = [teacher.tokenizer.decode(ids, skip_special_tokens=True) for ids in dataset["input_ids"]]
    lengths = np.array([len(ids) for ids in dataset["input_ids"]])
    if problem_type == "token_classification":
        rows_of_tokens = dataset.to_list()
        counted = [_counted_tokens(row) for row in rows_of_tokens]
        given = [row.get("labels") or [IGNORE_INDEX] * len(row["input_ids"]) for row in rows_of_tokens]
        labels = np.concatenate([np.array(y)[is_counted] for y, is_counted in zip(given, counted, strict=True)])
        rows = np.repeat(np.arange(len(counted)), [is_counted.sum() for is_counted in counted])
    else:
        labels = _row_labels(_given_labels(dataset, label_column), problem_type, names)
        rows = np.arange(len(labels))
    units = Units(problem_type, names, labels, rows, texts, lengths, "tokens")
    return EvaluationSet(units, dataset, [], teacher.tokenizer)


def find_label_column(dataset: Dataset, chosen: str | None) -> str | None:
    """Return the column of the labels: the chosen one, else `label` or `labels`; None if there is no such column."""
    if chosen is not None and chosen not in dataset.column_names:
        raise ValueError(f"There is no label column {chosen!r}. The columns are {', '.join(dataset.column_names)}.")
    return chosen or next((name for name in LABEL_COLUMNS if name in dataset.column_names), None)


def _text_columns(
    dataset: Dataset, chosen: Sequence[str] | None, label_column: str | None, is_token_level: bool
) -> list[str]:
    if isinstance(chosen, str):
        raise TypeError(f"`text_columns` must be a list of one or two names, got the string {chosen!r}.")
    kinds = [Value("string"), Value("large_string")]
    text_like = [
        name
        for name, feature in dataset.features.items()
        if name != label_column and (getattr(feature, "feature", None) if is_token_level else feature) in kinds
    ]
    columns = text_like if chosen is None else list(chosen)
    most = 1 if is_token_level else 2
    if not 1 <= len(columns) <= most or not set(columns) <= set(text_like):
        raise ValueError(
            f"`text_columns` must be {'the column of words' if is_token_level else 'one or two text columns'}, got "
            f"{columns}. The columns of the dataset are {', '.join(dataset.column_names)}; those with "
            f"{'words' if is_token_level else 'text'} are {text_like or 'none'}."
        )
    return columns


def _texts(dataset: Dataset, columns: Sequence[str]) -> list[Any]:
    values = [list(dataset[name]) for name in columns]
    for name, texts in zip(columns, values, strict=True):
        if None in texts:
            raise ValueError(
                f"Row {texts.index(None)} has no text in column {name!r}. Remove the row or add the text."
            )
    return values[0] if len(values) == 1 else list(zip(*values, strict=True))


def _class_names(
    dataset: Dataset,
    label_column: str | None,
    label_names: Sequence[str] | None,
    teacher: Predicts,
    problem_type: str,
) -> list[str]:
    """Return the classes in the order of the dataset, if it names them, and then the teacher's further classes."""
    teacher_names = [teacher.id2label[i] for i in range(len(teacher.id2label))]
    if problem_type == "regression":
        return teacher_names
    names = list(label_names or _declared_names(dataset, label_column))
    if not names and are_placeholders(teacher.id2label):
        names = _names_of_labels(dataset, label_column)
    if not names:
        return teacher_names
    if are_placeholders(teacher.id2label) and len(names) == len(teacher_names):
        return names
    matched_ids = match_labels(names, {name: i for i, name in enumerate(teacher_names)})
    return names + [name for i, name in enumerate(teacher_names) if i not in matched_ids]


def _declared_names(dataset: Dataset, label_column: str | None) -> list[str]:
    """Return the class names that a dataset notes or declares for its ids; empty if it does not."""
    if label_column is None:
        return []
    feature: Any = dataset.features[label_column]
    while feature is not None and not isinstance(feature, ClassLabel):
        feature = getattr(feature, "feature", None)
    return noted_class_names(dataset, label_column) or (feature.names if feature is not None else [])


def _names_of_labels(dataset: Dataset, label_column: str | None) -> list[str]:
    """Return the labels of a dataset that has names as labels; empty if it has ids."""
    values = dataset[label_column][:] if label_column is not None else []
    labels = [label for value in values for label in (value if isinstance(value, list) else [value])]
    return sort_names({label for label in labels if isinstance(label, str)})


def _given_labels(dataset: Dataset, column: str | None) -> list[Any]:
    """Return the labels of the dataset, with the names of a `ClassLabel`; None for a row without a label."""
    if column is None:
        return [None] * len(dataset)
    feature, values = dataset.features[column], list(dataset[column])
    if isinstance(feature, ClassLabel):
        return [_name_of(feature, i) for i in values]
    if isinstance(item_feature := getattr(feature, "feature", None), ClassLabel):
        return [None if ids is None else [_name_of(item_feature, i) for i in ids] for ids in values]
    return values


def _name_of(feature: ClassLabel, label: int | None) -> str | None:
    return None if label is None or label < 0 else feature.names[label]


def _row_labels(given: Sequence[Any], problem_type: str, names: list[str]) -> np.ndarray:
    if problem_type == "single_label_classification":
        return _class_ids(given, names)
    if problem_type == "multi_label_classification":
        return np.array([_hot(value, names) for value in given], dtype=np.float32)
    if any(isinstance(value, str | list) for value in given):
        raise ValueError(f"The models are for regression, but labels such as {given[0]!r} are not numbers.")
    return np.array([np.nan if value is None else value for value in given], dtype=np.float64)


def _class_ids(given: Sequence[Any], names: list[str]) -> np.ndarray:
    if any(isinstance(value, str) for value in given):
        present = sorted({value for value in given if value is not None})
        ids = dict(zip(present, match_labels(present, {name: i for i, name in enumerate(names)}), strict=True))
        return np.array([IGNORE_INDEX if value is None else ids[value] for value in given])
    labels = np.array([IGNORE_INDEX if value is None else value for value in given])
    if labels.dtype.kind not in "iu" or (labels >= len(names)).any():
        raise ValueError(
            f"Labels must be names or ids of the classes {dict(enumerate(names))}, got {labels.dtype} up to "
            f"{labels.max()}. Check that this is the label column and that the models have these classes."
        )
    return np.where(labels < 0, IGNORE_INDEX, labels)


def _hot(value: Any, names: list[str]) -> list[float]:
    """Return 0 or 1 for every class, from numbers for the first classes or from the names of the right classes."""
    if value is None:
        return [np.nan] * len(names)
    if value and not isinstance(value[0], str):
        return [*value, *[0.0 * value[0]] * (len(names) - len(value))]  # NaN stays NaN
    chosen = match_labels(value, {name: i for i, name in enumerate(names)})
    return [float(i in chosen) for i in range(len(names))]
