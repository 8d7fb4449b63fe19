"""A hook of mkdocs: formulas become MathML, which browsers draw without a script from elsewhere."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(div|span) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Convert the formulas of a page."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(match: re.Match[str]) -> str:
    return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")
