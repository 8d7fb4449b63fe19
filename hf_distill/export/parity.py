"""Does an export say what its model says: both run on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.export.metrics import Score
from hf_distill.export.predictor import Predictor, Text

_BATCH_SIZE = 32
_SEED = 0
_LONGEST_RANDOM_ROW = 512


class ParityError(ValueError):
    """An export differs from its model by more than the tolerance."""


def measure_parity(
    model: PreTrainedModel,
    predictor: Predictor,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text] | None,
    score: Score | None = None,
) -> dict[str, Any]:
    """Run a model and its export on the same tokens, and measure by how much their logits differ.

    Args:
        model: In float32, on the CPU, in eval mode.
        predictor: Its export.
        tokenizer: The model's.
        texts: Texts to compare on. Without them, 64 rows of random token ids are, drawn with a fixed seed, between
            1 and 512 tokens long, most of them padded.
        score: Metrics of the logits of the texts, see [`~hf_distill.export.metrics.scorer`]; only with `texts`.

    Returns:
        - `on`: what they ran on, in words;
        - `units`: the number of texts, or of tokens;
        - `agreement`: the share of equal decisions, or None for a regression;
        - `max_abs_difference` of a logit, and `max_abs_logit`, the model's;
        - `relative_difference`: the former by the latter, or by 1 if that is larger;
        - `metrics`, with `score`: the metrics of the model, and of its `export`.

    Raises:
        ParityError: if the export's tokenizer gives other tokens than `tokenizer`.
    """
    if texts is None:
        what, batches = f"64 rows of random token ids, seed {_SEED}", _random_batches(model, predictor, tokenizer)
    else:
        what, batches = f"{len(texts):,} texts", _batches(texts, predictor, tokenizer)
    rows: dict[str, list[np.ndarray]] = {"model": [], "export": []}  # each (num_labels,), or (tokens, num_labels)
    of_texts: list[tuple[int, Encoding]] = []
    for inputs, encoded in batches:
        with torch.no_grad():
            logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
        rows["model"] += _by_row(logits, inputs["attention_mask"])
        rows["export"] += _by_row(predictor.run(inputs), inputs["attention_mask"])
        of_texts += encoded
    expected, found = (np.concatenate([np.atleast_2d(row) for row in of_side]) for of_side in rows.values())
    parity = {"on": what, **_differences(expected, found, predictor.problem_type)}
    if texts is not None and score is not None:
        parity["metrics"] = {
            side: score(_by_text(texts, predictor, of_texts, of_side)) for side, of_side in rows.items()
        }
    return parity


def _by_row(logits: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Split a batch, and leave out the padding of a tagger's."""
    return [row if row.ndim == 1 else row[is_real == 1] for row, is_real in zip(logits, mask, strict=True)]


def _by_text(
    texts: Sequence[Text], predictor: Predictor, of_texts: Sequence[tuple[int, Encoding]], rows: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the logits of each text, in the order of the texts; those of its words where the tokens have them."""
    ordered: list[Any] = [None] * len(texts)
    for (index, encoding), row in zip(of_texts, rows, strict=True):
        ordered[index] = row if row.ndim == 1 else predictor.of_words(texts[index], encoding, row)[0]
    return ordered


def check_parity(parity: dict[str, Any], quantize: str | None, tolerance: float) -> None:
    """Compare with the tolerance: of the `relative_difference`; in int8 of the share of unequal decisions, if any.

    Raises:
        ParityError: if it is larger, or not a number.
    """
    agreement = parity["agreement"]
    if quantize is not None and agreement is not None:
        error, what = 1 - agreement, f"{1 - agreement:.2%} of the decisions differ"
    else:
        error, what = parity["relative_difference"], f"the logits differ by up to {parity['max_abs_difference']:.3g}"
    if not error <= tolerance:  # NaN, too
        advice = " Leave out int8, or allow more; random tokens say less than texts of the task." if quantize else ""
        raise ParityError(
            f"The export is not its model, and was not kept: on {parity['on']}, {what}; the tolerance is "
            f"{tolerance:g}.{advice}"
        )


def _differences(expected: np.ndarray, found: np.ndarray, problem_type: str) -> dict[str, Any]:
    difference, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    if problem_type == "regression":
        agreement = None
    elif problem_type == "multi_label_classification":
        agreement = float(np.mean((found > 0) == (expected > 0)))
    else:
        agreement = float(np.mean(found.argmax(axis=-1) == expected.argmax(axis=-1)))
    return {
        "units": len(expected),
        "agreement": agreement,
        "max_abs_difference": difference,
        "max_abs_logit": scale,
        "relative_difference": difference / max(scale, 1.0),
    }


def _batches(
    texts: Sequence[Text], predictor: Predictor, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[dict[str, np.ndarray], list[tuple[int, Encoding]]]]:
    for indices, inputs, encodings in predictor.batches(texts, _BATCH_SIZE):
        for index, encoding in zip(indices, encodings, strict=True):
            expected = _tokenize(texts[index], tokenizer, predictor.max_length)
            found = {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
            if differing := [name for name in inputs if name in found and found[name] != expected[name]]:
                raise ParityError(
                    f"The exported tokenizer.json gives other {differing[0]} than its tokenizer, for text {index}: "
                    f"{found[differing[0]][:20]} against {expected[differing[0]][:20]}. Export with a "
                    "tokenizer that is all in its tokenizer.json."
                )
        yield inputs, list(zip(indices, encodings, strict=True))


def _tokenize(text: Text, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Mapping[str, list[int]]:
    if isinstance(text, Mapping):
        text = (text["text"], text["text_pair"]) if "text_pair" in text else text["text"]
    texts = text if isinstance(text, tuple) else (text,)
    is_words = isinstance(text, list)
    return tokenizer(*texts, truncation=True, max_length=max_length, is_split_into_words=is_words)


def _random_batches(
    model: PreTrainedModel, predictor: Predictor, tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[dict[str, np.ndarray], list[tuple[int, Encoding]]]]:
    draw = np.random.default_rng(_SEED)
    size = min(model.config.vocab_size, len(tokenizer))
    ordinary = np.setdiff1d(np.arange(size), tokenizer.all_special_ids)
    longest = min(predictor.max_length, _LONGEST_RANDOM_ROW)
    # The second half of a row as the second text of a pair, where the model tells them apart.
    second = int(model.config.to_dict().get("type_vocab_size", 1) > 1)
    for num_rows, width in ((1, 1), (31, 16), (31, 32), (1, longest)):
        width = min(width, longest)
        lengths = [width, *draw.integers(1, width + 1, num_rows - 1)]
        ids = [draw.choice(ordinary, length).tolist() for length in lengths]
        yield predictor.pad(ids, [[0] * ((n + 1) // 2) + [second] * (n // 2) for n in lengths]), []
