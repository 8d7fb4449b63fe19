"""`Predictor`: run an exported classifier. It needs onnxruntime, tokenizers and numpy, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Encoding, Tokenizer

# A text, a pair of texts, the same as a dict, or for a tagger a list of words.
Text = str | tuple[str, str] | Mapping[str, str] | Sequence[str]

EXPORT_NAME = "export.json"  # what an export says of itself

_TAGGING = "token_classification"


class Predictor:
    """Predict with a folder that `export_model` wrote, through the interface of transformers' pipelines.

    A text longer than `max_length` tokens is cut there. The logits of an int8 model depend slightly on the texts that
    share its batch, since the range that it quantises is that of the batch.

    Args:
        folder: With `model.onnx`, `tokenizer.json` and `export.json`.
        num_threads: Threads of a forward pass. Unset: onnxruntime's choice, one a core.

    Attributes:
        id2label: Label names by class id.
        max_length: Tokens after which a text is cut.
        problem_type: As in transformers' `config.problem_type`, or `token_classification`.

    Raises:
        FileNotFoundError: if the folder is not an export.
        ImportError: without onnxruntime.

    Example:
    ```python
    predictor = Predictor("onnx")
    predictor(["a fine film", "a bore"])  # [{"label": "positive", "score": 0.98}, {"label": "negative", ...}]
    predictor("a fine film", top_k=None)  # every class, the likeliest first
    predictor(("a premise", "a hypothesis"))  # a pair
    ```
    """

    def __init__(self, folder: str | os.PathLike[str], num_threads: int | None = None) -> None:
        self.folder = Path(folder)
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {num_threads}. Leave it out for one a core.")
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
            texts: One or several texts; a text is a string, a pair is a tuple or
                `{"text": ..., "text_pair": ...}`. A tagger takes strings or lists of words.
            top_k: How many classes a text gets, the likeliest first; None for all of them. By default one, outside of
                a list.
            batch_size: Texts in a forward pass.

        Returns:
            For each text `{"label", "score"}`, or a list of these if `top_k` is given, which for a single text is the
            result itself. A score is a probability, or the output itself in a regression. From a tagger, for each
            text (for a single one, the result itself) a list of the words that got another label than `O`:
            `{"word", "entity", "score", "start", "end"}`, in characters of the text, or of the words joined by spaces.
        """
        rows, is_single = _as_rows(texts)
        if self.problem_type == _TAGGING:
            if top_k != "best":
                raise ValueError("`top_k` is for classifiers of whole texts; a tagger gives each word one label.")
            tagged = self._tag(rows, batch_size)
            return tagged[0] if is_single else tagged
        scores = self._scores(self.logits(rows, batch_size))
        ranked = [[{"label": self.id2label[int(i)], "score": float(row[i])} for i in _ranking(row)] for row in scores]
        if top_k == "best":
            return [row[0] for row in ranked]
        return ranked[0][:top_k] if is_single else [row[:top_k] for row in ranked]

    def logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> np.ndarray:
        """Return the logits of texts, `(len(texts), num_labels)` float32, in their order."""
        if self.problem_type == _TAGGING:
            raise TypeError("A tagger has logits for words: call `word_logits`.")
        rows, _ = _as_rows(texts)
        logits = np.zeros((len(rows), len(self.id2label)), np.float32)
        for indices, inputs, _ in self.batches(rows, batch_size):
            logits[indices] = self.run(inputs)
        return logits

    def word_logits(self, texts: Text | Sequence[Text], batch_size: int = 32) -> list[np.ndarray]:
        """Return the logits of a tagger: for each text `(words, num_labels)`, those of each word's first token.

        Words are those of a list, or those that the tokenizer splits a string into. NaN where a word is cut off, or
        has no token.
        """
        return [logits for logits, _ in self._words(_as_rows(texts)[0], batch_size)]

    def batches(
        self, rows: Sequence[Text], batch_size: int
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray], list[Encoding]]]:
        """Yield batches of texts of similar lengths: their indices, what the model takes, and their encodings."""
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
        encodings = [self.encode(row, index) for index, row in enumerate(rows)]
        by_length = sorted(range(len(rows)), key=lambda index: len(encodings[index]))
        for start in range(0, len(rows), batch_size):
            indices = by_length[start : start + batch_size]
            chosen = [encodings[index] for index in indices]
            yield indices, self.pad([e.ids for e in chosen], [e.type_ids for e in chosen]), chosen

    def encode(self, row: Text, index: int = 0) -> Encoding:
        """Tokenise a text, a pair or a list of words, cut to `max_length`."""
        if isinstance(row, str):
            return self._tokenizer.encode(row)
        if isinstance(row, Mapping) and {"text"} <= row.keys() <= {"text", "text_pair"}:
            return self._tokenizer.encode(row["text"], row.get("text_pair"))
        if isinstance(row, list | tuple) and all(isinstance(part, str) for part in row):
            if self.problem_type == _TAGGING:
                return self._tokenizer.encode(row, is_pretokenized=True)
            if len(row) == 2 and isinstance(row, tuple):
                return self._tokenizer.encode(*row)
        raise TypeError(
            f"Text {index} is {row!r}. A string is wanted, or for pairs a tuple of two or a dict with `text` and "
            "`text_pair`, or for taggers a list of words."
        )

    def pad(self, ids: Sequence[Sequence[int]], type_ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return what the model takes, by name, each `(len(ids), longest)` int64."""
        shape = (len(ids), max(map(len, ids)))
        fillers = {"input_ids": self._record["pad_token_id"], "token_type_ids": self._record["pad_token_type_id"]}
        padded = {name: np.full(shape, fillers.get(name, 0), np.int64) for name in self._record["input_names"]}
        for row in range(len(ids)):
            length = len(ids[row])
            place = slice(length) if self._record["padding_side"] == "right" else slice(shape[1] - length, None)
            values: dict[str, Any] = {"input_ids": ids[row], "attention_mask": 1, "token_type_ids": type_ids[row]}
            for name, array in padded.items():
                array[row, place] = values[name]
        return padded

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logits of a padded batch, `(batch, num_labels)`, or `(batch, length, num_labels)` of a tagger."""
        return self._session.run(["logits"], dict(inputs))[0]

    def of_words(
        self, row: Text, encoding: Encoding, logits: np.ndarray
    ) -> tuple[np.ndarray, dict[int, tuple[int, int]]]:
        """Return from the logits of a text's tokens those of its words, and where each word is: [`word_logits`]."""
        first: dict[int, int] = {}
        spans: dict[int, tuple[int, int]] = {}
        for token, word in enumerate(encoding.word_ids):
            if word is not None:
                first.setdefault(word, token)
                start, end = encoding.offsets[token]
                spans[word] = (spans[word][0] if word in spans else start, end)
        num_words = max(first, default=-1) + 1 if isinstance(row, str) else len(row)
        by_word = np.full((num_words, len(self.id2label)), np.nan, np.float32)
        by_word[list(first)] = logits[list(first.values())]
        return by_word, spans

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self.problem_type == "regression":
            return logits
        if self.problem_type == "multi_label_classification":
            return np.exp(-np.logaddexp(0, -logits))  # the sigmoid, without overflow
        return _softmax(logits)

    def _words(self, rows: Sequence[Text], batch_size: int) -> list[tuple[np.ndarray, dict[int, tuple[int, int]]]]:
        """Return for each text the logits of its words, and where in the text, or in the word, its tokens are."""
        if self.problem_type != _TAGGING:
            raise TypeError(f"A model of the problem type {self.problem_type!r} has no logits for words.")
        found: list[Any] = [None] * len(rows)
        for indices, inputs, encodings in self.batches(rows, batch_size):
            logits, mask = self.run(inputs), inputs["attention_mask"] == 1
            for place, (index, encoding) in enumerate(zip(indices, encodings, strict=True)):
                found[index] = self.of_words(rows[index], encoding, logits[place][mask[place]])
        return found

    def _tag(self, rows: Sequence[Text], batch_size: int) -> list[list[dict[str, Any]]]:
        tagged = []
        for row, (logits, spans) in zip(rows, self._words(rows, batch_size), strict=True):
            text = row if isinstance(row, str) else " ".join(row)
            if not isinstance(row, str):
                ends = np.cumsum([len(word) + 1 for word in row]) - 1
                spans = {i: (int(ends[i - 1]) + 1 if i else 0, int(ends[i])) for i in spans}
            scores = _softmax(logits)
            tagged.append([self._entity(text, *spans[i], scores[i]) for i in sorted(spans)])
        return [[entity for entity in entities if entity["entity"] != "O"] for entities in tagged]

    def _entity(self, text: str, start: int, end: int, scores: np.ndarray) -> dict[str, Any]:
        word = text[start:end]
        start += len(word) - len(word.lstrip())  # some tokenizers count the space before a word as part of it
        best = int(scores.argmax())
        return {
            "word": text[start:end],
            "entity": self.id2label[best],
            "score": float(scores[best]),
            "start": start,
            "end": end,
        }


def _as_rows(texts: Text | Sequence[Text]) -> tuple[list[Text], bool]:
    """Return texts as a list, and whether it was a single one: a string, a tuple or a dict."""
    is_single = isinstance(texts, str | tuple | Mapping)
    return ([texts] if is_single else list(texts)), is_single  # type: ignore[list-item]


def _read_record(folder: Path) -> dict[str, Any]:
    missing = [name for name in (EXPORT_NAME, "model.onnx", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not an export: it has no {', '.join(missing)}. Write one by `hf-distill export` "
            "(`export_model`)."
        )
    return json.loads((folder / EXPORT_NAME).read_text(encoding="utf-8"))


def _open_session(path: Path, num_threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("`Predictor` runs on onnxruntime: pip install onnxruntime.") from error
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait take the processor from whatever runs beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = num_threads or 0  # 0 is onnxruntime's word for its own choice
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _ranking(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")
