"""Layer mappings: which layer of the teacher each layer of the student learns from."""

from collections.abc import Mapping

LayerMapping = str | Mapping[int, int]

LAYER_MAPPINGS = ("uniform", "last", "skip")


def read_layer_mapping(value: LayerMapping, objective: str) -> LayerMapping:
    """Check a layer mapping before the depths of the models are known.

    Args:
        value: A name, or pairs {student layer: teacher layer}; keys from JSON are strings.
        objective: Name of the objective, for error messages.

    Returns:
        The name, or pairs of integers sorted by the student's layer.

    Raises:
        ValueError: for an unknown name, or if the value does not contain pairs of layers.
    """
    if isinstance(value, str) and value in LAYER_MAPPINGS:
        return value
    pairs = {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
    if not pairs or not all(k.isdigit() and type(v) is int and v >= 0 for k, v in pairs.items()):
        raise ValueError(
            f"`layer_mapping` of `{objective}` is {value!r}. Use {', '.join(LAYER_MAPPINGS)}, or pairs "
            "{student layer: teacher layer}, for instance {2: 4, 3: 6}; layer 0 is the embeddings."
        )
    return dict(sorted((int(k), v) for k, v in pairs.items()))


def layer_pairs(
    mapping: LayerMapping, num_student_layers: int, num_teacher_layers: int, objective: str, first: int = 0
) -> list[tuple[int, int]]:
    r"""Return pairs (student layer, teacher layer) for a student with $n$ and a teacher with $N$ layers.

    - `uniform`: every student layer $l$ learns from teacher layer $\mathrm{round}(l N / n)$ (Jiao et al., 2020,
      https://huggingface.co/papers/1909.10351). A student with 6 of 12 layers learns from 2, 4, 6, 8, 10, 12.
    - `skip`: every student layer $l$ except the last learns from teacher layer $l \lfloor N / n \rfloor$ (PKD-Skip,
      Sun et al., 2019, https://huggingface.co/papers/1908.09355). A student with 6 of 12 layers learns from 2, 4, 6,
      8, 10.
    - `last`: the last student layer learns from the last teacher layer.

    Args:
        mapping: One of these names, or pairs; layer 0 is the embeddings.
        num_student_layers: Number of layers of the student.
        num_teacher_layers: Number of layers of the teacher.
        objective: Name of the objective, for error messages.
        first: The lowest layer that pairs can contain: 0, or 1 if the objective cannot compare embeddings.

    Raises:
        ValueError: if the mapping does not fit the numbers of layers.
    """
    if not isinstance(mapping, str):
        _check_layers("student", list(mapping), num_student_layers, objective, first)
        _check_layers("teacher", list(mapping.values()), num_teacher_layers, objective, first)
        return list(mapping.items())
    if mapping == "last":
        return [(num_student_layers, num_teacher_layers)]
    _check_depths(mapping, num_student_layers, num_teacher_layers, objective)
    if mapping == "skip":
        ratio = num_teacher_layers // num_student_layers
        return [(layer, layer * ratio) for layer in range(1, num_student_layers)]
    # round(l N / n) in integers; halves are rounded up.
    n, N = num_student_layers, num_teacher_layers
    return [(layer, (2 * layer * N + n) // (2 * n)) for layer in range(1, n + 1)]


def _check_layers(side: str, layers: list[int], num_layers: int, objective: str, first: int) -> None:
    for layer in layers:
        if not first <= layer <= num_layers:
            raise ValueError(
                f"`layer_mapping` of `{objective}` names layer {layer} of the {side}, but only layers {first} to "
                f"{num_layers} of the {side} can be compared" + ("; layer 0 is the embeddings." if first == 0 else ".")
            )


def _check_depths(mapping: str, num_student_layers: int, num_teacher_layers: int, objective: str) -> None:
    if mapping == "skip" and num_student_layers == 1:
        reason = "leaves out the last layer, and the student has only one layer"
    elif num_student_layers > num_teacher_layers:
        reason = (
            "needs a teacher with at least as many layers as the student, but the student has "
            f"{num_student_layers} layers and the teacher has {num_teacher_layers}"
        )
    else:
        return
    raise ValueError(
        f"`layer_mapping` '{mapping}' of `{objective}` {reason}. Use 'last', or pairs "
        "{student layer: teacher layer}."
    )
