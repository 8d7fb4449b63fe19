"""Tables in Markdown that are aligned for a terminal."""

from collections.abc import Sequence

from hf_distill.reporting.text import escape


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
