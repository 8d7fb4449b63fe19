"""Comparison of an export with its model on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.export.inputs import Row, Text
from hf_distill.export.metrics import Score
from hf_distill.export.predictor import Predictor
from hf_distill.export.words import align_words

_BATCH_SIZE = 32
_SEED = 0
_LONGEST_RANDOM_ROW = 512


class ParityError(ValueError):
    """The export differs from its model by more than the tolerance."""


def measure_parity(
    model: PreTrainedModel,
    predictor: Predictor,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text] | None,
    score: Score | None = None,
) -> dict[str, Any]:
    """Run a model and its export on the same tokens and measure the difference of their logits.

    Args:
        model: The model in float32, on the CPU, in evaluation mode.
        predictor: The export.
        tokenizer: The tokenizer of the model.
        texts: Texts to compare on. None for 64 rows of 1 to 512 random token ids, most of them padded, drawn with a
            fixed seed.
        score: Computes metrics from the logits of the texts, see [`~hf_distill.export.metrics.scorer`]. Only used with
            `texts`.

    Returns:
        - `on`: description of the texts or token ids;
        - `units`: number of texts, or of tokens for a token classifier;
        - `agreement`: share of equal decisions; None for a regression;
        - `decisions`, `different_decisions`: their numbers, not for a regression. A multi-label model decides about
          each label of each text;
        - `max_abs_difference`: maximum absolute difference of the logits;
        - `max_abs_logit`: maximum absolute logit of the model;
        - `relative_difference`: `max_abs_difference` / max(1, `max_abs_logit`);
        - `metrics`: only with `score`; the metrics of `model` and `export`.

    Raises:
        ParityError: if the tokenizer of the export returns other tokens than `tokenizer`.
    """
    if texts is None:
        description = f"64 rows of random token ids, seed {_SEED}"
        batches = _random_batches(model, predictor, tokenizer)
    else:
        text_rows = predictor.read_texts(texts).rows
        description, batches = f"{len(texts):,} texts", _text_batches(text_rows, predictor, tokenizer)
    rows: dict[str, list[np.ndarray]] = {"model": [], "export": []}  # (num_labels,) or (tokens, num_labels) per row
    encodings: list[tuple[int, Encoding]] = []
    for inputs, batch_encodings in batches:
        with torch.no_grad():
            logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
        rows["model"] += _split_rows(logits, inputs["attention_mask"])
        rows["export"] += _split_rows(predictor.run(inputs), inputs["attention_mask"])
        encodings += batch_encodings
    model_logits, export_logits = (np.concatenate([np.atleast_2d(row) for row in side]) for side in rows.values())
    parity = {"on": description, **_differences(model_logits, export_logits, predictor.problem_type)}
    if texts is not None and score is not None:
        parity["metrics"] = {name: score(_logits_by_text(text_rows, encodings, side)) for name, side in rows.items()}
    return parity


def _split_rows(logits: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Split the logits of a batch into rows, for a token classifier without padding."""
    return [row if row.ndim == 1 else row[is_token == 1] for row, is_token in zip(logits, mask, strict=True)]


def _logits_by_text(
    texts: Sequence[Row], encodings: Sequence[tuple[int, Encoding]], rows: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the logits of each text in the order of the texts; for a token classifier the logits of its words."""
    ordered: list[Any] = [None] * len(texts)
    for (index, encoding), row in zip(encodings, rows, strict=True):
        ordered[index] = row if row.ndim == 1 else align_words(texts[index], encoding, row)[0]
    return ordered


def check_parity(parity: dict[str, Any], quantize: str | None, tolerance: float) -> None:
    """Check that an export is within the tolerance.

    Args:
        parity: Result of [`measure_parity`].
        quantize: None, or "int8".
        tolerance: Maximum `relative_difference`; for an int8 classifier, the maximum share of different decisions.

    Raises:
        ParityError: if the difference is larger than the tolerance, or NaN.
    """
    if quantize is not None and parity["agreement"] is not None:
        # 1 - agreement would be 0.05 and a rounding error for 5 of 100 decisions.
        difference = parity["different_decisions"] / parity["decisions"]
        description = f"{difference:.2%} of the decisions differ"
    else:
        difference = parity["relative_difference"]
        description = f"the logits differ by up to {parity['max_abs_difference']:.3g}"
    if not difference <= tolerance:  # also true for NaN
        advice = " Export without int8, or increase the tolerance. Compare on texts of the task, not on random tokens."
        raise ParityError(
            f"The export differs from its model and was deleted: on {parity['on']}, {description}; the tolerance is "
            f"{tolerance:g}.{advice if quantize else ''}"
        )


def _differences(model_logits: np.ndarray, export_logits: np.ndarray, problem_type: str) -> dict[str, Any]:
    difference = float(np.abs(export_logits - model_logits).max())
    scale = float(np.abs(model_logits).max())
    return {
        "units": len(model_logits),
        **_compare_decisions(model_logits, export_logits, problem_type),
        "max_abs_difference": difference,
        "max_abs_logit": scale,
        "relative_difference": difference / max(scale, 1.0),
    }


def _compare_decisions(model_logits: np.ndarray, export_logits: np.ndarray, problem_type: str) -> dict[str, Any]:
    if problem_type == "regression":
        return {"agreement": None}
    if problem_type == "multi_label_classification":
        is_equal = (export_logits > 0) == (model_logits > 0)
    else:
        is_equal = export_logits.argmax(axis=-1) == model_logits.argmax(axis=-1)
    different = int((~is_equal).sum())
    return {
        "agreement": 1 - different / is_equal.size,
        "decisions": is_equal.size,
        "different_decisions": different,
    }


def _text_batches(
    texts: Sequence[Row], predictor: Predictor, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[dict[str, np.ndarray], list[tuple[int, Encoding]]]]:
    for indices, inputs, encodings in predictor.batches(texts, _BATCH_SIZE):
        for index, encoding in zip(indices, encodings, strict=True):
            expected = _tokenize(texts[index], tokenizer, predictor.max_length)
            exported = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
            if differing := [name for name in inputs if name in exported and exported[name] != expected[name]]:
                name = differing[0]
                raise ParityError(
                    f"The exported tokenizer.json and the tokenizer return different {name} for text {index}: "
                    f"{exported[name][:20]} and {expected[name][:20]}. Export a tokenizer that its tokenizer.json "
                    "describes completely."
                )
        yield inputs, list(zip(indices, encodings, strict=True))


def _tokenize(row: Row, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, list[int]]:
    """Tokenize a row in a list, as in training: outside of a list, the tokenizer drops an empty second text."""
    parts = [[part] for part in row] if isinstance(row, tuple) else [[row]]
    is_words = isinstance(row, list)
    encoded = tokenizer(*parts, truncation=True, max_length=max_length, is_split_into_words=is_words)
    return {name: values[0] for name, values in encoded.items()}


def _random_batches(
    model: PreTrainedModel, predictor: Predictor, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[dict[str, np.ndarray], list[tuple[int, Encoding]]]]:
    generator = np.random.default_rng(_SEED)
    vocab_size = min(model.config.vocab_size, len(tokenizer))
    ordinary_ids = np.setdiff1d(np.arange(vocab_size), tokenizer.all_special_ids)
    longest = min(predictor.max_length, _LONGEST_RANDOM_ROW)
    # If the model has segments, the second half of each row is the second text of a pair.
    second_segment = int(model.config.to_dict().get("type_vocab_size", 1) > 1)
    for num_rows, width in ((1, 1), (31, 16), (31, 32), (1, longest)):
        width = min(width, longest)
        lengths = [width, *generator.integers(1, width + 1, num_rows - 1)]
        ids = [generator.choice(ordinary_ids, length).tolist() for length in lengths]
        yield predictor.pad(ids, [[0] * ((n + 1) // 2) + [second_segment] * (n // 2) for n in lengths]), []
