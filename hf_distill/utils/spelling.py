"""One spelling for each label, wherever it is written."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200e\u200f\u2060"))


def spell(value: Any) -> str | None:
    """Return a label of any type as text; None for null, NaN and empty text.

    Blanks at both ends are removed, other runs of blanks become one space (a no-break space is a blank), and letters
    with accents are composed (Unicode NFC).
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value) if not value.isascii() else value
        return " ".join(text.translate(_INVISIBLE).split()) or None
    return str(value)  # `True` for a bool, the shortest exact decimal for a float
