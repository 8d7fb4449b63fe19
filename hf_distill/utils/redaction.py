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
_SECRET_FLAG = re.compile(r"--[\w-]*(?:token|key|secret|passw)[\w-]*", re.IGNORECASE)
# Letters and digits without a gap, as long as the shortest keys; or the parts of a JSON web token.
_LONG_VALUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+=:~-]{16,}|eyJ[\w.-]{16,}")
# Where a path from a root starts: /, ~/, ~user/, ./, ../, C:\ or \\.
_ROOT = r"(?:file://)?(?:[A-Za-z]:|~[\w.-]*|\.{1,2})?[/\\]+(?=[^/\\\s])"
_PATH = re.compile(rf"""(?:^|(?<=[\s=,;"'(\[{{])){_ROOT}""")
# The text is a path, or names with paths: --data_dir=/data, int8=/a/b.
_IS_PATH = re.compile(rf"(?:-{{0,2}}[\w-]+=)?{_ROOT}")
# Where a path ends: before another path or an address; within a sentence also at a mark that ends a word.
_NEXT_PATH = re.compile(rf"""(?:[\s=,;(\[{{]|(?<!\w)["'])+(?={_ROOT}|\w+://)""")
_END_OF_PATH = re.compile(rf"""{_NEXT_PATH.pattern}|[,;"')\]}}]+(?=[\s,;:)\]}}]|$)""")


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


def secret_values(words: Sequence[str]) -> list[str]:
    """Return the values on a command line that follow flags for tokens, keys and passwords, misspelled ones too."""
    flags = [(word.partition("="), following) for word, following in zip(words, [*words, ""][1:], strict=True)]
    values = [value if equals else following for (name, equals, value), following in flags if _SECRET_FLAG.match(name)]
    return [value for value in values if len(value) > 3]  # a shorter one is part of many words


def without_values(message: str, words: Sequence[str]) -> str:
    """Return a message without the values of a command line that can be tokens.

    Args:
        message: The message.
        words: The words of the command line: flags and values, or both in one word.
    """
    values = [word.partition("=")[2] if word.startswith("--") else word for word in words]
    for value in [*secret_values(words), *filter(_LONG_VALUE.fullmatch, values)]:
        message = message.replace(value, REDACTED)
    return message


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
        return _without_folders(_TOKEN.sub(REDACTED, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _without_folders(text: str) -> str:
    """Shorten every path that starts at a root to its last part; names of folders can contain any mark."""
    end_of_path = _NEXT_PATH if _IS_PATH.match(text) else _END_OF_PATH
    parts, position = [], 0
    while (start := _PATH.search(text, position)) is not None:
        end = end_of_path.search(text, start.end())
        stop = len(text) if end is None else end.start()
        name = re.search(r"[^/\\]*[/\\]*$", text[start.end() : stop])
        parts += [text[position : start.start()], name[0] if name else ""]
        position = stop
    return "".join([*parts, text[position:]])


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
