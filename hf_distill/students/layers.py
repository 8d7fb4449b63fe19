"""Students with the teacher's architecture and some of its layers; `build_student` fills any student with weights."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from hf_distill.classifiers.loading import keep_origin

# Lists in a config with one entry per layer; the model reads them by layer index.
PER_LAYER_LISTS = ("layer_types", "no_rope_layers")

LAYER_CHOICES = ("uniform", "first", "last")


def select_layers(num_teacher_layers: int, num_student_layers: int, choice: str = "uniform") -> list[int]:
    r"""Choose layers of the teacher: evenly spaced ones, the first or the last.

    Evenly spaced layers include the first and the last:

    $$l_i = \mathrm{round}\left(i \, \frac{N - 1}{n - 1}\right), \qquad i = 0, \dots, n - 1$$

    Halves are rounded to even: 6 of 12 layers are 0, 2, 4, 7, 9, 11, and 3 of 6 are 0, 2, 5. A student with one layer
    gets layer 0.

    Args:
        num_teacher_layers: Number of layers of the teacher.
        num_student_layers: Number of layers of the student.
        choice: `"uniform"`, `"first"` or `"last"`.

    Returns:
        `num_student_layers` indices, increasing.

    Raises:
        ValueError: unless 1 <= `num_student_layers` <= `num_teacher_layers`, or for an unknown choice.
    """
    if not 1 <= num_student_layers <= num_teacher_layers:
        raise ValueError(
            f"The student's number of layers must be from 1 to {num_teacher_layers}, the number of layers that can "
            f"be copied, got {num_student_layers}. Create a deeper student yourself."
        )
    if choice not in LAYER_CHOICES:
        raise ValueError(f"`layers` must be one of {', '.join(LAYER_CHOICES)} or a list of indices, got {choice!r}.")
    if choice == "last":
        return list(range(num_teacher_layers - num_student_layers, num_teacher_layers))
    if choice == "first" or num_student_layers == 1:
        return list(range(num_student_layers))
    # Only one division, of two integers, so that a half is exactly a half.
    return [round(i * (num_teacher_layers - 1) / (num_student_layers - 1)) for i in range(num_student_layers)]


def keep_layers(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Copy the teacher with only the given layers.

    Args:
        teacher: The teacher.
        layers: Indices of the layers to keep, increasing.

    Raises:
        ValueError: if the teacher's layers cannot be found, if another layer cannot take the place of its layer 0, or
            if its weights do not fit a model made from its config.
    """
    stack_name, stack = find_stack(teacher)
    _check_first_layer(stack, layers[0])
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = len(layers)
    for name in PER_LAYER_LISTS:
        if name in vars(config):
            setattr(config, name, [getattr(config, name)[layer] for layer in layers])
    config.validate()  # a per-layer list that is not known here fails now, not when the trained student is saved
    weights = _renumbered(teacher.state_dict(), f"{stack_name}.", layers)
    return build_student(type(teacher), config, weights, teacher)


def build_student(
    student_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    weights: Mapping[str, Tensor],
    teacher: PreTrainedModel,
) -> PreTrainedModel:
    """Build a model and fill it with copies of `weights`.

    Args:
        student_class: Class of the model.
        config: Config of the model.
        weights: State dict of the model, converted to float32.
        teacher: Model from which the weights come.

    Returns:
        The model, on the teacher's device and in eval mode.

    Raises:
        ValueError: if names or shapes of `weights` are not the ones of the model.
    """
    student = student_class(config)
    expected_shapes = {name: weight.shape for name, weight in student.state_dict().items()}
    shapes = {name: weight.shape for name, weight in weights.items()}
    if shapes != expected_shapes:
        differing = sorted(name for name in expected_shapes | shapes if expected_shapes.get(name) != shapes.get(name))
        raise ValueError(
            f"The weights of this {type(teacher).__name__} do not fit a {student_class.__name__} made from its "
            f"config: {len(differing)} differ, e.g. {differing[:3]}. Undo changes to its modules. "
            "If the kind of a layer depends on its position, choose other `layers`."
        )
    # Training in 16-bit weights would round most updates away; `bf16=True` trains in mixed precision.
    copies = {name: _copy_in_float32(weight) for name, weight in weights.items()}
    config.dtype = torch.float32
    # `assign` instead of copying: buffers that are not saved (rotary frequencies) keep the dtype that they have after
    # `from_pretrained`.
    student.load_state_dict(copies, assign=True)
    student.tie_weights()
    keep_origin(teacher, student)
    return student.to(teacher.device).eval()  # type: ignore[arg-type]  # transformers hides the signature of `to`


def _copy_in_float32(weight: Tensor) -> Tensor:
    return weight.clone().float() if weight.is_floating_point() else weight.clone()


def find_stack(teacher: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of a model's layers.

    Raises:
        ValueError: unless one list of modules has `config.num_hidden_layers` modules.
    """
    num_layers = teacher.config.num_hidden_layers
    lists = {name: module for name, module in teacher.named_modules() if isinstance(module, nn.ModuleList)}
    # A list inside another list belongs to one layer (e.g. experts). If it has the right length, that is chance.
    outermost = {name: m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}
    stacks = [(name, module) for name, module in outermost.items() if len(module) == num_layers]
    if len(stacks) != 1:
        lengths = {name: len(module) for name, module in outermost.items()}
        raise ValueError(
            f"Cannot find the layers of this {type(teacher).__name__}: expected one nn.ModuleList of {num_layers} "
            f"modules (`config.num_hidden_layers`), found {len(stacks)} in {lengths}. Create the student yourself."
        )
    return stacks[0]


def _check_first_layer(stack: nn.ModuleList, first: int) -> None:
    # ModernBERT's layer 0 has no attention norm; another layer in its place would lose its attention norm.
    names = [{name for name, _ in stack[layer].named_parameters()} for layer in (0, first)]
    if names[0] != names[1]:
        raise ValueError(
            f"Layer 0 of this teacher differs from layer {first} (only one of them has "
            f"{sorted(names[0] ^ names[1])}), so layer {first} cannot take its place. Keep layer 0: start `layers` "
            "with 0."
        )


def _renumbered(weights: Mapping[str, Tensor], prefix: str, layers: Sequence[int]) -> dict[str, Tensor]:
    new_prefixes = {f"{prefix}{old}": f"{prefix}{new}" for new, old in enumerate(layers)}
    kept = {}
    for name, weight in weights.items():
        if name.startswith(prefix):
            layer, rest = name.removeprefix(prefix).split(".", 1)
            if prefix + layer not in new_prefixes:
                continue
            name = f"{new_prefixes[prefix + layer]}.{rest}"
        kept[name] = weight
    return kept
