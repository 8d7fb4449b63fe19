"""`create_student`: make a student that starts from the teacher's weights."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hf_distill.classifiers.adapters import merge_adapters
from hf_distill.classifiers.auto import AutoModelForSequenceClassification
from hf_distill.classifiers.loading import load_pretrained, read_config
from hf_distill.classifiers.problem_types import without_adapter
from hf_distill.classifiers.sharding import check_not_partitioned
from hf_distill.students.distilbert import bert_to_distilbert
from hf_distill.students.feed_forward import check_intermediate_size, keep_neurons
from hf_distill.students.layers import keep_layers, select_layers
from hf_distill.utils.hub_names import split_revision

# (`model_type` of the teacher, `architecture` of the student) -> function of the teacher and the layers to copy.
CONVERSIONS = {("bert", "distilbert"): bert_to_distilbert}


def create_student(
    teacher: PreTrainedModel | str | os.PathLike[str],
    num_hidden_layers: int | None = None,
    *,
    layers: Sequence[int] | str | None = None,
    architecture: str | None = None,
    intermediate_size: int | None = None,
    calibration_batches: Iterable[Mapping[str, Any]] | None = None,
    freeze_embeddings: bool = False,
) -> PreTrainedModel:
    """Make a student from some of the teacher's layers, with the teacher's embeddings, head and label names.

    The student shares no memory with the teacher, and the teacher is not changed. The student has float32 weights,
    whatever the teacher's dtype, and the teacher's device. It is in eval mode as after `from_pretrained`, and its
    parameters require gradients. Its `config.name_or_path` is the teacher's.

    With `architecture="distilbert"` a BERT becomes a DistilBERT. If all layers are kept, the last hidden states of a
    single text equal the teacher's, but the logits do not: DistilBERT's head applies a ReLU where BERT's pooler
    applies tanh. The segments of sentence pairs are lost: DistilBERT reads both sentences as segment 0.

    Any other model can be a student without this function: pass it to the trainer.

    Args:
        teacher: A model with a task head, or the path or Hub id (`user/name@revision` for a revision) of a sequence
            classifier, which is loaded in float32. Load a model with any other head yourself. The student gets its
            weights with its active PEFT adapters merged into them.
        num_hidden_layers: Number of layers of the student, chosen by [`select_layers`].
        layers: Indices of the teacher's layers to keep, from 0, increasing; instead of `num_hidden_layers`. Or,
            beside `num_hidden_layers`, which layers to keep: `"uniform"` (the default), `"first"` or `"last"`.
        architecture: `"distilbert"` for a BERT teacher, or the teacher's `model_type`, which is the default.
        intermediate_size: Number of feed-forward neurons to keep in each layer, by their importance on
            `calibration_batches`; see [`~hf_distill.students.keep_neurons`]. None keeps all of them. If it or
            `architecture` is given, `num_hidden_layers` and `layers` can both be left out, and all layers are kept.
        calibration_batches: Batches of model inputs as tensors, a few hundred rows of text like the text that the
            student will read; needed with `intermediate_size`.
        freeze_embeddings: Whether to leave the word embeddings untrained: the optimizer of a small student spends
            much of a step on them (`benchmarks/README.md`).

    Returns:
        The student, of the teacher's class unless `architecture` says otherwise.

    Raises:
        TypeError: if the teacher is a compiled or wrapped model.
        ValueError: if layers, architecture or neurons are not possible for this teacher, if the teacher is quantized,
            if its adapters cannot be merged, or if DeepSpeed ZeRO-3 has sharded its weights.

    Example:
    ```python
    student = create_student(teacher, num_hidden_layers=6)
    student = create_student("textattack/bert-base-uncased-SST-2", layers=[0, 5, 11], architecture="distilbert")
    student = create_student(teacher, 3, layers="first", intermediate_size=512, calibration_batches=dataloader)
    ```
    """
    config = _read_config(teacher)
    model: Any = _load(teacher) if config is None else teacher  # the folder of an adapter has no config
    config = config or model.config
    kept = layers_to_keep(config, num_hidden_layers, layers, architecture, intermediate_size)
    _check_calibration(intermediate_size, calibration_batches)
    is_same = architecture in (None, config.model_type)
    copy_layers = keep_layers if is_same else CONVERSIONS[config.model_type, str(architecture)]
    model = _load(model) if isinstance(model, str | os.PathLike) else model
    check_not_partitioned(model, "`create_student`")
    student = copy_layers(merge_adapters(model), kept)
    if intermediate_size is not None and calibration_batches is not None:
        student = keep_neurons(student, intermediate_size, calibration_batches)
    if freeze_embeddings:
        student.get_input_embeddings().requires_grad_(False)
    return student


def _load(name_or_path: Any) -> PreTrainedModel:
    name, revision = split_revision(name_or_path)
    arguments = {"revision": revision or "main", "dtype": torch.float32}
    return load_pretrained(AutoModelForSequenceClassification, name, arguments)[0]


def _read_config(teacher: Any) -> PreTrainedConfig | None:
    """Return the teacher's config, so that errors are raised before weights are loaded; None for an adapter."""
    if isinstance(teacher, str | os.PathLike):
        return read_config(*split_revision(teacher))
    if not isinstance(without_adapter(teacher), PreTrainedModel):
        raise TypeError(
            f"`teacher` must be a transformers PreTrainedModel, a path or a Hub id, got {type(teacher).__name__}. "
            "Unwrap a compiled or parallel model."
        )
    return teacher.config


def _check_layers_can_be_copied(config: PreTrainedConfig) -> None:
    # transformers sets this attribute of a config only if the weights are quantized.
    if "quantization_config" in vars(config):
        raise ValueError(
            "The model is quantized: its weights cannot be copied into a student that is trained. Load it without "
            "quantization, or call its `dequantize()` first."
        )
    if config.model_type == "albert":
        raise ValueError(
            "The layers of an ALBERT share one set of weights, so no layer can be dropped. Set `num_hidden_layers` in "
            "its config to run them fewer times, or choose another student."
        )


def _check_architecture(architecture: str | None, config: PreTrainedConfig) -> None:
    possible = [config.model_type, *(target for source, target in CONVERSIONS if source == config.model_type)]
    if architecture is not None and architecture not in possible:
        conversions = "; ".join(f"{target!r} needs a {source!r} model" for source, target in CONVERSIONS)
        raise ValueError(
            f"`architecture={architecture!r}` cannot be made from a {config.model_type!r} model; possible: "
            f"{', '.join(possible)} ({conversions}). Create any other student yourself."
        )


def _check_calibration(intermediate_size: int | None, calibration_batches: Any) -> None:
    if (intermediate_size is None) != (calibration_batches is None):
        given, missing = "intermediate_size", "calibration_batches"
        if intermediate_size is None:
            given, missing = missing, given
        raise ValueError(
            f"`{given}` needs `{missing}`: the neurons to keep are the most important ones on these texts. Pass both "
            "or neither."
        )


def layers_to_keep(
    config: PreTrainedConfig,
    num_hidden_layers: int | None,
    layers: Sequence[int] | str | None,
    architecture: str | None,
    intermediate_size: int | None,
) -> list[int]:
    """Return the indices of the layers that [`create_student`] copies from a teacher with this config.

    Raises:
        ValueError: if the teacher does not have these layers or neurons, cannot get this architecture, or has no
            weights that can be copied.
    """
    _check_architecture(architecture, config)
    if intermediate_size is not None:
        check_intermediate_size(config, intermediate_size)
    _check_layers_can_be_copied(config)
    keeps_all = architecture is not None or intermediate_size is not None
    return _kept_layers(config.num_hidden_layers, num_hidden_layers, layers, keeps_all)


def _kept_layers(
    num_teacher_layers: int, num_hidden_layers: int | None, layers: Sequence[int] | str | None, keeps_all: bool
) -> list[int]:
    if num_hidden_layers is not None:
        if layers is not None and not isinstance(layers, str):
            raise ValueError(
                f"Pass `num_hidden_layers` or the indices of `layers`, not both: got {num_hidden_layers} and "
                f"{list(layers)}."
            )
        return select_layers(num_teacher_layers, num_hidden_layers, layers or "uniform")
    if isinstance(layers, str):
        raise ValueError(f"`layers={layers!r}` needs `num_hidden_layers`: how many layers to keep.")
    if layers is None:
        if not keeps_all:
            raise ValueError(
                "Pass `num_hidden_layers` (how many layers, half of them for example) or `layers` (which layers). "
                "Both can be left out only with `architecture` or `intermediate_size`: all layers are then kept."
            )
        return list(range(num_teacher_layers))
    kept = list(layers)
    if not kept or kept != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= num_teacher_layers:
        raise ValueError(
            "`layers` must be one or more indices, increasing, without repeats, each from 0 to "
            f"{num_teacher_layers - 1} ({num_teacher_layers} layers can be copied), got {kept}."
        )
    return kept
