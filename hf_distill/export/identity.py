"""Which model and tokenizer an export was made from: two fingerprints in its `export.json`."""

import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.cache.fingerprint import hash_json, hashed_parts

_OF_MODEL, _OF_TOKENIZER = "model_fingerprint", "tokenizer_fingerprint"
FINGERPRINTS = {_OF_MODEL: "of another model", _OF_TOKENIZER: "with another tokenizer"}


def fingerprints(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> dict[str, str]:
    """Return the fingerprints of a float32 model and of its fast tokenizer, as `export.json` has them.

    Raises:
        ValueError: for weights that are not in memory.
    """
    of_model = {_OF_MODEL: hash_json(hashed_parts(model))}
    return of_model if tokenizer is None else of_model | {_OF_TOKENIZER: hash_json(_describe(tokenizer))}


def difference(record: Mapping[str, Any], expected: Mapping[str, str]) -> str | None:
    """Return how an export differs from a model and its tokenizer, for a message; None if it does not.

    Args:
        record: The content of an `export.json`. Those of the first versions of hf_distill have no fingerprints.
        expected: The result of `fingerprints`.
    """
    return next((FINGERPRINTS[name] for name in expected if record.get(name, expected[name]) != expected[name]), None)


def _describe(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the content of tokenizer.json without padding and truncation, which each call of a tokenizer sets."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in content.items() if name not in ("padding", "truncation")}
