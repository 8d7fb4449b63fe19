"""Model cards on disk. A card is written again from its sources, unless somebody has edited its text."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard

from hf_distill.hub.card.model_card import model_card
from hf_distill.hub.card.words import model_id
from hf_distill.record import read_json

_FORMAT = 1
_DIGEST = re.compile(r"\n+<!-- hf_distill ([0-9a-f]{16}): .*-->\s*\Z")


def save_card(card: ModelCard, folder: str | os.PathLike) -> None:
    """Write `README.md` with a digest of its text, which reveals later edits."""
    mark = f"<!-- hf_distill {_digest(card.text)}: if this text is edited, hf_distill does not replace it. -->"
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
    """Write the card into a student's folder, unless it has a card whose text was edited.

    Metadata that somebody added to an older card, such as license and language, are kept.

    Returns:
        Whether the card was written.
    """
    card, path = model_card(record, report, exports), folder / "README.md"
    if path.exists():
        old_card = ModelCard.load(path, ignore_metadata_errors=True)
        mark = _DIGEST.search(old_card.text)
        if mark is None or mark[1] != _digest(old_card.text[: mark.start()]):
            return False
        metadata, old_metadata = card.data.to_dict(), old_card.data.to_dict()
        tags = dict.fromkeys([*metadata["tags"], *old_metadata.get("tags", [])])
        card.data = type(card.data)(**{**old_metadata, **metadata, "tags": list(tags)})
    save_card(card, folder)
    return True


def read_report(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read `report.json` without tokens and local folders; None if there is no such file.

    Raises:
        ValueError: if this version cannot read the report, or its student has another size.
    """
    if not path.is_file():
        return None
    report = read_json(path)
    if report.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a report of format {_FORMAT}. Run `hf-distill compare` again.")
    student = next((model for model in report["models"].values() if model["role"] == "student"), None)
    size = ((student or {}).get("cost") or {}).get("num_parameters")
    if size is not None and size != record["student"].get("num_parameters"):
        raise ValueError(
            f"{path} is about a student with {size:,} parameters, but this student has "
            f"{record['student'].get('num_parameters')}. Run `hf-distill compare` again, or remove the report."
        )
    return report


def find_license(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Add the license that the Hub has for a teacher, or for each member of an ensemble, if it has one."""
    if members := teacher.get("teachers"):
        return {**teacher, "teachers": [find_license(member) for member in members]}
    name = model_id(teacher)
    if name is None or teacher.get("license"):
        return dict(teacher)
    try:
        card = HfApi().model_info(name, revision=teacher.get("revision"), timeout=10).card_data
    except Exception:  # offline, deleted or private: the card then says that the license is unknown
        return dict(teacher)
    license_name = None if card is None else card.license
    return {**teacher, **({"license": license_name} if isinstance(license_name, str) else {})}
