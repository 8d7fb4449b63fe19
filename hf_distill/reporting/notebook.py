"""How notebooks show text and reports: the Markdown of this package as HTML."""

import html
import itertools
from collections.abc import Iterator


class MarkdownText(str):
    """Markdown that prints as text and that a notebook shows as HTML."""

    def _repr_html_(self) -> str:
        return as_html(self)


def as_html(markdown: str) -> str:
    """Return headings, tables, lists and lines as HTML; everything that is not markup of this package is escaped.

    Args:
        markdown: Text whose cells were escaped by [`~hf_distill.reporting.markdown.markdown_table`].
    """
    groups = itertools.groupby(markdown.splitlines(), key=_kind)
    return "\n".join(line for kind, lines in groups for line in _render(kind, list(lines)))


def _kind(line: str) -> str:
    return next((start for start in ("## ", "| ", "- ") if line.startswith(start)), "")


def _render(kind: str, lines: list[str]) -> Iterator[str]:
    if kind == "| ":
        header, _, *rows = ([_escape(cell) for cell in line[2:-2].split(" | ")] for line in lines)
        yield f"<table><thead><tr><th>{'</th><th>'.join(header)}</th></tr></thead><tbody>"
        yield from (f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
        yield "</tbody></table>"
    elif kind == "- ":
        yield f"<ul>{''.join(f'<li>{_escape(line[2:])}</li>' for line in lines)}</ul>"
    elif kind == "## ":
        yield from (f"<h4>{_escape(line[3:])}</h4>" for line in lines)
    else:
        yield from (f"<p>{_escape(line)}</p>" for line in lines if line)


def _escape(text: str) -> str:
    """Escape a text; Markdown's own escapes are entities."""
    return html.escape(html.unescape(text.strip()))
