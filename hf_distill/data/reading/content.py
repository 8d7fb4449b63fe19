"""The bytes of a file: where they are, out of which archive they come, and whether they are what the name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
}
SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")  # ZIP archives, too, but not of files with rows


class Content:
    """A file's bytes, out of its archive.

    Args:
        path: As it was given, for error messages.
        name: Without folders; of an archive with the name of its member.
        suffix: Of the name, in lower case, without that of an archive: `.csv` of `train.csv.gz`.
        data: The bytes; None for a file that is in no archive, whose bytes are read when they are asked for.
    """

    def __init__(self, path: str, name: str, suffix: str, data: bytes | None = None) -> None:
        self.path, self.name, self.suffix = path, name, suffix
        self._data = data

    @property
    def data(self) -> bytes:
        """All bytes."""
        return Path(self.path).read_bytes() if self._data is None else self._data

    def open(self) -> pa.NativeFile:
        """Return the bytes as a file that Arrow can read in any order."""
        return pa.OSFile(self.path) if self._data is None else pa.BufferReader(self._data)


def open_content(path: Path) -> Content:
    """Find a file's bytes, in the file or in its archive (gzip, bzip2, xz, Zstandard, ZIP with one member).

    Raises:
        ValueError: for a broken archive, a ZIP file with several members, and a file that is not what its name says.
    """
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix
    with path.open("rb") as file:
        start = file.read(200)
    _refuse_strangers(path, start)
    packed = next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), None)
    if packed is None or suffix in SHEETS:
        return Content(str(path), path.name, inner)
    data = path.read_bytes()
    if packed == ".zip":
        member, data = _only_member(path, data)
        return Content(str(path), f"{path.name}/{Path(member).name}", Path(member).suffix.lower(), data)
    return Content(str(path), path.name, inner, _unpack(path, data, packed))


def _unpack(path: Path, data: bytes, packed: str) -> bytes:
    try:
        if packed == ".gz":
            return gzip.decompress(data)
        if packed == ".bz2":
            return bz2.decompress(data)
        if packed == ".xz":
            return lzma.decompress(data)
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is a broken {packed} archive: {error}. Copy or download it again.") from None


def _only_member(path: Path, data: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not _is_of_the_system(name)]
            if len(names) != 1:
                raise ValueError(f"{path} holds {len(names)} files: {', '.join(names[:8])}. Unpack it and name one.")
            return names[0], archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}. Unpack it yourself and name the file.") from None


def _is_of_the_system(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name in (".DS_Store", "Thumbs.db")


def _refuse_strangers(path: Path, start: bytes) -> None:
    start = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a Git LFS pointer, not the file: it only names the file. Run `git lfs pull` in its folder."
        )
    if start.startswith(b"par1") and path.suffix.lower() != ".parquet":
        raise ValueError(f"{path} is a Parquet file. Rename it to .parquet.")
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValueError(f"{path} is a file of Microsoft Office. Save the sheet as CSV UTF-8.")
    if start.startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{path} is a web page, not a data file. Download the file itself (the link `raw`).")
