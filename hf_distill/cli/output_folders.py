"""Checks of `--output_dir` before anything is read or loaded: nothing that a command did not write is overwritten."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

RECORD_NAME, TEACHER_FILE, EXPORT_NAME = "distillation.json", "teacher.json", "export.json"


def check_can_be_written(folder: Path) -> None:
    """Check that a folder can be made, or written into.

    Raises:
        ValueError: for a file, or a folder that cannot be written.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if existing.is_symlink() and not existing.exists():
        raise ValueError(f"--output_dir {folder}: {existing} is a link to a folder that does not exist.")
    if not existing.is_dir():
        raise ValueError(f"--output_dir {folder}: {existing} is a file. Name a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"--output_dir {folder}: {existing} cannot be written. Name another folder.")


def check_is_no_source(written: Iterable[Path], sources: Mapping[str, Iterable[str | None]]) -> None:
    """Check that no folder that is written is read as well, or has the checkpoint that is read.

    Args:
        written: The folders that models, tokenizers and cards are written into.
        sources: Flag -> paths of what is read, or Hub ids, which are not folders.

    Raises:
        ValueError: if a path leads to a folder that is written, with whatever spelling or link.
    """
    for flag, names in sources.items():
        for name in filter(None, names):
            source = Path(name).expanduser().resolve()
            read = [source, *([source.parent] if source.name.startswith("checkpoint-") else [])]
            for folder in filter(Path.exists, written):
                if source.exists() and any(path.samefile(folder) for path in read):
                    raise ValueError(
                        f"{flag} {name} is in a folder that this command writes ({folder}), so it would be "
                        "overwritten. Choose another --output_dir."
                    )


def check_has_no_foreign_weights(folder: Path) -> None:
    """Check that a training overwrites no model that hf_distill did not write.

    Raises:
        ValueError: for a folder with weights and no record.
    """
    weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    if weights and not (folder / RECORD_NAME).is_file():
        raise ValueError(
            f"{folder} has weights ({weights[0].name}) and no {RECORD_NAME}, so hf_distill did not write them. Choose "
            "another --output_dir."
        )


def check_is_no_finished_run(folder: Path, resume_from: str | None, overwrites: bool) -> None:
    """Check that a training overwrites no finished student, unless the user says so.

    Args:
        folder: The output folder.
        resume_from: `--resume_from_checkpoint`: "True", or the path of a checkpoint.
        overwrites: Whether `--overwrite_output_dir` is given.

    Raises:
        ValueError: for a folder with a finished run.
    """
    resumes = resume_from is not None and resume_from.lower() not in ("", "false")
    if resumes and str(resume_from).lower() != "true":
        resumes = folder.resolve() in Path(str(resume_from)).expanduser().resolve().parents
    if (folder / RECORD_NAME).is_file() and not (resumes or overwrites):
        raise ValueError(
            f"{folder} has a finished run ({RECORD_NAME}). Choose another --output_dir, continue that run with "
            "--resume_from_checkpoint True, or replace its files with --overwrite_output_dir."
        )


def check_has_marker(folder: Path, marker: str, overwritten: str = "*") -> None:
    """Check that a folder is empty, or that the same command wrote it.

    Args:
        folder: The folder.
        marker: Name of the file that the command writes.
        overwritten: Pattern of the files that the command would overwrite.

    Raises:
        ValueError: if the folder has such files and no marker.
    """
    if not (folder / marker).is_file() and (names := sorted(path.name for path in folder.glob(overwritten))):
        raise ValueError(
            f"--output_dir {folder} has {names[0]} and no {marker}, so hf-distill did not write it. Choose another."
        )
