"""The first trials of a search: each kind of student once, with the settings of the recipes."""

from collections.abc import Sequence
from typing import Any

from hf_distill.search.architectures import Architecture
from hf_distill.search.halving import ARCHITECTURE
from hf_distill.search.space import Dimension, Space

# The settings of `recipes/`, and Trainer's default number of epochs.
_SETTINGS = {
    "layers": "uniform",
    "temperature": 2.0,
    "soft_label_weight": 1.0,
    "hard_label_weight": 0.1,
    "learning_rate": 1e-4,
    "static_learning_rate": 1e-2,
    "augment": 0,
    "num_train_epochs": 3.0,
}


def list_starts(architectures: Sequence[Architecture], space: Space) -> list[dict[str, Any]]:
    """Return the parameters of the first trials, the cheapest student first.

    There is one for each depth, static size and pretrained student: its cheapest architecture with all neurons, since
    a student that fails with good settings says more than one that fails with settings that chance has drawn. A
    setting that the space does not have is replaced by the nearest one that it has.

    Args:
        architectures: The architectures that are searched, the cheapest first.
        space: The space.
    """
    chosen: dict[tuple[Any, ...], int] = {}
    for needs_all_neurons in (True, False):  # a space can have only narrower students
        for index, architecture in enumerate(architectures):
            if architecture.width is None or not needs_all_neurons:
                chosen.setdefault((architecture.depth, architecture.static_dim, architecture.student), index)
    settings = {key: _nearest(space.dimensions[key], _SETTINGS[key]) for key in _SETTINGS if key in space.dimensions}
    return [{ARCHITECTURE: index, **settings} for index in sorted(chosen.values())]


def _nearest(dimension: Dimension, value: Any) -> Any:
    if not dimension.choices:
        return min(max(value, dimension.low), dimension.high)
    if value in dimension.choices:
        return value
    if isinstance(value, str):
        return dimension.choices[0]
    return min(dimension.choices, key=lambda choice: abs(choice - value))
