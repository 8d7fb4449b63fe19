"""Comparison of an export with its model on the same tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.export.batching import (
    TokenIds,
    decide,
    measure_batch_dependence,
    run_batches,
    sorted_batches,
)
from hf_distill.export.inputs import Row, Text
from hf_distill.export.metrics import Score
from hf_distill.export.predictor import Predictor
from hf_distill.export.words import align_words

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
        - `batchings`, `batch_dependent_decisions`, `batch_difference`: see
          [`hf_distill.export.batching.measure_batch_dependence`];
        - `max_abs_difference`: maximum absolute difference of the logits;
        - `max_abs_logit`: maximum absolute logit of the model;
        - `relative_difference`: `max_abs_difference` / max(1, `max_abs_logit`);
        - `metrics`: only with `score`; the metrics of `model` and `export`.

    Raises:
        ParityError: if the tokenizer of the export returns other tokens than `tokenizer`.
    """
    if texts is None:
        description = f"64 rows of random token ids, seed {_SEED}"
        rows = _random_rows(model, predictor, tokenizer)
    else:
        text_rows = predictor.read_texts(texts).rows
        encodings = [predictor.encode(row) for row in text_rows]
        for index, (row, encoding) in enumerate(zip(text_rows, encodings, strict=True)):
            _check_tokens(index, row, encoding, predictor, tokenizer)
        description = f"{len(texts):,} texts"
        rows = [TokenIds(encoding.ids, encoding.type_ids) for encoding in encodings]

    def run_model(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        with torch.no_grad():
            return model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()

    batches = sorted_batches(rows)
    model_rows, export_rows = (run_batches(run, rows, batches, predictor) for run in (run_model, predictor.run))
    parity = {
        "on": description,
        **_differences(_stack(model_rows), _stack(export_rows), predictor.problem_type),
        # The longest of the random rows would make most of the work.
        **measure_batch_dependence(predictor, rows if texts is not None else rows[:-1]),
    }
    if texts is not None and score is not None:
        parity["metrics"] = {
            name: score(_logits_by_text(text_rows, encodings, logits))
            for name, logits in (("model", model_rows), ("export", export_rows))
        }
    return parity


def _logits_by_text(
    texts: Sequence[Row], encodings: Sequence[Encoding], rows: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the logits of each text; for a token classifier the logits of its words."""
    return [
        logits if logits.ndim == 1 else align_words(text, encoding, logits)[0]
        for text, encoding, logits in zip(texts, encodings, rows, strict=True)
    ]


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.atleast_2d(row) for row in rows])


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
    is_equal = decide(model_logits, problem_type) == decide(export_logits, problem_type)
    different = int((~is_equal).sum())
    return {
        "agreement": 1 - different / is_equal.size,
        "decisions": is_equal.size,
        "different_decisions": different,
    }


def _check_tokens(
    index: int, row: Row, encoding: Encoding, predictor: Predictor, tokenizer: PreTrainedTokenizerBase
) -> None:
    expected = _tokenize(row, tokenizer, predictor.max_length)
    for name, exported in (("input_ids", encoding.ids), ("token_type_ids", encoding.type_ids)):
        if name in predictor.input_names and exported != expected[name]:
            raise ParityError(
                f"The exported tokenizer.json and the tokenizer return different {name} for text {index}: "
                f"{exported[:20]} and {expected[name][:20]}. Export a tokenizer that its tokenizer.json "
                "describes completely."
            )


def _tokenize(row: Row, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, list[int]]:
    """Tokenize a row in a list, as in training: outside of a list, the tokenizer drops an empty second text."""
    parts = [[part] for part in row] if isinstance(row, tuple) else [[row]]
    is_words = isinstance(row, list)
    encoded = tokenizer(*parts, truncation=True, max_length=max_length, is_split_into_words=is_words)
    return {name: values[0] for name, values in encoded.items()}


def _random_rows(model: PreTrainedModel, predictor: Predictor, tokenizer: PreTrainedTokenizerBase) -> list[TokenIds]:
    """Return 64 rows of 1 to 512 random token ids, the longest last."""
    generator = np.random.default_rng(_SEED)
    vocab_size = min(model.config.vocab_size, len(tokenizer))
    ordinary_ids = np.setdiff1d(np.arange(vocab_size), tokenizer.all_special_ids)
    longest = min(predictor.max_length, _LONGEST_RANDOM_ROW)
    # If the model has segments, the second half of each row is the second text of a pair.
    second_segment = int(model.config.to_dict().get("type_vocab_size", 1) > 1)
    lengths = [1, *generator.integers(1, min(16, longest) + 1, 31), *generator.integers(1, min(32, longest) + 1, 31)]
    return [
        TokenIds(
            generator.choice(ordinary_ids, length).tolist(),
            [0] * ((length + 1) // 2) + [second_segment] * (length // 2),
        )
        for length in (*lengths, longest)
    ]
