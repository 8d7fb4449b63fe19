"""Decode files: UTF-8 and marked UTF-16 are recognized, the user names any other encoding."""

from __future__ import annotations

import codecs
import re
import unicodedata

from hf_distill.data.reading.content import Content
from hf_distill.data.table import counted

# UTF-32 comes before UTF-16: its little-endian mark starts with the mark of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with BOM"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# Control characters that no text has. In Latin-1 they are the bytes that cp1252 uses for quotes and dashes.
_CONTROL = re.compile("[\x80-\x9f]")
_WINDOWS = "cp1252"  # the encoding of Excel in Western Europe and America; a superset of the letters of latin-1


def decode(content: Content, encoding: str | None = None) -> tuple[str, str]:
    """Decode a file.

    Args:
        content: The file.
        encoding: The encoding of files that are not UTF-8. It is not used for a file with a byte-order mark, and not
            for valid UTF-8 with characters beyond ASCII: one command reads several files with the same setting, and
            UTF-8 in another encoding gives wrong letters without an error.

    Returns:
        The text, and the name of the encoding that was used.

    Raises:
        ValueError: if the file cannot be decoded. The message names the file, the line and the byte, and guesses the
            encoding. Also if there is no such encoding.
    """
    data, path = content.data, content.path
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _decode_strictly(data[len(mark) :], codec, path, name), name
    if encoding is not None:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(
                f"`encoding` is {encoding!r}, which Python does not know. Pass a name such as cp1252."
            ) from None
        if not _is_utf8_beyond_ascii(data):
            if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")) and data and 0 not in data:
                raise _implausible(data, encoding, path, "it has no zero byte, which ends of lines have")
            text = _decode_strictly(data, encoding, path, encoding)
            if control := _CONTROL.search(text):
                raise _implausible(data, encoding, path, f"it would have the control character {control[0]!r}")
            return text, encoding
        is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
        return data.decode("utf-8"), "UTF-8" if is_utf8 else f"UTF-8 (its bytes are valid UTF-8, not {encoding})"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_explain(data, error, path)) from None
    if 5 * data.count(0) > len(data):
        guess = "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
        raise ValueError(
            f"{path}: {data.count(0):,} of {len(data):,} bytes are zero, so the encoding is probably UTF-16 without a "
            f"byte-order mark. Pass --encoding {guess} (`encoding`), or save the file as UTF-8."
        )
    return text, "UTF-8"


def _implausible(data: bytes, encoding: str, path: str, reason: str) -> ValueError:
    """Return the error for an encoding that decodes a file and gives wrong letters.

    UTF-16 turns the bytes of other encodings into Chinese characters, EBCDIC into control characters; so does Latin-1
    with the quotes and dashes of cp1252.
    """
    guess = "utf-8" if _is_utf8(data) else guess_encoding(data)
    is_new = guess is not None and codecs.lookup(guess).name != codecs.lookup(encoding).name
    advice = f"It may be {guess}: pass --encoding {guess} (`encoding`)." if is_new else "Save the file as UTF-8."
    return ValueError(f"{path} is not in the encoding {encoding}: {reason}. {advice}")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8_beyond_ascii(data: bytes) -> bool:
    if data.isascii():
        return False
    try:
        return "\x00" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _decode_strictly(data: bytes, codec: str, path: str, name: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        line, byte = _locate(data, error.start)
        raise ValueError(
            f"{path}, line {line}, byte {byte} of the line (0x{data[error.start : error.end].hex()}) is not valid in "
            f"the encoding {name}: {error.reason}. Pass another --encoding (`encoding`), or save the file as UTF-8."
        ) from None


def _locate(data: bytes, position: int) -> tuple[int, int]:
    """Return the line and the byte within the line, both counted from 1."""
    end = b"\n" if b"\n" in data else b"\r"
    return data.count(end, 0, position) + 1, position - data.rfind(end, 0, position)


def _explain(data: bytes, error: UnicodeDecodeError, path: str) -> str:
    line, byte = _locate(data, error.start)
    start = f"{path}, line {line}, byte {byte} of the line (0x{data[error.start]:02x}) is not in the encoding UTF-8. "
    replaced = data.decode("utf-8", errors="replace")
    num_broken = replaced.count("\ufffd")
    num_right = sum(not char.isascii() for char in replaced) - num_broken
    if num_right > num_broken:
        return f"{start}The file is valid UTF-8 except for {counted(num_broken, 'byte')}. Correct the line."
    guess = guess_encoding(data)
    if guess is None:
        return f"{start}Pass the encoding, such as --encoding {_WINDOWS} (`encoding`), or save the file as UTF-8."
    reads = data[: error.start].decode(guess, "replace")[-20:] + data[error.start :].decode(guess, "replace")[:20]
    return (
        f"{start}The encoding may be {guess}, which gives {' '.join(reads.split())!r}. If this is right, pass "
        f"--encoding {guess} (`encoding`), or save the file as UTF-8."
    )


def guess_encoding(data: bytes) -> str | None:
    """Guess the encoding of bytes that are not UTF-8; return None if no encoding fits."""
    from charset_normalizer import from_bytes

    sample = _around_odd_bytes(data)
    matches = from_bytes(sample)
    names = [match.encoding for match in matches if not match.encoding.startswith(("utf_16", "utf_32"))]
    # Western text has few letters beyond ASCII, and most of them have the same byte in several code pages. So a short
    # text fits several encodings. cp1252 is the most frequent one; a guess that mixes scripts in a word is wrong.
    guess = names[0] if names else None
    if sum(byte > 127 for byte in sample) < 0.3 * len(sample):
        western = sample.decode(_WINDOWS, "replace")
        read = "" if guess is None else sample.decode(guess, "replace")
        if "\ufffd" not in western and (_WINDOWS in names or western == read or not _is_latin(read) or not read):
            return _WINDOWS
    return guess


def _is_latin(text: str) -> bool:
    return all("LATIN" in unicodedata.name(char, "") for char in text if char.isalpha())


def _around_odd_bytes(data: bytes, size: int = 50_000) -> bytes:
    """Return the lines with bytes beyond ASCII, up to a size. Only they distinguish encodings."""
    lines, length = [], 0
    for line in data.split(b"\n"):
        if not line.isascii():
            lines.append(line)
            length += len(line)
        if length > size:
            break
    return b"\n".join(lines)
