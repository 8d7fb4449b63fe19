"""Model cards on the disk: written from what stands beside them, and not over what somebody wrote by hand."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard

from hf_distill.hub.card.model_card import model_card
from hf_distill.hub.card.words import hub_id

_FORMAT = 1
_DIGEST = re.compile(r"\n+<!-- hf_distill ([0-9a-f]{16}): .*-->\s*\Z")


def save_card(card: ModelCard, folder: str | os.PathLike) -> None:
    """Write `README.md` with a digest of its text, by which an edit is noticed."""
    mark = f"<!-- hf_distill {_digest(card.text)}: once this text is edited, it is not written anew. -->"
    card.text = f"{card.text.rstrip()}\n\n{mark}\n"
    card.save(Path(folder, "README.md"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def write_card(
    folder: Path,
    record: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    exports: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Write the card into a student's folder, unless there is one with a text that was edited by hand.

    What the metadata of an older card say beyond the record, its licence or language for instance, is kept.

    Returns:
        Whether it was written.
    """
    card, path = model_card(record, report, exports), folder / "README.md"
    if path.exists():
        old = ModelCard.load(path, ignore_metadata_errors=True)
        mark = _DIGEST.search(old.text)
        if mark is None or mark[1] != _digest(old.text[: mark.start()]):
            return False
        known, found = card.data.to_dict(), old.data.to_dict()
        tags = dict.fromkeys([*known["tags"], *found.get("tags", [])])
        card.data = type(card.data)(**{**found, **known, "tags": list(tags)})
    save_card(card, folder)
    return True


def read_report(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read `report.json`; None if it is not there.

    Raises:
        ValueError: if it is not a report that this version knows, or tells of a student of another size.
    """
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or report.get("format") != _FORMAT:
        raise ValueError(f"{path} is no report of format {_FORMAT}. Make it again with `hf-distill compare`.")
    student = next((model for model in report["models"].values() if model["role"] == "student"), None)
    size = ((student or {}).get("cost") or {}).get("num_parameters")
    if size is not None and size != record["student"].get("num_parameters"):
        raise ValueError(
            f"{path} tells of a student with {size:,} parameters, and this one has "
            f"{record['student'].get('num_parameters')}. Run `hf-distill compare` on this one, or remove the report."
        )
    return report


def find_licence(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Add the licence that the Hub knows of a teacher, or of each member of an ensemble; without one, nothing."""
    if members := teacher.get("teachers"):
        return {**teacher, "teachers": [find_licence(member) for member in members]}
    name = hub_id(teacher.get("name_or_path"))
    if name is None or teacher.get("license"):
        return dict(teacher)
    try:
        card = HfApi().model_info(name, revision=teacher.get("revision"), timeout=10).card_data
    except Exception:  # offline, gone, private: the card then says that the licence is unknown
        return dict(teacher)
    licence = None if card is None else card.license
    return {**teacher, **({"license": licence} if isinstance(licence, str) else {})}
