"""Probabilities of the classes from what a language model returns: log-probabilities of label tokens, or votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


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
        names: Class in lower case -> its place.
        places: The place of each number of a list.
        is_multi_label: Whether each class has its own probability.

    Raises:
        ValueError: with what is wrong with the row.
    """
    probabilities = np.zeros(len(names))
    tokens = list(row.items()) if isinstance(row, Mapping) else _listed_tokens(row)
    if tokens is not None:
        given = [(names.get(token.strip().casefold()), value) for token, value in tokens if value is not None]
        known = [(place, value) for place, value in given if place is not None]
        if not known:
            raise ValueError(f"has no token among the classes {list(names)}")
    else:
        check_numbers(row, len(places))
        known = list(zip(places, row, strict=True))
    for place, value in known:
        if not value <= 1e-6:
            raise ValueError("has numbers that are not log-probabilities, at most 0; for logits set `kind='logits'`")
        probabilities[place] += np.exp(value)
    if is_multi_label:
        return probabilities.clip(max=1.0)
    if probabilities.sum() == 0:
        raise ValueError("gives no class a probability")
    return probabilities / probabilities.sum()


def _listed_tokens(row: Any) -> list[tuple[str, float]] | None:
    """Return the tokens of a list of dicts with their log-probabilities; None for another row."""
    if isinstance(row, str) or not isinstance(row, Sequence) or not row or not isinstance(row[0], Mapping):
        return None
    if any("top_logprobs" in entry for entry in row):
        raise ValueError(
            "has the tokens of an answer one after the other, each with its `top_logprobs`. Pass the `top_logprobs` "
            "of the first token, which are the alternatives"
        )
    tokens = [(entry.get("token", entry.get("text")), entry.get("logprob")) for entry in row]
    if any(not isinstance(token, str) or isinstance(value, str | None) for token, value in tokens):
        raise ValueError("has an entry without `token` and `logprob`")
    return [(str(token), float(value)) for token, value in tokens if value is not None]


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
        names: Class in lower case -> its place.
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
        if (place := names.get(name.strip().casefold())) is None:
            raise ValueError(f"has the class {name!r}, which is not among {list(names)}")
        counts[place] += value
    return (counts + smoothing) / (num_votes + smoothing * (2 if is_multi_label else len(names)))
