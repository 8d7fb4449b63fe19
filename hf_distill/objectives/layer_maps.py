"""Which layer of the student learns from which of the teacher."""

from collections.abc import Mapping

LayerMapping = str | Mapping[int, int]

LAYER_MAPPINGS = ("uniform", "last", "skip")


def read_layer_mapping(value: LayerMapping, what: str) -> LayerMapping:
    """Check a layer mapping before the depths of the models are known.

    Args:
        value: A name, or pairs {student layer: teacher layer}; in JSON the keys are texts.
        what: Whose it is, for the message.

    Returns:
        The name, or pairs of integers in the order of the student's layers.

    Raises:
        ValueError: for an unknown name or what are no pairs of layers.
    """
    if isinstance(value, str) and value in LAYER_MAPPINGS:
        return value
    pairs = {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
    if not pairs or not all(k.isdigit() and type(v) is int and v >= 0 for k, v in pairs.items()):
        raise ValueError(
            f"`layer_mapping` of {what} is {value!r}. Give {', '.join(LAYER_MAPPINGS)}, or pairs "
            "{student layer: teacher layer}, for instance {2: 4, 3: 6}; 0 is the embeddings."
        )
    return dict(sorted((int(k), v) for k, v in pairs.items()))


def layer_pairs(
    mapping: LayerMapping, num_student_layers: int, num_teacher_layers: int, what: str, first: int = 0
) -> list[tuple[int, int]]:
    r"""Return pairs (student layer, teacher layer) for two depths $n$ and $N$.

    - `uniform`: every layer of the student, from layer $l$ to $\mathrm{round}(l N / n)$ (Jiao et al., 2020,
      https://huggingface.co/papers/1909.10351): 6 of 12 learn from 2, 4, 6, 8, 10, 12.
    - `skip`: all but the last, from $l$ to $l \lfloor N / n \rfloor$ (PKD-Skip of Sun et al., 2019,
      https://huggingface.co/papers/1908.09355): 6 of 12 learn from 2, 4, 6, 8, 10.
    - `last`: the last from the last.

    Args:
        mapping: One of these names, or pairs, 0 for the embeddings.
        num_student_layers: Depth of the student.
        num_teacher_layers: Depth of the teacher.
        what: Whose mapping it is, for the messages.
        first: The first layer that there is: 0, or 1 where embeddings have nothing to compare.

    Raises:
        ValueError: if the mapping does not fit the depths.
    """
    depths = f"the student has {num_student_layers} layers and the teacher {num_teacher_layers}"
    if not isinstance(mapping, str):
        for side, layer, depth in [
            *(("student", layer, num_student_layers) for layer in mapping),
            *(("teacher", layer, num_teacher_layers) for layer in mapping.values()),
        ]:
            if not first <= layer <= depth:
                raise ValueError(
                    f"`layer_mapping` of {what} names layer {layer} of the {side}, and {depths}. Name layers from "
                    f"{first} to the {side}'s {depth}" + ("; 0 is the embeddings." if first == 0 else ".")
                )
        return list(mapping.items())
    if mapping == "last":
        return [(num_student_layers, num_teacher_layers)]
    if num_student_layers > num_teacher_layers or (mapping == "skip" and num_student_layers == 1):
        raise ValueError(
            f"`layer_mapping` {mapping!r} of {what} "
            + ("leaves the last layer out" if num_student_layers == 1 else "gives every layer a deeper one or itself")
            + f", and {depths}. Use 'last', or name the pairs {{student layer: teacher layer}}."
        )
    ratio = num_teacher_layers // num_student_layers
    if mapping == "skip":
        return [(layer, layer * ratio) for layer in range(1, num_student_layers)]
    # Halves up, in integers.
    n, N = num_student_layers, num_teacher_layers
    return [(layer, (2 * layer * N + n) // (2 * n)) for layer in range(1, n + 1)]
