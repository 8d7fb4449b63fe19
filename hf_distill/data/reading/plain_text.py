"""Read text files: one text per line, or fastText lines that start with `__label__`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from hf_distill.data.reading.conll import looks_like_conll, read_conll
from hf_distill.data.reading.content import Content
from hf_distill.data.reading.delimited import read_delimited
from hf_distill.data.reading.dialects import DELIMITERS, has_columns
from hf_distill.data.reading.encodings import decode
from hf_distill.data.reading.json_rows import refuse_json
from hf_distill.data.reading.options import ReadOptions
from hf_distill.data.reading.text_lines import split_lines, without_inner_marks
from hf_distill.data.table import Source, Table, counted, table_of_values

_LABEL = "__label__"
_LEADING_LABELS = re.compile(r"(?:__label__\S+(?:\s+|$))*")
_HEADERS = ("text", "label", "labels", "sentence", "review", "content", "sentiment", "category", "id")


def read_plain_text(content: Content, options: ReadOptions) -> Table:
    """Read one text per line; blank lines are left out.

    A file with lines that start with `__label__` is read as fastText, a file of words and tags as CoNLL. If `options`
    has several column names, and most lines have as many cells, the lines are rows of a table; otherwise the names
    belong to another file of the command. If it has one name, every line is a text.

    Raises:
        ValueError: if the lines look like the rows of a table, or hold JSON.
    """
    names = options.column_names
    notes: list[str] = []
    text, encoding = decode(content, options.encoding)
    if names is not None and len(names) > 1:
        if has_columns(text, len(names)):
            return read_delimited(content, options)
        notes.append(f"not read as a table: the lines do not have {len(names)} cells, as --column_names has names")
        names = None
    if names is None and looks_like_conll(text):
        return read_conll(content, options)
    lines = split_lines(without_inner_marks(text)[0])
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
    texts = [lines[number - 1].strip() for number in numbers]
    if any(line.startswith(_LABEL) for line in texts):
        return _read_fasttext(texts, content, encoding, numbers.__getitem__)
    if names is None:
        refuse_json(text, content.path)
        _refuse_table(texts, content.path)
    num_blank = len(lines) - len(texts) - (not lines[-1].strip())
    notes += [f"left out: {counted(num_blank, 'blank line')}"] if num_blank else []
    source = Source(content.path, content.name, "text, one a line", encoding=encoding, notes=tuple(notes))
    table = table_of_values(source, {"text" if names is None else names[0]: texts}, numbers.__getitem__)
    table.has_only_texts = True
    return table


def _read_fasttext(lines: Sequence[str], content: Content, encoding: str, line_of: Callable[[int], int]) -> Table:
    """Separate labels and texts. A line without a label is unlabelled."""
    texts, labels = [], []
    for row, line in enumerate(lines):
        end = _LEADING_LABELS.match(line).end()  # type: ignore[union-attr]  # the pattern also matches the empty string
        if line.count(_LABEL) > len(line[:end].split()):
            raise ValueError(
                f"{content.path}, line {line_of(row)}: `{_LABEL}` follows other text in {line[:60]!r}. Put the "
                "labels first, with blanks between them."
            )
        texts.append(line[end:].strip())
        labels.append([word.removeprefix(_LABEL) for word in line[:end].split()])
    is_single = all(len(names) <= 1 for names in labels)
    values = [names[0] if names else None for names in labels] if is_single else [names or None for names in labels]
    source = Source(content.path, content.name, "fastText", encoding=encoding)
    return table_of_values(source, {"text": texts, "label": values}, line_of)


def _refuse_table(texts: Sequence[str], path: str) -> None:
    """Refuse lines that look like the rows of a table. Their labels would become part of the texts."""
    for delimiter, name in DELIMITERS.items():
        counts = Counter(line.count(delimiter) for line in texts)
        count = next(iter(counts), 0)
        if len(counts) != 1 or not count or (len(texts) < 2 and delimiter != "\t"):
            continue
        last = [line.rpartition(delimiter)[2] for line in texts]
        starts_with_names = any(cell.strip().casefold() in _HEADERS for cell in texts[0].split(delimiter))
        ends_in_a_word = all(cell and not cell[0].isspace() and len(cell.split()) == 1 for cell in last)
        if delimiter == "\t" or starts_with_names or ends_in_a_word:
            raise ValueError(
                f"{path} looks like a table, not like texts: each of its {len(texts):,} lines has {count} times a "
                f"{name} ({delimiter!r}), such as {texts[0][:60]!r}. If it has a header, rename it to .tsv or .csv; "
                "if not, pass --column_names text,label (`column_names`); if each line is a text, pass "
                "--column_names text."
            )
