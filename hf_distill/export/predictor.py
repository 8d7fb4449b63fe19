"""`Predictor`: run an exported classifier. It only needs onnxruntime, tokenizers and numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Encoding, Tokenizer

from hf_distill.export.deferral import choose_deferral
from hf_distill.export.inputs import Row, Text, Texts, read_texts
from hf_distill.export.layout import open_export
from hf_distill.export.session import open_session
from hf_distill.export.words import Spans, align_words, describe_words

_TOKEN_CLASSIFICATION = "token_classification"


class Predictor:
    """Predict with a folder that `export_model` wrote. The interface is that of the pipelines of transformers.

    Texts are truncated to `max_length` tokens.

    Args:
        folder: Folder of an export.
        variant: Name of the variant in the folder, e.g. "int8". Unset: the only one.
        num_threads: Number of threads of a forward pass. Unset: one per core, the default of onnxruntime.
        max_length: Cut texts to this number of tokens. Unset: the limit of the export.
        provider: Execution provider of onnxruntime: "CUDAExecutionProvider" runs on a GPU and needs onnxruntime-gpu.
            The default runs on the CPU, also where there is a GPU.
        defer_below: Mark answers that a larger model should give instead: each result gets `"defer"`, which is True if
            its top probability is below this number. "certified" takes the number from `export.json`, which has one if
            the model was exported with a report. Logits are divided by the temperature in `export.json`, if there is
            one. Only for classifiers with one label for each text.

    Attributes:
        id2label: Label names by class id.
        input_names: Names of the inputs of the model.
        max_length: Maximum number of tokens of a text.
        variant: Name of the variant.
        problem_type: A value of `config.problem_type` in transformers, or `token_classification`.

    Raises:
        FileNotFoundError: if the folder is not an export, or a file is missing.
        ImportError: if onnxruntime is not installed.
        RuntimeError: if the provider is installed and cannot start.
        ValueError: if the folder has several variants and none is chosen, or if there is no such variant; if
            `num_threads`, `max_length` or `defer_below` is out of range; if "certified" has no threshold; if the
            provider is not installed.

    Example:
    ```python
    predictor = Predictor("onnx")
    predictor(["a fine film", "a bore"])  # [{"label": "positive", "score": 0.98}, {"label": "negative", ...}]
    predictor("a fine film", top_k=None)  # all classes, the most likely first
    predictor(("a premise", "a hypothesis"))  # a pair
    ```
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        variant: str | None = None,
        *,
        num_threads: int | None = None,
        max_length: int | None = None,
        provider: str = "CPUExecutionProvider",
        defer_below: float | Literal["certified"] | None = None,
    ) -> None:
        # Absolute, because a copy can be made in another working directory.
        self.folder, self.num_threads, self.defer_below = Path(folder).absolute(), num_threads, defer_below
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {num_threads}. Leave it unset for one per core.")
        export = open_export(folder, variant)
        self.variant, self._record = export.variant, export.record
        self._deferral = choose_deferral(defer_below, export)
        self.id2label: dict[int, str] = {int(i): name for i, name in self._record["id2label"].items()}
        self.max_length = _choose_max_length(max_length, self._record["max_length"])
        self.problem_type: str = self._record["problem_type"]
        self.input_names: list[str] = self._record["input_names"]
        self._tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length, direction=self._record["truncation_side"])
        self.provider = provider
        self._session = open_session(export.path, num_threads, provider)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments; the copy reads the folder again."""
        reopen = partial(
            Predictor,
            num_threads=self.num_threads,
            max_length=self.max_length,
            provider=self.provider,
            defer_below=self.defer_below,
        )
        return reopen, (self.folder, self.variant)

    def __call__(
        self, texts: Text | Sequence[Text], top_k: int | None | Literal["best"] = "best", batch_size: int = 32
    ) -> list[Any] | dict[str, Any]:
        """Predict the labels of texts.

        Args:
            texts: One text, or an iterable of texts. A text is a string; a pair is a tuple of two strings or
                `{"text": ..., "text_pair": ...}`. A pair with an empty second text is a pair, as it was in training.
                A token classifier accepts strings or lists of words, and no pairs.
            top_k: Number of classes to return for each text, the most likely first; None for all classes. By default,
                only the most likely class is returned, not in a list.
            batch_size: Number of texts in a forward pass.

        Returns:
            Sequence classifiers: a list with `{"label", "score"}` for each text. If `top_k` is set, a list of these
            dicts for each text, and only the inner list for a single text. A text that is a dict, and not in a list,
            gives one dict if `top_k` is not set. A score is a probability; in regression it is the output.

            Token classifiers: for each text a list of the words whose label is not `O`, and only the inner list for a
            single text. A word is `{"word", "entity", "score", "start", "end"}`; `start` and `end` are character
            positions in the text, or in the words joined by spaces.

        Raises:
            TypeError: for something that is not a text. The message gives the index of the text.
            ValueError: for a text that is not valid Unicode, or an invalid `top_k` or `batch_size`.
        """
        rows, is_single, is_dict = self.read_texts(texts)
        if self.problem_type == _TOKEN_CLASSIFICATION:
            if top_k != "best":
                raise ValueError(
                    "`top_k` is only for sequence classifiers; a token classifier returns one label per word."
                )
            tagged = self._tag(rows, batch_size)
            return tagged[0] if is_single else tagged
        if top_k not in ("best", None) and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"`top_k` must be a number of classes from 1, or None for all, got {top_k!r}.")
        ranked = self._rank(self._logits(rows, batch_size))
        if top_k == "best":
            return ranked[0][0] if is_dict else [row[0] for row in ranked]
        return ranked[0][:top_k] if is_single else [row[:top_k] for row in ranked]

    def _rank(self, logits: np.ndarray) -> list[list[dict[str, Any]]]:
        """Return the classes of each text, the most likely first."""
        marks: list[dict[str, Any]] = [{} for _ in logits]
        if self._deferral is not None:
            marks = [{"defer": bool(is_unsure)} for is_unsure in self._deferral.is_unsure(logits)]
        return [
            [{"label": self.id2label[int(i)], "score": float(row[i]), **mark} for i in _rank_classes(row)]
            for row, mark in zip(self._scores(logits), marks, strict=True)
        ]

    def logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> np.ndarray:
        """Return the logits of texts, `(len(texts), num_labels)` float32, in the order of the texts."""
        if self.problem_type == _TOKEN_CLASSIFICATION:
            raise TypeError("A token classifier has logits for words and not for texts: call `word_logits`.")
        return self._logits(self.read_texts(texts).rows, batch_size)

    def _logits(self, rows: Sequence[Row], batch_size: int) -> np.ndarray:
        logits = np.zeros((len(rows), len(self.id2label)), np.float32)
        for indices, inputs, _ in self.batches(rows, batch_size):
            logits[indices] = self.run(inputs)
        return logits

    def word_logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> list[np.ndarray]:
        """Return the logits of a token classifier, `(words, num_labels)` for each text.

        The words are the items of a list, or the words into which the tokenizer splits a string. The logits of a word
        are the logits of its first token, or NaN if the word was truncated or has no token.
        """
        return [logits for logits, _ in self._predict_words(self.read_texts(texts).rows, batch_size)]

    def read_texts(self, texts: Any) -> Texts:
        """Check the texts of a call, see [`hf_distill.export.inputs.read_texts`]."""
        return read_texts(texts, self.problem_type == _TOKEN_CLASSIFICATION)

    def batches(
        self, rows: Sequence[Row], batch_size: int
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray], list[Encoding]]]:
        """Yield batches of rows with similar lengths: indices of the rows, inputs of the model, and encodings."""
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        encodings = [self.encode(row) for row in rows]
        by_length = sorted(range(len(rows)), key=lambda index: len(encodings[index]))
        for start in range(0, len(rows), batch_size):
            indices = by_length[start : start + batch_size]
            batch = [encodings[index] for index in indices]
            yield indices, self.pad([e.ids for e in batch], [e.type_ids for e in batch]), batch

    def encode(self, row: Row) -> Encoding:
        """Tokenize a text, a pair or a list of words, as [`read_texts`] returns it, truncated to `max_length`."""
        if isinstance(row, tuple):
            return self._tokenizer.encode(*row)
        return self._tokenizer.encode(row, is_pretokenized=isinstance(row, list))

    def pad(self, ids: Sequence[Sequence[int]], type_ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return the inputs of the model by name, each `(len(ids), longest)` int64."""
        shape = (len(ids), max(map(len, ids)))
        fillers = {"input_ids": self._record["pad_token_id"], "token_type_ids": self._record["pad_token_type_id"]}
        padded = {name: np.full(shape, fillers.get(name, 0), np.int64) for name in self.input_names}
        for row in range(len(ids)):
            length = len(ids[row])
            tokens = slice(length) if self._record["padding_side"] == "right" else slice(shape[1] - length, None)
            values: dict[str, Any] = {"input_ids": ids[row], "attention_mask": 1, "token_type_ids": type_ids[row]}
            for name, array in padded.items():
                array[row, tokens] = values[name]
        return padded

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logits of a padded batch, `(batch, num_labels)`; for tokens `(batch, length, num_labels)`."""
        return self._session.run(["logits"], dict(inputs))[0]

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self.problem_type == "regression":
            return logits
        if self.problem_type == "multi_label_classification":
            return np.exp(-np.logaddexp(0, -logits))  # the sigmoid, without overflow
        return _softmax(logits)

    def _predict_words(self, rows: Sequence[Row], batch_size: int) -> list[tuple[np.ndarray, Spans]]:
        """Return for each text the logits and the character spans of its words, see [`align_words`]."""
        if self.problem_type != _TOKEN_CLASSIFICATION:
            raise TypeError(f"A model of the problem type {self.problem_type!r} has no logits for words.")
        predictions: list[Any] = [None] * len(rows)
        for indices, inputs, encodings in self.batches(rows, batch_size):
            logits, is_token = self.run(inputs), inputs["attention_mask"] == 1
            for i, (index, encoding) in enumerate(zip(indices, encodings, strict=True)):
                predictions[index] = align_words(rows[index], encoding, logits[i][is_token[i]])
        return predictions

    def _tag(self, rows: Sequence[Row], batch_size: int) -> list[list[dict[str, Any]]]:
        predictions = self._predict_words(rows, batch_size)
        return [
            describe_words(row, _softmax(logits), spans, self.id2label)
            for row, (logits, spans) in zip(rows, predictions, strict=True)
        ]


def _choose_max_length(chosen: int | None, limit: int) -> int:
    if chosen is not None and not 3 <= chosen <= limit:
        raise ValueError(f"`max_length` must be from 3 to {limit}, the limit of the export, got {chosen}.")
    return limit if chosen is None else chosen


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _rank_classes(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")
