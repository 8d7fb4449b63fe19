"""Tables in Markdown that are aligned for a terminal."""

from collections.abc import Sequence
from itertools import compress

from hf_distill.reporting.text import NOT_AVAILABLE, escape


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns, the first column to the left and the others to the right; cells are escaped."""
    lines = [[escape(cell) for cell in line] for line in (header, *rows)]
    widths = [max(4, *(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = []
    for first, *others in (lines[0], rule, *lines[1:]):
        cells = [first.ljust(widths[0]), *(c.rjust(width) for c, width in zip(others, widths[1:], strict=True))]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def filled_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as [`markdown_table`] does, without columns that are n/a in each row; the first two stay."""
    is_shown = [
        place < 2 or any(cell != NOT_AVAILABLE for cell in column)
        for place, column in enumerate(zip(*rows, strict=True))
    ]
    return markdown_table(list(compress(header, is_shown)), [list(compress(row, is_shown)) for row in rows])
