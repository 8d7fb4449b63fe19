"""The stage of a command that runs now: progress bars carry its title."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_titles: ContextVar[Mapping[str, str] | None] = ContextVar("titles", default=None)
_current: ContextVar[str] = ContextVar("current", default="")


@contextmanager
def titled_stages(titles: Mapping[str, str]) -> Iterator[None]:
    """Give stages titles within a block.

    Args:
        titles: Name of a stage, as [`stage`] gets it -> what progress bars show.
    """
    token = _titles.set(titles)
    try:
        yield
    finally:
        _titles.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Mark a block as a stage. A stage without a title changes nothing."""
    token = _current.set((_titles.get() or {}).get(name, _current.get()))
    try:
        yield
    finally:
        _current.reset(token)


def current_title() -> str:
    """Return the title of the stage that runs now; empty if it has none."""
    return _current.get()
