"""An extension of griffe for the API page: [`name`] in docstrings, as Hugging Face writes links, becomes `name`."""

import re
from typing import Any

import griffe

_LINK = re.compile(r"\[`~?([^`\]]+)`\](?![(\[])")


class DocstringNames(griffe.Extension):
    """Takes the brackets off names in docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that was loaded."""
        if obj.docstring:
            obj.docstring.value = _LINK.sub(r"`\1`", obj.docstring.value)
