"""What may leave this machine: no tokens, no folders of it."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "[redacted]"

_TOKEN = re.compile(r"hf_[A-Za-z0-9]{30,}")
_MAYBE_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")  # in a command; elsewhere a name such as hf_sentiment
_TOKEN_FLAG = re.compile(r"(--[\w-]*token)(=.*)?")
_FOLDERS = re.compile(
    r"""(?:^|(?<=[\s=,;"'(\[{]))(?:file://)?(?:[A-Za-z]:[/\\]|~[^/\\]*[/\\]|\.{1,2}[/\\]|/|\\\\)"""
    r"""(?:[^/\\,;"'=]+[/\\]+)*(?=[^/\\\s])"""
)


def has_token(text: str) -> bool:
    """Whether a text holds what looks like a token of the Hub."""
    return bool(_TOKEN.search(text))


def without_secrets(message: str, *known: str | None) -> str:
    """Return a message without what looks like a token of the Hub, the given ones, and the one of the environment."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        known += (os.environ.get(name, "").strip(),)
    for secret in filter(None, known):
        message = message.replace(secret, REDACTED)
    # A name such as hf_sentiment has neither capitals nor digits.
    return _MAYBE_TOKEN.sub(lambda found: found[0] if re.fullmatch("hf_[a-z]+", found[0]) else REDACTED, message)


def publishable(value: Any) -> Any:
    """Return a JSON value without tokens and local folders, and with null for NaN and infinity.

    The words under the key `command` are taken for a command line, in which a token may follow a flag.
    """
    if isinstance(value, Mapping):
        return {
            publishable(str(name)): _command(item) if name == "command" and item else publishable(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [publishable(item) for item in value]
    if isinstance(value, str):
        return _FOLDERS.sub("", _TOKEN.sub(REDACTED, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _command(words: Sequence[str]) -> list[str]:
    shown = []
    for previous, word in zip(["", *words], words, strict=False):
        flag = _TOKEN_FLAG.fullmatch(word)
        if flag and flag[2]:
            word = f"{flag[1]}={REDACTED}"
        elif _TOKEN_FLAG.fullmatch(previous) and "=" not in previous:
            word = REDACTED
        shown.append(publishable(_MAYBE_TOKEN.sub(REDACTED, word)))
    return shown
