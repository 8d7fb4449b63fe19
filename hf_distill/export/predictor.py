"""`Predictor`: run an exported classifier. It only needs onnxruntime, tokenizers and numpy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Encoding, Tokenizer

# A text, a pair of texts as a tuple or a dict, or a list of words for a token classifier.
Text = str | tuple[str, str] | Mapping[str, str] | Sequence[str]

EXPORT_NAME = "export.json"  # describes an export

_TOKEN_CLASSIFICATION = "token_classification"


class Predictor:
    """Predict with a folder that `export_model` wrote. The interface is that of the pipelines of transformers.

    Texts are truncated to `max_length` tokens. The logits of an int8 model depend slightly on the other texts of the
    batch, because activations are quantized over the range of the batch.

    Args:
        folder: Folder with `model.onnx`, `tokenizer.json` and `export.json`.
        num_threads: Number of threads of a forward pass. Unset: one per core, the default of onnxruntime.

    Attributes:
        id2label: Label names by class id.
        max_length: Maximum number of tokens of a text.
        problem_type: A value of `config.problem_type` in transformers, or `token_classification`.

    Raises:
        FileNotFoundError: if the folder is not an export.
        ImportError: if onnxruntime is not installed.
        ValueError: if `num_threads` is less than 1.

    Example:
    ```python
    predictor = Predictor("onnx")
    predictor(["a fine film", "a bore"])  # [{"label": "positive", "score": 0.98}, {"label": "negative", ...}]
    predictor("a fine film", top_k=None)  # all classes, the most likely first
    predictor(("a premise", "a hypothesis"))  # a pair
    ```
    """

    def __init__(self, folder: str | os.PathLike[str], num_threads: int | None = None) -> None:
        self.folder = Path(folder)
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {num_threads}. Leave it unset for one per core.")
        self._record = _read_record(self.folder)
        self.id2label: dict[int, str] = {int(i): name for i, name in self._record["id2label"].items()}
        self.max_length: int = self._record["max_length"]
        self.problem_type: str = self._record["problem_type"]
        self._tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length, direction=self._record["truncation_side"])
        self._session = _open_session(self.folder / "model.onnx", num_threads)

    def __call__(
        self, texts: Text | Sequence[Text], top_k: int | None | Literal["best"] = "best", batch_size: int = 32
    ) -> list[Any]:
        """Predict the labels of texts.

        Args:
            texts: One or several texts. A text is a string; a pair is a tuple of strings or
                `{"text": ..., "text_pair": ...}`. A token classifier accepts strings or lists of words.
            top_k: Number of classes to return for each text, the most likely first; None for all classes. By default,
                only the most likely class is returned, not in a list.
            batch_size: Number of texts in a forward pass.

        Returns:
            Sequence classifiers: a list with `{"label", "score"}` for each text. If `top_k` is set, a list of these
            dicts for each text, and only the inner list for a single text. A score is a probability; in regression it
            is the output.

            Token classifiers: for each text a list of the words whose label is not `O`, and only the inner list for a
            single text. A word is `{"word", "entity", "score", "start", "end"}`; `start` and `end` are character
            positions in the text, or in the words joined by spaces.
        """
        rows, is_single = _as_rows(texts)
        if self.problem_type == _TOKEN_CLASSIFICATION:
            if top_k != "best":
                raise ValueError(
                    "`top_k` is only for sequence classifiers; a token classifier returns one label per word."
                )
            tagged = self._tag(rows, batch_size)
            return tagged[0] if is_single else tagged
        scores = self._scores(self.logits(rows, batch_size))
        ranked = [
            [{"label": self.id2label[int(i)], "score": float(row[i])} for i in _rank_classes(row)] for row in scores
        ]
        if top_k == "best":
            return [row[0] for row in ranked]
        return ranked[0][:top_k] if is_single else [row[:top_k] for row in ranked]

    def logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> np.ndarray:
        """Return the logits of texts, `(len(texts), num_labels)` float32, in the order of the texts."""
        if self.problem_type == _TOKEN_CLASSIFICATION:
            raise TypeError("A token classifier has logits for words and not for texts: call `word_logits`.")
        rows, _ = _as_rows(texts)
        logits = np.zeros((len(rows), len(self.id2label)), np.float32)
        for indices, inputs, _ in self.batches(rows, batch_size):
            logits[indices] = self.run(inputs)
        return logits

    def word_logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> list[np.ndarray]:
        """Return the logits of a token classifier, `(words, num_labels)` for each text.

        The words are the items of a list, or the words into which the tokenizer splits a string. The logits of a word
        are the logits of its first token, or NaN if the word was truncated or has no token.
        """
        return [logits for logits, _ in self._predict_words(_as_rows(texts)[0], batch_size)]

    def batches(
        self, rows: Sequence[Text], batch_size: int
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray], list[Encoding]]]:
        """Yield batches of texts with similar lengths: indices of the texts, inputs of the model, and encodings."""
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        encodings = [self.encode(row, index) for index, row in enumerate(rows)]
        by_length = sorted(range(len(rows)), key=lambda index: len(encodings[index]))
        for start in range(0, len(rows), batch_size):
            indices = by_length[start : start + batch_size]
            batch = [encodings[index] for index in indices]
            yield indices, self.pad([e.ids for e in batch], [e.type_ids for e in batch]), batch

    def encode(self, row: Text, index: int = 0) -> Encoding:
        """Tokenize a text, a pair or a list of words, truncated to `max_length`.

        Args:
            row: The text.
            index: Position of the text in the list of texts, for the error message.

        Raises:
            TypeError: for anything else.
        """
        if isinstance(row, str):
            return self._tokenizer.encode(row)
        if isinstance(row, Mapping) and {"text"} <= row.keys() <= {"text", "text_pair"}:
            return self._tokenizer.encode(row["text"], row.get("text_pair"))
        if isinstance(row, list | tuple) and all(isinstance(part, str) for part in row):
            if self.problem_type == _TOKEN_CLASSIFICATION:
                return self._tokenizer.encode(row, is_pretokenized=True)
            if len(row) == 2 and isinstance(row, tuple):
                return self._tokenizer.encode(*row)
        raise TypeError(
            f"Text {index} is {row!r}. A text must be a string; a pair must be a tuple of two strings or a dict with "
            "`text` and `text_pair`; for a token classifier, a text can also be a list of words."
        )

    def pad(self, ids: Sequence[Sequence[int]], type_ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return the inputs of the model by name, each `(len(ids), longest)` int64."""
        shape = (len(ids), max(map(len, ids)))
        fillers = {"input_ids": self._record["pad_token_id"], "token_type_ids": self._record["pad_token_type_id"]}
        padded = {name: np.full(shape, fillers.get(name, 0), np.int64) for name in self._record["input_names"]}
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

    def align_words(
        self, row: Text, encoding: Encoding, logits: np.ndarray
    ) -> tuple[np.ndarray, dict[int, tuple[int, int]]]:
        """Select the logits of each word from the logits of the tokens of a text.

        Args:
            row: The text.
            encoding: Its encoding.
            logits: `(tokens, num_labels)`.

        Returns:
            `(words, num_labels)`, see [`word_logits`], and the character span of each word that has tokens.
        """
        first_tokens: dict[int, int] = {}
        spans: dict[int, tuple[int, int]] = {}
        for token, word in enumerate(encoding.word_ids):
            if word is not None:
                first_tokens.setdefault(word, token)
                start, end = encoding.offsets[token]
                spans[word] = (spans[word][0] if word in spans else start, end)
        num_words = max(first_tokens, default=-1) + 1 if isinstance(row, str) else len(row)
        word_logits = np.full((num_words, len(self.id2label)), np.nan, np.float32)
        word_logits[list(first_tokens)] = logits[list(first_tokens.values())]
        return word_logits, spans

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self.problem_type == "regression":
            return logits
        if self.problem_type == "multi_label_classification":
            return np.exp(-np.logaddexp(0, -logits))  # the sigmoid, without overflow
        return _softmax(logits)

    def _predict_words(
        self, rows: Sequence[Text], batch_size: int
    ) -> list[tuple[np.ndarray, dict[int, tuple[int, int]]]]:
        """Return for each text the logits and the character spans of its words, see [`align_words`]."""
        if self.problem_type != _TOKEN_CLASSIFICATION:
            raise TypeError(f"A model of the problem type {self.problem_type!r} has no logits for words.")
        predictions: list[Any] = [None] * len(rows)
        for indices, inputs, encodings in self.batches(rows, batch_size):
            logits, is_token = self.run(inputs), inputs["attention_mask"] == 1
            for i, (index, encoding) in enumerate(zip(indices, encodings, strict=True)):
                predictions[index] = self.align_words(rows[index], encoding, logits[i][is_token[i]])
        return predictions

    def _tag(self, rows: Sequence[Text], batch_size: int) -> list[list[dict[str, Any]]]:
        tagged = []
        for row, (logits, spans) in zip(rows, self._predict_words(rows, batch_size), strict=True):
            text = row if isinstance(row, str) else " ".join(row)
            if not isinstance(row, str):
                ends = np.cumsum([len(word) + 1 for word in row]) - 1
                spans = {i: (int(ends[i - 1]) + 1 if i else 0, int(ends[i])) for i in spans}
            scores = _softmax(logits)
            tagged.append([self._entity(text, *spans[i], scores[i]) for i in sorted(spans)])
        return [[entity for entity in entities if entity["entity"] != "O"] for entities in tagged]

    def _entity(self, text: str, start: int, end: int, scores: np.ndarray) -> dict[str, Any]:
        word = text[start:end]
        start += len(word) - len(word.lstrip())  # some tokenizers include the space before a word
        best = int(scores.argmax())
        return {
            "word": text[start:end],
            "entity": self.id2label[best],
            "score": float(scores[best]),
            "start": start,
            "end": end,
        }


def _as_rows(texts: Text | Sequence[Text]) -> tuple[list[Text], bool]:
    """Return the texts as a list, and whether a single text was given: a string, a tuple or a dict."""
    is_single = isinstance(texts, str | tuple | Mapping)
    return ([texts] if is_single else list(texts)), is_single  # type: ignore[list-item]


def _read_record(folder: Path) -> dict[str, Any]:
    missing = [name for name in (EXPORT_NAME, "model.onnx", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not an export: it has no {', '.join(missing)}. Create an export with `hf-distill "
            "export` or `export_model`."
        )
    return json.loads((folder / EXPORT_NAME).read_text(encoding="utf-8"))


def _open_session(path: Path, num_threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("`Predictor` needs onnxruntime: pip install onnxruntime.") from error
    options = onnxruntime.SessionOptions()
    # Spinning threads would take CPU time from other processes while they wait.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = num_threads or 0  # 0 is onnxruntime's default
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _rank_classes(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")
