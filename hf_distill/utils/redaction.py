"""Redaction: remove tokens and local folders from messages and from records that are published."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "[redacted]"

_TOKEN = re.compile(r"hf_[A-Za-z0-9]{30,}")
# Used for commands and messages. In other texts this pattern would match names such as hf_sentiment.
_POSSIBLE_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_TOKEN_FLAG = re.compile(r"(--[\w-]*token)(=.*)?")
_FOLDERS = re.compile(
    r"""(?:^|(?<=[\s=,;"'(\[{]))(?:file://)?(?:[A-Za-z]:[/\\]|~[^/\\]*[/\\]|\.{1,2}[/\\]|/|\\\\)"""
    r"""(?:[^/\\,;"'=]+[/\\]+)*(?=[^/\\\s])"""
)


def has_token(text: str) -> bool:
    """Return whether a text contains a string that looks like a Hub token."""
    return bool(_TOKEN.search(text))


def without_secrets(message: str, *known: str | None) -> str:
    """Remove Hub tokens from a message.

    Args:
        message: The message.
        *known: Tokens to remove, in addition to the token in the environment and strings that look like a token.

    Returns:
        The message with `[redacted]` in place of each token.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        known += (os.environ.get(name, "").strip(),)
    for secret in filter(None, known):
        message = message.replace(secret, REDACTED)
    # Keep names such as hf_sentiment, which have no capitals or digits.
    return _POSSIBLE_TOKEN.sub(lambda match: match[0] if re.fullmatch("hf_[a-z]+", match[0]) else REDACTED, message)


def publishable(value: Any) -> Any:
    """Return a JSON value without tokens and local folders, and with None in place of NaN and infinity.

    The value of the key `command` is treated as the words of a command line, in which a token can follow a flag.
    """
    if isinstance(value, Mapping):
        return {
            publishable(str(name)): _redact_command(item) if name == "command" and item else publishable(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [publishable(item) for item in value]
    if isinstance(value, str):
        return _FOLDERS.sub("", _TOKEN.sub(REDACTED, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _redact_command(words: Sequence[str]) -> list[str]:
    redacted = []
    for previous, word in zip(["", *words], words, strict=False):
        flag = _TOKEN_FLAG.fullmatch(word)
        if flag and flag[2]:
            word = f"{flag[1]}={REDACTED}"
        elif _TOKEN_FLAG.fullmatch(previous) and "=" not in previous:
            word = REDACTED
        redacted.append(publishable(_POSSIBLE_TOKEN.sub(REDACTED, word)))
    return redacted
