"""Model cards on disk. What hf_distill writes is updated, what the user wrote stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from hf_distill.hub.card.merge import MergedCard, has_user_text, is_ours, merge_card, set_metadata
from hf_distill.hub.card.metadata import card_metadata, student_of
from hf_distill.hub.card.model_card import card_sections
from hf_distill.hub.card.words import model_id, printable
from hf_distill.record import read_json
from hf_distill.utils.atomic import write_file_atomically

CARD_NAME = "README.md"
SECOND_CARD_NAME = "MODEL_CARD.md"  # holds the card where README.md was written by hand
_FORMAT = 1


def write_card(
    folder: Path,
    record: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    export: Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> list[str]:
    """Write the card into a student's folder: into `README.md`, or into `MODEL_CARD.md` if `README.md` is not ours.

    Args:
        folder: Folder of the student.
        record: The content of `distillation.json`.
        report: The content of `report.json`, if there is a report.
        export: The content of `export.json` at the root of the repository, if there are exports.
        given: Metadata that the user asked for: `license`, `language`, `tags`.

    Returns:
        Sentences about what was kept as the user wrote it.
    """
    sections = card_sections(record, report, export)
    metadata = card_metadata(printable(record), None if report is None else printable(report)).to_dict()
    card, reason = _merge(folder / CARD_NAME, sections, metadata, given)
    second = folder / SECOND_CARD_NAME
    if card is not None:
        save_text(folder, CARD_NAME, card.content)
        if second.is_file() and is_ours(text := read_text(second)) and not has_user_text(text):
            second.unlink()  # from a time when README.md was not ours
        return _describe_kept(CARD_NAME, card)
    notes = _set_given(folder, given)
    card, second_reason = _merge(second, sections, metadata, {})
    if card is None:
        return [*notes, f"{CARD_NAME} and {second.name} stay as they are, and no model card was written: {CARD_NAME} "
                f"{reason}, and {second.name} {second_reason}."]  # fmt: skip
    save_text(folder, second.name, card.content)
    note = f"{CARD_NAME} stays as it is, because it {reason}. The model card is in {second.name}."
    return [note, *notes, *_describe_kept(second.name, card)]


def read_text(path: Path) -> str:
    """Return the text of a card with its line ends. Bytes that are not UTF-8 survive [`save_text`]."""
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


def save_text(folder: Path, name: str, content: str) -> None:
    """Write a card atomically."""
    write_file_atomically(
        folder, name, lambda path: path.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    )


def _merge(
    path: Path, sections: Mapping[str, str], metadata: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[MergedCard | None, str]:
    """Return the updated card, or None and the reason why the file cannot hold it."""
    content = read_text(path) if path.is_file() else ""
    if not is_ours(content):
        return None, "was not written by hf_distill"
    try:
        return merge_card(content, sections, metadata, given), ""
    except ValueError as error:
        return None, f"cannot be updated ({error})"


def _set_given(folder: Path, given: Mapping[str, Any]) -> list[str]:
    """Set metadata in a `README.md` that otherwise stays."""
    if not given:
        return []
    try:
        save_text(folder, CARD_NAME, set_metadata(read_text(folder / CARD_NAME), given))
    except ValueError as error:
        return [f"{', '.join(given)} could not be set in {CARD_NAME}: {error}."]
    return []


def _describe_kept(name: str, card: MergedCard) -> list[str]:
    notes = []
    if card.edited_sections:
        notes.append(
            f"{name} keeps the edited sections: {', '.join(card.edited_sections)}. To have a section written again, "
            "delete it together with its two comments."
        )
    if card.kept_metadata:
        notes.append(f"{name} keeps the edited metadata: {', '.join(card.kept_metadata)}.")
    return notes


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
    students = [model for model in report["models"].values() if model["role"] == "student"]
    if students and student_of(report, record) is None:
        size = students[0]["cost"]["num_parameters"]
        raise ValueError(
            f"{path} is about a student with {size:,} parameters, but this student has "
            f"{record['student'].get('num_parameters')}. Run `hf-distill compare` again, or remove the report."
        )
    return report


def find_licenses(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add the licenses that the Hub has for the teacher and for the student's initial weights, if it has them."""
    student, teacher = dict(record["student"]), record.get("teacher")
    if not student.get("origin_license") and (name := _license_on_hub(model_id(student, "origin"), student)):
        student["origin_license"] = name
    return {**record, "student": student, **({"teacher": find_license(teacher)} if teacher else {})}


def find_license(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Add the license that the Hub has for a teacher, or for each member of an ensemble, if it has one."""
    if members := teacher.get("teachers"):
        return {**teacher, "teachers": [find_license(member) for member in members]}
    if teacher.get("license") or (name := _license_on_hub(model_id(teacher), teacher)) is None:
        return dict(teacher)
    return {**teacher, "license": name}


def _license_on_hub(name: str | None, model: Mapping[str, Any]) -> str | None:
    if name is None:
        return None
    try:
        card = HfApi().model_info(name, revision=model.get("revision"), timeout=10).card_data
    except Exception:  # offline, deleted or private: the card then says that the license is unknown
        return None
    license_name = None if card is None else card.license
    return license_name if isinstance(license_name, str) else None
