"""The space of a search: which students and which training settings are tried."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hf_distill.functional import LOWEST_TEMPERATURE
from hf_distill.students import LAYER_CHOICES

ALL_NEURONS = "all"
VARIANTS = ("float32", "int8")
STUDENT_KINDS = ("depth", "static_dim", "students")


@dataclass(frozen=True)
class _Key:
    """What the values of a key of the space can be.

    Attributes:
        type: Type of a value.
        meaning: Completes the sentence "`key` takes ...".
        lowest: Lowest number.
        names: Words that are allowed; for numbers, beside numbers.
        has_range: Whether `{low, high, log}` is allowed.
    """

    type: type
    meaning: str
    lowest: float = -math.inf
    names: tuple[str, ...] = ()
    has_range: bool = False


_WEIGHT = _Key(float, "weights >= 0", 0.0, has_range=True)
_RATE = _Key(float, "learning rates > 0", 1e-12, has_range=True)
KEYS = {
    "depth": _Key(int, "numbers of the teacher's layers to copy, from 1", 1),
    "layers": _Key(str, f"names of layers to copy: {', '.join(LAYER_CHOICES)}", names=LAYER_CHOICES),
    "width": _Key(int, f"numbers of feed-forward neurons from 1, or {ALL_NEURONS}", 1, (ALL_NEURONS,)),
    "vocabulary": _Key(str, "`all` or `trimmed`", names=("all", "trimmed")),
    "static_dim": _Key(int, "sizes of token vectors, from 1", 1),
    "students": _Key(str, "paths or Hub ids of pretrained students"),
    "variant": _Key(str, f"variants of the export: {', '.join(VARIANTS)}", names=VARIANTS),
    "temperature": _Key(float, f"temperatures >= {LOWEST_TEMPERATURE}", LOWEST_TEMPERATURE, has_range=True),
    "soft_label_weight": _WEIGHT,
    "hard_label_weight": _WEIGHT,
    "learning_rate": _RATE,
    "static_learning_rate": _RATE,
    "augment": _Key(int, "numbers of variants of each labelled text, from 0", 0),
    "num_train_epochs": _Key(float, "numbers of epochs > 0", 1e-12, has_range=True),
}
# The flag of `hf-distill train` that a key sets; a user who passes the flag fixes the setting.
FLAGS = {
    "temperature": "temperature",
    "soft_label_weight": "soft_label_weight",
    "hard_label_weight": "hard_label_weight",
    "learning_rate": "learning_rate",
    "static_learning_rate": "learning_rate",
    "augment": "augment",
    "num_train_epochs": "num_train_epochs",
}


@dataclass(frozen=True)
class Dimension:
    """The values of one setting: choices, or a range of numbers.

    Attributes:
        choices: The values; empty for a range.
        low: The lowest number of a range.
        high: The highest number of a range.
        log: Whether the logarithm of the number is drawn evenly.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def highest(self) -> Any:
        """The highest value."""
        return max(self.choices) if self.choices else self.high

    @property
    def lowest(self) -> Any:
        """The lowest value."""
        return min(self.choices) if self.choices else self.low

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.choices)
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Space:
    """All settings that a search tries.

    Attributes:
        dimensions: Key of the space -> its values. Keys that are not searched are missing.
        fixed: Key -> why it is not searched.
    """

    dimensions: Mapping[str, Dimension]
    fixed: Mapping[str, str] = field(default_factory=dict)

    def choices(self, key: str) -> tuple[Any, ...]:
        """Return the choices of a key; empty if it is not searched."""
        return self.dimensions[key].choices if key in self.dimensions else ()

    def __str__(self) -> str:
        lines = [f"  {key}: {dimension}" for key, dimension in self.dimensions.items()]
        lines += [f"  {key}: not searched ({reason})" for key, reason in self.fixed.items()]
        return "\n".join(["Space of the search:", *lines])

    def to_dict(self) -> dict[str, str]:
        """Return the space as text by key, to compare it with the space of another search."""
        return {key: str(dimension) for key, dimension in self.dimensions.items()}


def default_dimensions(num_layers: int, intermediate_size: int | None, has_static: bool) -> dict[str, Dimension]:
    """Return what is searched if no file says otherwise.

    Args:
        num_layers: Number of layers of the teacher.
        intermediate_size: Number of feed-forward neurons in each layer of the teacher; None if its config names none.
        has_static: Whether static students can do the task.
    """
    depths = sorted({max(1, num_layers // part) for part in (6, 4, 3, 2)})
    widths = () if intermediate_size is None else (max(1, intermediate_size // 2),)
    return {
        "depth": Dimension(tuple(depths)),
        "layers": Dimension(("uniform", "first")),
        "width": Dimension((ALL_NEURONS, *widths)),
        "vocabulary": Dimension(("all",)),
        "static_dim": Dimension((256,) if has_static else ()),
        "students": Dimension(()),
        "variant": Dimension(VARIANTS),
        "temperature": Dimension(low=1.0, high=8.0, log=True),
        "hard_label_weight": Dimension(low=0.0, high=1.0),
        "learning_rate": Dimension(low=2e-5, high=5e-4, log=True),
        "static_learning_rate": Dimension(low=1e-3, high=3e-2, log=True),
        "num_train_epochs": Dimension((2.0, 3.0, 5.0)),
    }


def make_space(defaults: Mapping[str, Dimension], chosen: Mapping[str, Dimension], fixed: Mapping[str, str]) -> Space:
    """Put defaults, the user's file and the user's flags together.

    Args:
        defaults: What is searched if nothing says otherwise.
        chosen: What the file says. If it names a kind of student (`depth`, `static_dim` or `students`), the kinds that
            it does not name are left out.
        fixed: Key -> why it is not searched: a flag sets it, or the loss does not have it.

    Raises:
        ValueError: if the file has a key that is not searched or changes nothing, or if the space has no student.
    """
    if overlap := [key for key in chosen if key in fixed]:
        raise ValueError(f"The space has `{overlap[0]}`, but {fixed[overlap[0]]}. Remove one of the two.")
    names_kinds = any(key in chosen for key in STUDENT_KINDS)
    kept = {k: v for k, v in defaults.items() if k not in fixed and not (names_kinds and k in STUDENT_KINDS)}
    merged = {**kept, **chosen}
    dimensions = {key: merged[key] for key in KEYS if key in merged and (merged[key].choices or merged[key].high)}
    if not any(kind in dimensions for kind in STUDENT_KINDS):
        raise ValueError(
            "The space has no student: `depth`, `static_dim` and `students` are all empty. Name at least one, such as "
            "`depth: [2, 3]`, or leave all three out for the default."
        )
    unused = [] if "depth" in dimensions else ["layers", "width"]
    unused += [] if "depth" in dimensions or "static_dim" in dimensions else ["vocabulary"]
    unused += [] if "static_dim" in dimensions else ["static_learning_rate"]
    unused += [] if "depth" in dimensions or "students" in dimensions else ["learning_rate"]
    if ignored := [key for key in unused if key in chosen]:
        raise ValueError(f"The space has `{ignored[0]}`, which none of its students uses. Remove it.")
    return Space({key: value for key, value in dimensions.items() if key not in unused}, dict(fixed))


def read_space(path: Path, keys: Collection[str] = tuple(KEYS)) -> dict[str, Dimension]:
    """Read a file that maps keys of the space to a value, a list of choices, or `{low, high, log}`.

    Raises:
        ValueError: for a file that is not YAML, an unknown key, or a value that the key does not take; the message
            names the line.
        OSError: if the file cannot be read.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        place = "" if mark is None else f", line {mark.line + 1}"
        raise ValueError(f"{path.name}{place}: the file is not YAML.") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{path.name}: the space maps keys to values, such as `depth: [2, 3]`.")
    dimensions: dict[str, Dimension] = {}
    for key_node, value_node in root.value:
        place, key = f"{path.name}, line {key_node.start_mark.line + 1}", key_node.value
        if key not in keys:
            raise ValueError(f"{place}: there is no key {key!r}. The keys are {', '.join(keys)}.")
        if key in dimensions:
            raise ValueError(f"{place}: `{key}` is there for the second time. Remove one of the two.")
        dimensions[key] = _read_dimension(key, value_node, path.name)
    return dimensions


def _read_dimension(key: str, node: yaml.Node, file: str) -> Dimension:
    if isinstance(node, yaml.MappingNode):
        return _read_range(key, node, file)
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    choices = tuple(_read_value(key, item, file) for item in nodes)
    if not choices and key not in STUDENT_KINDS:
        raise ValueError(f"{_place(node, file)}: `{key}` needs at least one value.")
    if len(set(choices)) < len(choices):
        raise ValueError(f"{_place(node, file)}: `{key}` has a value twice: {', '.join(map(str, choices))}.")
    return Dimension(choices)


def _read_range(key: str, node: yaml.MappingNode, file: str) -> Dimension:
    place = _place(node, file)
    if not KEYS[key].has_range:
        raise ValueError(f"{place}: `{key}` takes a list of choices, not a range.")
    parts = {name.value: value for name, value in node.value}
    if not {"low", "high"} <= parts.keys() <= {"low", "high", "log"}:
        raise ValueError(f"{place}: the range of `{key}` needs low and high, and can have log; got {list(parts)}.")
    log = parts["log"].value.lower() if "log" in parts else "false"
    if log not in ("true", "false"):
        raise ValueError(f"{place}: `log` of `{key}` is true or false, got {parts['log'].value!r}.")
    low, high = (_read_value(key, parts[name], file) for name in ("low", "high"))
    if not low < high:
        raise ValueError(f"{place}: `low` of `{key}` must be below `high`, got {low:g} and {high:g}.")
    if log == "true" and low <= 0:
        raise ValueError(f"{place}: a logarithmic range of `{key}` must start above 0, got {low:g}.")
    return Dimension(low=low, high=high, log=log == "true")


def _read_value(key: str, node: yaml.Node, file: str) -> Any:
    rule, text = KEYS[key], node.value
    if isinstance(node, yaml.ScalarNode) and text:
        if text in rule.names or (rule.type is str and not rule.names):
            return text
        try:
            number = rule.type(text)
        except ValueError:
            number = None
        if rule.type is not str and number is not None and rule.lowest <= number < math.inf:
            return number
    shown = repr(text) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
    raise ValueError(f"{_place(node, file)}: `{key}` takes {rule.meaning}; got {shown}.")


def _place(node: yaml.Node, file: str) -> str:
    return f"{file}, line {node.start_mark.line + 1}"
