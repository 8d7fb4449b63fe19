"""`--candidate_labels`: names with commas between them, or JSON with names or descriptions."""

from __future__ import annotations

from hf_distill.cli.reading_arguments import words
from hf_distill.utils.json_text import parse_json
from hf_distill.utils.repeated import first_repeated
from hf_distill.utils.spelling import spell


def read_candidate_labels(values: list[str] | None) -> list[str] | dict[str, str] | None:
    """Return the names of the classes, or a dict from names to descriptions; None without the flag.

    Raises:
        ValueError: for JSON that is neither of the two, or for brackets and quotes outside of JSON.
    """
    if values is not None and len(values) == 1 and values[0].lstrip().startswith(("{", "[")):
        return _labels_of_json(values[0])
    names = words(values)
    if names is None:
        return None
    names = [spell(name) or "" for name in names]
    if odd := [name for name in names if name.startswith(("[", "{", '"', "'"))]:
        raise ValueError(
            f"--candidate_labels takes names with commas between them: --candidate_labels "
            f'"card arrival,exchange rate". The name {odd[0]} begins with a bracket or a quote.'
        )
    return names


def _labels_of_json(text: str) -> list[str] | dict[str, str]:
    """Return the candidate labels, or their descriptions by name, from JSON."""
    try:
        labels = parse_json(text)
        descriptions = list(labels.values()) if isinstance(labels, dict) else labels
        if not all(isinstance(value, str) for value in descriptions):
            raise ValueError("a name or a description is no text")
        names = [spell(name) or "" for name in labels]
        if isinstance(labels, dict) and (twice := first_repeated(names)) is not None:
            raise ValueError(f"the name {twice!r} is there twice; remove one of them")
    except ValueError as error:
        raise ValueError(
            f"--candidate_labels {text:.200} cannot be read as JSON: {error}. Expected a list of names, or the "
            'description of each class by its name: \'{"world": "politics in other countries", "sports": "a match"}\'.'
        ) from None
    return dict(zip(names, descriptions, strict=True)) if isinstance(labels, dict) else names
