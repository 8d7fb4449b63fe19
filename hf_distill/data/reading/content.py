"""Read the bytes of a file, decompress them, and check that they are what the file name promises."""

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
    b"PK\x05\x06": ".zip",  # without members
}
SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")  # some of them are ZIP archives, but not of files with rows


class Content:
    """The decompressed bytes of a file.

    Args:
        path: The path of the file, for error messages.
        name: The name of the file without folders. For an archive, the name of its member follows.
        suffix: The suffix in lower case, without the suffix of the compression: `.csv` for `train.csv.gz`.
        data: The bytes; None if the file is not compressed, then they are read when they are needed.
    """

    def __init__(self, path: str, name: str, suffix: str, data: bytes | None = None) -> None:
        self.path, self.name, self.suffix = path, name, suffix
        self._data = data

    @property
    def data(self) -> bytes:
        """All bytes of the file."""
        return Path(self.path).read_bytes() if self._data is None else self._data

    def open(self) -> pa.NativeFile:
        """Open the bytes as a file of Arrow."""
        return pa.OSFile(self.path) if self._data is None else pa.BufferReader(self._data)


def open_content(path: Path) -> Content:
    """Open a file; decompress it if it is gzip, bzip2, xz, Zstandard, or a ZIP archive with one member.

    Raises:
        ValueError: if the archive is damaged, if a ZIP archive has several members, or if the file is a web page, a
            Git LFS pointer, or of another format than its name promises.
    """
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix
    with path.open("rb") as file:
        start = file.read(512)
    _refuse_other_formats(path, start)
    packed = next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), None)
    if packed is None or suffix in SHEETS:
        _refuse_tar(path, start)
        return Content(str(path), path.name, inner)
    data = path.read_bytes()
    if packed == ".zip":
        member, data = _only_member(path, data)
        return Content(str(path), f"{path.name}/{Path(member).name}", Path(member).suffix.lower(), data)
    data = _unpack(path, data, packed)
    _refuse_tar(path, data)
    return Content(str(path), path.name, inner, data)


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
        raise ValueError(f"{path} is a damaged {packed} archive: {error}. Copy or download it again.") from None


def _only_member(path: Path, data: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not _is_system_file(name)]
            if len(names) != 1:
                listed = f": {', '.join(names[:8])}. Unpack the archive and name one of them." if names else "."
                raise ValueError(f"{path} holds {len(names)} files{listed}")
            return names[0], archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be unpacked: {error}. Unpack it yourself, and name the unpacked file."
        ) from None


def _refuse_tar(path: Path, data: bytes) -> None:
    if data[257:262] == b"ustar":  # https://www.gnu.org/software/tar/manual/html_node/Standard.html
        raise ValueError(f"{path} is a tar archive. Unpack it, and name one of its files.")


def _is_system_file(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name in (".DS_Store", "Thumbs.db")


def _refuse_other_formats(path: Path, start: bytes) -> None:
    start = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the file itself. Run `git lfs pull` in its folder.")
    if start.startswith(b"par1") and path.suffix.lower() != ".parquet":
        raise ValueError(f"{path} is a Parquet file. Rename it to .parquet.")
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValueError(f"{path} is a Microsoft Office file. Save the sheet as CSV UTF-8.")
    if start.startswith((b"<!doctype html", b"<html")):
        raise ValueError(
            f"{path} is a web page, not a data file. Download the file itself, for example from its `raw` link."
        )
