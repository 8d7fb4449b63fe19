"""How a run differs from the run of a checkpoint: in parts that cannot change, and in settings that can."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Names of parts whose differences are described in their own words.
ROWS, EVALUATION_ROWS = "training rows", "evaluation rows, by which the best checkpoint is chosen"
CHOICE = "choice of the best checkpoint"
TEXTS = "texts as the teacher reads them"


@dataclass(frozen=True)
class RunFingerprint:
    """Identifies a run.

    Attributes:
        identity: The parts that every checkpoint of a run shares, by their names in messages. A part that is not known
            is None and is not compared.
        settings: The settings that can change when a run is resumed.
    """

    identity: dict[str, Any]
    settings: dict[str, Any]

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Return what differs between this run and the saved identity of another one, a phrase for each part."""
        pairs = {part: (saved.get(part), now) for part, now in self.identity.items()}
        phrases = (_difference(part, *pair) for part, pair in pairs.items() if None not in pair)
        return [phrase for phrase in phrases if phrase]

    def without_choice(self) -> "RunFingerprint":
        """Return the same without the rule for the best checkpoint, for a run that has not chosen one."""
        return replace(self, identity={**self.identity, CHOICE: None, EVALUATION_ROWS: None})

    def changes(self, saved: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the settings that have changed since they were saved: name -> [before, now]."""
        now = self.settings
        return {name: [saved[name], now[name]] for name in now if name in saved and saved[name] != now[name]}


def _difference(part: str, saved: Any, now: Any) -> str | None:
    """Describe a difference in a few words; None if there is none."""
    if part == ROWS:
        return _difference_of_rows(part, saved, now)
    if part == EVALUATION_ROWS:
        pairs = {f"{part}, {name!r}": (saved.get(name), now.get(name)) for name in {**saved, **now}}
        phrases = (_difference_of_rows(name, *pair) for name, pair in pairs.items() if None not in pair)
        return next(filter(None, phrases), None)
    if saved == now or (part == "temperatures of the teacher" and _are_close(saved, now)):
        return None
    if part == "teacher":
        return _difference_of_teachers(saved, now)
    if part == TEXTS:
        return f"the {part} (another text column, or another tokenizer or maximum length of the teacher)"
    if isinstance(saved, dict) and isinstance(now, dict):
        # None and a missing entry are equal: a collator has no generator before its first use.
        places = [f"{name}: {a} there, {b} now" for name, a, b in _unequal_places(saved, now)]
        return f"the {part} ({'; '.join(places[:3])})" if places else None
    return f"the {part} ({saved} there, {now} now)"


def _are_close(saved: Sequence[float], now: Sequence[float]) -> bool:
    """Return whether temperatures only differ by rounding, as those of a live teacher and its stored outputs do."""
    return len(saved) == len(now) and all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(saved, now, strict=True))


def _difference_of_teachers(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    names = [side.get("name", "no teacher") for side in (saved, now)]
    if {**saved, "name": ""} == {**now, "name": ""}:  # the same weights in another folder
        return None
    if names[0] == names[1]:
        return f"the teacher (both are named {names[0]}, and their weights, configs or settings differ)"
    return f"the teacher ({names[0]} there, {names[1]} now)"


def _difference_of_rows(part: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if saved["number"] != now["number"]:
        return f"the {part} ({saved['number']:,} there, {now['number']:,} now)"
    before, after = saved["columns"], now["columns"]
    # A column that only one side has counts if the training reads it there.
    one_sided = (set(before) ^ set(after)) & (set(saved["read"]) | set(now["read"]))
    unequal = {name for name in before.keys() & after.keys() if before[name] != after[name]} | one_sided
    return f"the {part} (columns {', '.join(sorted(unequal))})" if unequal else None


def _unequal_places(saved: Any, now: Any, place: str = "") -> list[tuple[str, Any, Any]]:
    """Return the places where two JSON values differ, with both values."""
    if isinstance(saved, dict) and isinstance(now, dict):
        return [
            unequal
            for name in sorted(saved.keys() | now.keys())
            for unequal in _unequal_places(saved.get(name), now.get(name), f"{place}.{name}" if place else name)
        ]
    return [] if saved == now else [(place, saved, now)]
