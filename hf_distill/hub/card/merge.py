"""Merge what hf_distill writes into a card that can have text and metadata of the user.

The last line of the card is a comment with a digest of each value that hf_distill wrote into the metadata. A value
with another digest was changed by the user, and stays.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from hf_distill.hub.card.front_matter import Card, change_metadata, join_card, read_metadata, split_card
from hf_distill.hub.card.markers import (
    check_comments,
    digest,
    edited_sections,
    has_sections,
    merge_sections,
    user_text,
)

_STATE = re.compile(r"\s*<!-- hf_distill:metadata([^>]*) -->\s*\Z")
_RESULTS = "model-index"


class MergedCard(NamedTuple):
    """A card and what of it stays as the user wrote it.

    Attributes:
        content: The card.
        edited_sections: Sections whose text was edited.
        kept_metadata: Keys that hf_distill would write with another value, but the user has changed or removed.
    """

    content: str
    edited_sections: list[str]
    kept_metadata: list[str]


def is_ours(content: str) -> bool:
    """Return whether a card has sections of hf_distill, or no text at all, e.g. only a license."""
    body = split_card(content).body
    return has_sections(body) or not body.strip()


def has_user_text(content: str) -> bool:
    """Return whether a card has text that hf_distill did not write."""
    return bool(text_of_user(content))


def text_of_user(content: str) -> str:
    """Return the text of a card that hf_distill did not write."""
    return user_text(_STATE.sub("", split_card(content).body))


def metadata_of_user(content: str) -> dict[str, Any]:
    """Return the metadata of a card that hf_distill did not write."""
    card = split_card(content)
    written = _read_state(card.body)
    return {key: value for key, value in read_metadata(card).items() if not _is_written(key, value, written)}


def set_metadata(content: str, changes: Mapping[str, Any]) -> str:
    """Set metadata of a card that otherwise stays as it is. `tags` are added to the tags of the card."""
    card = split_card(content)
    return join_card(change_metadata(card, _with_tags(changes, read_metadata(card).get("tags"))))


def merge_card(
    content: str, sections: Mapping[str, str], metadata: Mapping[str, Any], given: Mapping[str, Any]
) -> MergedCard:
    """Update the sections and the metadata of hf_distill in a card.

    Scores of `model-index` belong to weights, so a new score replaces the score of the same dataset and metric,
    whoever wrote it. Other results of the user stay.

    Args:
        content: The card; empty for a new one.
        sections: Name -> text.
        metadata: The metadata that hf_distill writes.
        given: Metadata that the user asked for. They replace other values, and belong to the user from then on.

    Raises:
        ValueError: if metadata or comments of the card cannot be read. The message starts with what is wrong.
    """
    card = split_card(content)
    check_comments(card.body)
    changes, written, kept = _merge_metadata(read_metadata(card), _read_state(card.body), metadata, given)
    body = merge_sections(_STATE.sub("", card.body), sections)
    newline = "\r\n" if "\r\n" in body else "\n"
    marks = " ".join(f"{key}={','.join(digests)}" for key, digests in sorted(written.items()))
    body = f"{body.rstrip()}{2 * newline}<!-- hf_distill:metadata {marks} -->{newline}"
    return MergedCard(join_card(change_metadata(Card(card.block, body), changes)), edited_sections(body), kept)


def _merge_metadata(
    values: Mapping[str, Any], written: Mapping[str, list[str]], metadata: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, list[str]], list[str]]:
    """Return the changes of the metadata, the digests of what hf_distill has written then, and the keys that stay."""
    changes, digests, kept = {}, dict(written), []
    for key in dict.fromkeys([*metadata, *written]):
        value = metadata.get(key)
        if key == _RESULTS and key in values:
            changes[key] = _merge_results(values[key], value, written.get(key, []))
        elif _is_users(key, values, written):
            kept += [key] if values.get(key) != value and key not in (*given, "license", "tags") else []
            continue
        else:
            changes[key] = value
        digests[key] = _digests(key, value)
    given = _with_tags(given, changes.get("tags", values.get("tags")))
    return {**changes, **given}, {key: known for key, known in digests.items() if known}, kept


def _with_tags(given: Mapping[str, Any], tags: Any) -> dict[str, Any]:
    """Add the tags of a card, a list or one string, to the tags that the user asked for."""
    if "tags" not in given:
        return dict(given)
    present = [tags] if isinstance(tags, str) else tags or []
    return {**given, "tags": list(dict.fromkeys([*present, *given["tags"]]))}


def _read_state(body: str) -> dict[str, list[str]]:
    """Return digests of the metadata that hf_distill wrote: one for a key, for `model-index` one for each result."""
    comment = _STATE.search(body)
    entries = [entry.split("=") for entry in comment[1].split()] if comment else []
    return {key: digests[0].split(",") for key, *digests in entries if digests}


def _digests(key: str, value: Any) -> list[str]:
    if value is None:
        return []
    return [_digest(asdict(result)) for result in _results(value)] if key == _RESULTS else [_digest(value)]


def _digest(value: Any) -> str:
    return digest(json.dumps(value, sort_keys=True, default=str))[:8]


def _is_written(key: str, value: Any, written: Mapping[str, list[str]]) -> bool:
    return key in written and set(_digests(key, value)) <= set(written[key])


def _is_users(key: str, values: Mapping[str, Any], written: Mapping[str, list[str]]) -> bool:
    """Return whether the user added, changed or removed this key."""
    return not _is_written(key, values[key], written) if key in values else key in written


def _results(model_index: Any) -> list[EvalResult]:
    try:
        return model_index_to_eval_results(model_index)[1]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("its model-index does not have the form that the Hub expects") from None


def _merge_results(old: Any, new: Any, written: list[str]) -> Any:
    """Return `model-index` with the new results, and the user's results on other datasets or metrics."""
    name, new_results = model_index_to_eval_results(new) if new else (old[0]["name"], [])
    replaced = {_measured(result) for result in new_results}
    users = [r for r in _results(old) if _digest(asdict(r)) not in written and _measured(r) not in replaced]
    results = [*new_results, *users]
    return eval_results_to_model_index(name, results) if results else None


def _measured(result: EvalResult) -> tuple[str | None, ...]:
    """Return what a result measures. Its revision, its names and its interval can differ."""
    return result.task_type, result.dataset_type, result.dataset_config, result.dataset_split, result.metric_type
