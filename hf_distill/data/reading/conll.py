"""Read CoNLL files: one word per line, its tag in the last column, an empty line between sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hf_distill.data.reading.content import Content
from hf_distill.data.reading.encodings import decode
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.reading.text_lines import split_lines, without_inner_marks
from hf_distill.data.table import Source, Table, counted, table_of_values

_TAG = re.compile(r"O|[BIESLUMW][-_]\S+")
_DOCUMENT = "-DOCSTART-"
_SAMPLE = 200_000  # number of characters from which the format is recognized


def looks_like_conll(text: str) -> bool:
    """Whether every line ends in a tag such as `O` or `B-type`, and all lines have the same number of cells."""
    sample = text[:_SAMPLE].rpartition("\n")[0] if len(text) > _SAMPLE else text
    lines = [line for line in split_lines(sample) if _is_data(line)]
    if len(lines) < 2:
        return False
    separator = _separator(lines)
    rows = [_cells(line, separator) for line in lines]
    counts = {len(row) for row in rows}
    return len(counts) == 1 and counts.pop() > 1 and all(_TAG.fullmatch(row[-1]) for row in rows)


def read_conll(content: Content, options: ReadOptions) -> Table:
    """Read words and tags into the columns `tokens` and `tags`; without tags, if every line is only a word.

    If every line has a tab, tabs separate the cells and words can contain blanks. Otherwise blanks and tabs do. A line
    that starts with `#` is a comment, unless it has a word and a tag like the other lines.

    Raises:
        ValueError: if lines have different numbers of cells, or if words or tags are in other columns.
    """
    text, encoding = decode(content, options.encoding)
    lines = split_lines(without_inner_marks(text)[0])
    separator = _separator([line for line in lines if _is_data(line)])
    sentences, starts, num_comments = _sentences(lines, separator, content.path)
    if not sentences:
        return table_of_values(Source(content.path, content.name, "CoNLL", encoding=encoding), {"tokens": []})
    num_columns = len(sentences[0][0])
    notes = (f"left out: {counted(num_comments, 'comment line')}",) if num_comments else ()
    source = Source(content.path, content.name, "CoNLL", separator, None, encoding, notes)
    columns = {"tokens": [[word[0] for word in words] for words in sentences]}
    if num_columns > 1:
        columns["tags"] = [[word[-1] for word in words] for words in sentences]
        _check_places(columns["tokens"], columns["tags"], content.path)
    return table_of_values(source, columns, lambda row: starts[row])


def _is_data(line: str) -> bool:
    return bool(line.strip(" \t\r")) and not line.startswith(("#", _DOCUMENT))


def _separator(lines: Sequence[str]) -> str:
    return "\t" if lines and all("\t" in line.strip("\t\r") for line in lines) else " "


def _cells(line: str, separator: str) -> list[str]:
    # Not `split()`: a word can be, or hold, a space of Unicode.
    parts = line.strip("\r").split("\t") if separator == "\t" else re.split(r"[ \t\r]+", line)
    return [cell for cell in parts if cell]


def _sentences(lines: Sequence[str], separator: str, path: str) -> tuple[list[list[list[str]]], list[int], int]:
    """Return the cells of each word of each sentence, the first line of each sentence, and the number of comments."""
    sentences: list[list[list[str]]] = []
    starts: list[int] = []
    data = [_cells(line, separator) for line in lines if _is_data(line)]
    num_columns = len(data[0]) if data else None
    tags = {cells[-1] for cells in data}
    is_open, num_comments = False, 0
    for number, line in enumerate(lines, start=1):
        cells = _cells(line, separator)
        if not line.strip(" \t\r") or cells[0] == _DOCUMENT:
            is_open = False
        elif line.startswith("#") and _is_comment(cells, num_columns, tags, is_open):
            num_comments += 1
        else:
            num_columns = num_columns or len(cells)
            if len(cells) != num_columns:
                raise ValueError(
                    f"{path}, line {number}: {len(cells)} columns, where the first word has {num_columns}: {line!r}."
                )
            if not is_open:
                sentences.append([])
                starts.append(number)
                is_open = True
            sentences[-1].append(cells)
    return sentences, starts, num_comments


def _is_comment(cells: Sequence[str], num_columns: int | None, tags: set[str], is_in_sentence: bool) -> bool:
    """Whether a line that starts with `#` is a comment. `#` and `#topic` are words in many texts."""
    if num_columns is None or len(cells) != num_columns:
        return cells[0] == "#" or not is_in_sentence
    return cells[0] == "#" and num_columns > 1 and cells[-1] not in tags and not _TAG.fullmatch(cells[-1])


def _check_places(words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], path: str) -> None:
    """Refuse a file whose first column has tags, or numbers that count the words."""
    first = [word for sentence in words for word in sentence]
    last = [tag for sentence in tags for tag in sentence]
    if all(map(_TAG.fullmatch, first)) and not all(map(_TAG.fullmatch, last)):
        raise ValueError(
            f"{path} has tags in its first column, such as {first[0]!r}, and {last[0]!r} in its last. Expected the "
            "word first and the tag last: exchange the columns."
        )
    if len(first) > 1 and all(list(map(str, range(1, len(row) + 1))) == list(row) for row in words):
        raise ValueError(
            f"{path} counts the words in its first column: {', '.join(first[:4])}. Expected the word first and the "
            "tag last: remove that column."
        )
