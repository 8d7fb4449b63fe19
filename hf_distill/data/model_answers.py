"""Probabilities of the classes from what a language model returns: log-probabilities of label tokens, or votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from hf_distill.utils.repeated import first_repeated

_TOLERANCE = 0.02  # of the sum of probabilities: APIs round


def class_key(name: str) -> str:
    """Return what names of the same class have in common: case and blanks around them do not matter."""
    return name.strip().casefold()


def from_log_probabilities(
    row: Any, names: Mapping[str, int], places: Sequence[int], is_multi_label: bool
) -> np.ndarray:
    r"""Return the probabilities of the classes, `(num_classes,)`.

    The probability that the model gave to other tokens is shared out: $p_c = e^{\ell_c} / \sum_k e^{\ell_k}$, over the
    classes. With several labels, each has its own probability, $e^{\ell_c}$.

    Args:
        row: A number <= 0 for each class; or the most probable first tokens of an answer, as a dict from tokens to
            such numbers, or as a list of dicts with `token` (or `text`) and `logprob`. Tokens that differ only in case
            or blanks around them are added; tokens that are no class are left out, and a class without a token has
            the probability 0.
        names: [`class_key`] of each class -> its place.
        places: The place of each number of a list.
        is_multi_label: Whether each class has its own probability.

    Raises:
        ValueError: with what is wrong with the row.
    """
    probabilities = np.zeros(len(names))
    tokens = list(row.items()) if isinstance(row, Mapping) else _listed_tokens(row)
    if tokens is not None:
        tokens = [(token, value) for token, value in tokens if value is not None]
        _check_alternatives(tokens, is_multi_label)
        given = [(names.get(class_key(token)), value) for token, value in tokens]
        known = [(place, value) for place, value in given if place is not None]
        if not known:
            raise ValueError(f"has no token among the classes {list(names)}")
    else:
        check_numbers(row, len(places))
        known = list(zip(places, row, strict=True))
        _check_log_probabilities([value for _, value in known])
    for place, value in known:
        probabilities[place] += np.exp(value)
    if is_multi_label:
        return probabilities.clip(max=1.0)
    if probabilities.sum() == 0:
        raise ValueError("gives no class a probability")
    return probabilities / probabilities.sum()


def _listed_tokens(row: Any) -> list[tuple[str, Any]] | None:
    """Return the tokens of a list of dicts with their log-probabilities; None for another row."""
    if isinstance(row, str) or not isinstance(row, Sequence) or not any(isinstance(entry, Mapping) for entry in row):
        return None
    if not all(isinstance(entry, Mapping) for entry in row):
        raise ValueError("has an entry that is no token with its log-probability")
    if any("top_logprobs" in entry for entry in row):
        raise ValueError(
            "has the tokens of an answer one after the other. Pass the alternatives of its first token, its "
            "`top_logprobs`, which the API must be asked for"
        )
    tokens = [(_first(entry, "token", "text"), entry.get("logprob")) for entry in row]
    if any(not isinstance(token, str) or value is None for token, value in tokens):
        raise ValueError("has an entry without `token` and `logprob`")
    if (repeated := first_repeated([token for token, _ in tokens])) is not None:
        raise ValueError(
            f"has the token {repeated!r} twice, so its tokens follow one another. Pass the alternatives of the "
            "first token of the answer"
        )
    return tokens


def _first(entry: Mapping[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _check_alternatives(tokens: Sequence[tuple[str, Any]], is_multi_label: bool) -> None:
    """Refuse tokens that cannot be alternatives of one place, because their probabilities add up to more than 1."""
    _check_log_probabilities([value for _, value in tokens])
    total = sum(np.exp(value) for _, value in tokens)
    if not is_multi_label and total > 1 + _TOLERANCE:
        raise ValueError(
            f"has tokens whose probabilities add up to {total:.2f}, so they are no alternatives for one token. Pass "
            "the most probable alternatives of the first token of the answer, not the tokens that follow one another"
        )


def _check_log_probabilities(values: Sequence[Any]) -> None:
    if odd := [value for value in values if not isinstance(value, Real) or isinstance(value, bool)]:
        raise ValueError(f"has {odd[0]!r} in place of a log-probability")
    if not all(value <= 1e-6 for value in values):
        raise ValueError("has numbers that are not log-probabilities, at most 0; for logits set `kind='logits'`")


def check_numbers(row: Any, num_classes: int) -> None:
    """Check that a row is a list with a number for each class.

    Raises:
        ValueError: with what is wrong with the row.
    """
    if isinstance(row, str):
        raise ValueError("is a text; read JSON before (`json.loads`)")
    if row is None or len(row) != num_classes or any(isinstance(value, Mapping | str | None) for value in row):
        raise ValueError(f"does not have {num_classes} numbers, one for each class; a dict has numbers by class")


def from_votes(row: Any, names: Mapping[str, int], smoothing: float, is_multi_label: bool) -> np.ndarray:
    r"""Return the probabilities of the classes, `(num_classes,)`, with Laplace smoothing.

    $p_c = (n_c + s) / (k + s C)$ for $k$ votes and $C$ classes; with several labels, in which a vote is a list of
    classes, $p_c = (n_c + s) / (k + 2 s)$.

    Args:
        row: A list of votes; for one label also a dict from classes to numbers of votes.
        names: [`class_key`] of each class -> its place.
        smoothing: $s$, the number of votes that each class has from the start.
        is_multi_label: Whether a vote is a list of classes.

    Raises:
        ValueError: with what is wrong with the row.
    """
    counts = np.zeros(len(names))
    if isinstance(row, Mapping):
        if is_multi_label:
            raise ValueError("is a dict of counts, which does not say how many votes there were; give a list of votes")
        votes = [(name, value) for name, value in row.items() if value is not None]
        if any(value < 0 or value % 1 for _, value in votes):
            raise ValueError("has numbers of votes that are not 0, 1, 2, ...; for shares set `kind='probabilities'`")
        num_votes = sum(value for _, value in votes)
    else:
        if row is None or isinstance(row, str) or any(isinstance(vote, str) == is_multi_label for vote in row):
            raise ValueError(f"is not a list of {'lists of classes' if is_multi_label else 'classes'}")
        votes = [(name, 1) for vote in row for name in (set(vote) if is_multi_label else [vote])]
        num_votes = len(row)
    if not num_votes:
        raise ValueError("has no votes")
    for name, value in votes:
        if (place := names.get(class_key(name))) is None:
            raise ValueError(f"has the class {name!r}, which is not among {list(names)}")
        counts[place] += value
    return (counts + smoothing) / (num_votes + smoothing * (2 if is_multi_label else len(names)))
