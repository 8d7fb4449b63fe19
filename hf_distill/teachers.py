"""Teachers: from a batch to `ClassifierOutputs`; frozen, without a graph, on their own inputs."""

import contextlib
import inspect
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from hf_distill import functional
from hf_distill._placement import gather_in_forward, is_partitioned, is_placed, move, shard
from hf_distill.outputs import COLUMNS, TEACHER_LOGITS, Batch, ClassifierOutputs
from hf_distill.problem_types import PROBLEM_TYPES, ProblemType, auto_model, problem_type_of_head, without_adapter
from hf_distill.reading import prepare_to_show, read_outputs

logger = logging.get_logger(__name__)


class BaseTeacher:
    """What a teacher is to the Trainer: some columns of a batch go in, outputs in the student's order come out.

    Whatever else it takes (other token ids, a store, a function to call) is done to the data set beforehand and is
    one of the columns. A subclass says which columns it reads, and how outputs are made of them.

    Attributes:
        columns: What it reads of a batch, if it is there.
        needs: Those without which it can say nothing.
        reads: What is read of it: names of fields of [`ClassifierOutputs`].
        label_order: Its class for each of the student's; None for the same order.
        temperature: What its logits are divided by, its calibration. The objective's temperature comes on top.
        is_stored: Whether its outputs are columns of the data set.
    """

    columns: frozenset[str]
    needs: frozenset[str]
    is_stored: bool = False
    reads: frozenset[str] = frozenset({"logits"})
    label_order: list[int] | None = None
    temperature: float = 1.0

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`], the logits if there are none.

        Raises:
            ValueError: for what it cannot show.
        """
        if missing := sorted(set(reads) - {"logits"}):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, and {type(self).__name__} shows logits "
                "alone. Pass one model as `teacher_model`, or choose objectives on the logits."
            )

    @property
    def shows_logits(self) -> bool:
        """Whether its logits are known."""
        return True

    def covers(self, batch: Batch) -> bool:
        """Whether this batch is enough to know the teacher's outputs."""
        return self.needs <= batch.keys()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ClassifierOutputs:
        """Return the teacher's outputs: calibrated logits in float32, in the student's label order.

        Raises:
            ValueError: if a column is missing that it needs.
        """
        if not self.covers(batch):
            missing = ", ".join(f"`{name}`" for name in sorted(self.needs - batch.keys()))
            raise ValueError(
                f"The teacher cannot be asked: the data set has no column {missing}. Pass `teacher_model`, or add its "
                f"logits as a column `{TEACHER_LOGITS}`."
            )
        outputs = self._outputs(batch)
        if outputs.logits is None:
            return outputs
        logits = outputs.logits.float()
        if self.temperature != 1.0:  # of a language model they are half a gigabyte: no copy without need
            logits = logits / self.temperature
        return replace(outputs, logits=logits if self.label_order is None else logits[..., self.label_order])

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        """Return what the teacher says, in its own order of the classes."""
        raise NotImplementedError


class Teacher(BaseTeacher):
    """A live teacher.

    Args:
        model: A classifier, with or without a PEFT adapter. It is put into evaluation mode, its parameters stop
            requiring gradients, and it moves to `device` unless it must stay where it is (see
            [`~hf_distill._placement.is_placed`]), in which case its inputs go there; it stays outside of every
            optimiser, checkpoint and autograd graph.
        device: Where the outputs are wanted.
        dtype: Precision of the forward pass: "float32", or "bfloat16" or "float16" by autocast.
        reads: What is read of its outputs beside the logits; see [`Teacher.show`].
        prefix: What the names of its columns start with, if it does not read the student's: its own tokens. The
            column `<prefix>positions` then says for each token of the student which of its own has the same word.
        is_sharded: Whether the processes share out its weights; all of them must then run it together.

    Raises:
        ValueError: if the weights are of lower precision than `dtype`, not finite, or cannot be shared out.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        dtype: str = "float32",
        reads: Collection[str] = (),
        prefix: str = "",
        is_sharded: bool = False,
    ) -> None:
        if dtype == "float32" and model.dtype != torch.float32:
            raise ValueError(
                f"The teacher's weights are {model.dtype}, but it is to run in float32. Load it with "
                "`dtype=torch.float32`, or set `teacher_dtype` to 'bfloat16' or 'float16'."
            )
        here = [getattr(weight, "ds_tensor", weight) for weight in model.parameters() if not weight.is_meta]
        if not all(parameter.isfinite().all() for parameter in here):
            raise ValueError("The teacher has weights that are NaN or infinite. Load a checkpoint that is whole.")
        # A model that was trained in mixed precision keeps an autocast in its forward; here `dtype` alone decides.
        model = extract_model_from_parallel(model, keep_fp32_wrapper=False)
        self.model = model.eval().requires_grad_(False)
        self.device = device
        if is_sharded:
            shard(self.model, device)
        elif is_partitioned(self.model):
            gather_in_forward(self.model)
        else:
            move(self.model, device)
        self._home = here[0].device if is_placed(model) else device
        self.dtype: torch.dtype = getattr(torch, dtype)
        inputs = frozenset(inspect.signature(without_adapter(model).forward).parameters) - {"labels"}
        self._inputs = {prefix + name: name for name in inputs}
        self._positions = f"{prefix}positions"
        self.columns = frozenset(self._inputs) | ({self._positions} if prefix else set())
        self.needs = frozenset({f"{prefix}input_ids"})
        self.show(reads)

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: if the model cannot show them, or they are of tokens that are not the student's.
        """
        if self._positions in self.columns and (missing := sorted(set(reads) - COLUMNS.keys())):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, which are of its own tokens, not of the "
                f"student's. With a tokenizer of its own a teacher shows its {' and '.join(COLUMNS)}."
            )
        prepare_to_show(self.model, reads, "teacher")
        self.reads = frozenset(reads)

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        inputs = {self._inputs[name]: value.to(self._home) for name, value in batch.items() if name in self._inputs}
        with torch.autocast(self._home.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            outputs = read_outputs(self.model, inputs, self.reads)
        if self._home != self.device:
            found = {field.name: getattr(outputs, field.name) for field in fields(outputs)}
            outputs = ClassifierOutputs(**{name: _moved(value, self.device) for name, value in found.items()})
        if self._positions in self.columns and self._positions in batch:
            outputs = replace(outputs, logits=_at(batch[self._positions], outputs.logits))
        return outputs


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return None if value is None else value.to(device)


def _at(positions: Tensor, logits: Tensor) -> Tensor:
    """Pick the logits of tokens by their positions, `(batch, length)`; -1 where there is none, whatever that gives."""
    return logits.gather(1, positions.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))


class CachedTeacher(BaseTeacher):
    """A teacher whose outputs are columns of the data set; in the student's label order if `label_order` is unset.

    Args:
        prefix: What the names of its columns start with: `teacher_logits`, `teacher_cls_states`.
    """

    is_stored = True

    def __init__(self, prefix: str = "teacher_") -> None:
        self._columns = {name: prefix + name for name in COLUMNS}
        self.columns = frozenset(self._columns.values())

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The columns of what is read."""
        return frozenset(self._columns[name] for name in self.reads)

    @property
    def shows_logits(self) -> bool:
        """Whether its logits are known; of some teachers only the hidden states are stored."""
        return "logits" in self.reads

    def show(self, reads: Collection[str]) -> None:
        """Choose what it shows: names of fields of [`ClassifierOutputs`].

        Raises:
            ValueError: for what no column holds.
        """
        if missing := sorted(set(reads) - COLUMNS.keys()):
            raise ValueError(
                f"The objectives read the teacher's {' and '.join(missing)}, and only its {' and '.join(COLUMNS)} can "
                "be stored. Pass `teacher_model` and leave `cache_teacher_outputs` out, or choose objectives that "
                "read only these, `kl` and `pkd` for instance."
            )
        self.reads = frozenset(reads) or frozenset({"logits"})  # for evaluation, if training reads nothing

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        known: dict[str, Any] = {name: batch[self._columns[name]] for name in self.reads}
        return ClassifierOutputs(**{"logits": None, **known})


# ---- What a user may pass as `teacher_model` beside a model ----


@dataclass(frozen=True)
class FunctionTeacher:
    """A teacher that is a function of texts: an API, a pipeline, rules. It is called once per distinct text.

    A function that is passed as it is, without this class, has the student's classes and no name.

    Args:
        function: From a list of texts (of pairs of texts, if the data set has two text columns) to their logits,
            `(len(texts), num_labels)`, as an array, a tensor or lists; for probabilities return their logarithms.
        labels: Names of the classes in its order; None for the student's.
        name: What its outputs are stored under in `teacher_cache_dir`, to be found by later runs. Choose another name
            when anything about the function changes. None to keep them for this Trainer only.
        batch_size: Texts of a call.
    """

    function: Callable[[list[Any]], Any]
    labels: Sequence[str] | None = None
    name: str | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.name is not None and not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ValueError(f"`name` must be letters, digits, '-', '_' and '.'; got {self.name!r}.")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {self.batch_size}.")


@dataclass(frozen=True)
class TeacherEnsemble:
    r"""Several teachers that teach as one, by the weighted mean of what they predict.

    With $z_k$ the logits of teacher $k$ in the student's order of the classes, $T_k$ its own temperature and $w_k$ its
    weight (their sum is made 1), the logits of the ensemble are

    $$z = \log \sum_k w_k\, \mathrm{softmax}(z_k / T_k) \quad \text{(probabilities)}, \qquad
    z = \sum_k w_k\, z_k / T_k \quad \text{(logits)},$$

    and every objective takes them as those of one teacher; its temperature softens the mean. The arithmetic mean of
    the probabilities is the default; the mean of the logits is the geometric one, normalised. Both are named by
    Hinton et al. (2015), section 2, https://huggingface.co/papers/1503.02531. Multi-label, the mean of the
    probabilities is taken class by class; of regressions the outputs themselves are averaged either way.

    Teachers may differ in architecture, tokenizer and order of the classes. With `cache_teacher_outputs` each has a
    store of its own, so that other weights, temperatures or subsets compute nothing again.

    Args:
        teachers: Whatever `teacher_model` takes for one teacher: models, paths, functions.
        weights: One a teacher, > 0; None for equal ones.
        mean_of: "probabilities" or "logits".
        temperatures: One a teacher, > 0; None for 1. `calibrate_teacher` finds them.
        processing_classes: One a teacher, its tokenizer, or None where it reads the student's token ids; None if the
            Trainer's `teacher_processing_class` is that of all.

    Raises:
        ValueError: for no teachers, or numbers that are out of range or too many.
    """

    teachers: Sequence[Any]
    weights: Sequence[float] | None = None
    mean_of: str = "probabilities"
    temperatures: Sequence[float] | None = None
    processing_classes: Sequence[PreTrainedTokenizerBase | None] | None = None

    def __post_init__(self) -> None:
        if not self.teachers:
            raise ValueError("An ensemble needs at least one teacher.")
        if self.mean_of not in ("probabilities", "logits"):
            raise ValueError(f"`mean_of` must be 'probabilities' or 'logits', got {self.mean_of!r}.")
        for name in ("weights", "temperatures", "processing_classes"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.teachers):
                raise ValueError(f"{len(self.teachers)} teachers and {len(values)} `{name}`: give one a teacher.")
        for name in ("weights", "temperatures"):
            if not all(0 < value < math.inf for value in getattr(self, name) or ()):
                raise ValueError(f"`{name}` must be finite numbers > 0, got {list(getattr(self, name))}.")

    def normalised_weights(self) -> list[float]:
        """Return the weights, scaled to the sum 1."""
        weights = self.weights or [1.0] * len(self.teachers)
        return [weight / sum(weights) for weight in weights]


class EnsembleTeacher(BaseTeacher):
    """The teachers of a [`TeacherEnsemble`], as one.

    Args:
        members: One a teacher, each with its own columns.
        ensemble: How their outputs are averaged.
    """

    def __init__(self, members: Sequence[BaseTeacher], ensemble: TeacherEnsemble) -> None:
        self.members, self.mean_of = list(members), ensemble.mean_of
        self.columns = frozenset[str]().union(*(member.columns for member in members))
        self.needs = frozenset[str]().union(*(member.needs for member in members))
        self.is_stored = all(member.is_stored for member in members)
        self.weights = torch.tensor(ensemble.normalised_weights())

    def bind(self, problem_type: ProblemType) -> None:
        """Fix the problem type, which says what a mean of predictions is."""
        takes_logits = self.mean_of == "logits"
        self._mean = functional.weighted_mean if takes_logits else problem_type.mean_of_teachers

    def _outputs(self, batch: Batch) -> ClassifierOutputs:
        logits = torch.stack([member(batch).logits for member in self.members])
        return ClassifierOutputs(self._mean(logits, self.weights.to(logits.device)))


def load_teacher(
    name_or_path: str | os.PathLike,
    revision: str | None = None,
    trust_remote_code: bool = False,
    problem_type: str | None = None,
) -> PreTrainedModel:
    """Load a model in float32 with the head that it was saved with, and warn loudly if that is not there.

    Without a head for words among its weights it becomes a sequence classifier.

    Args:
        name_or_path: A folder, or an id on the Hub.
        revision: Branch, tag or commit; a commit alone says which weights these are.
        trust_remote_code: Whether Python files that come with the model are run.
        problem_type: What the classifier is for, if its config leaves it open.

    Raises:
        OSError: if there is no such model.
        ValueError: if the model needs code that comes with it, and that is not trusted.
    """
    revision = revision or "main"
    architectures: list[str] = []
    with contextlib.suppress(OSError):  # an adapter has no config of its own
        config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        architectures = config.architectures or []
    of_head = next(filter(None, map(problem_type_of_head, architectures)), "")
    model, info = auto_model(of_head).from_pretrained(
        name_or_path,
        revision=revision,
        trust_remote_code=trust_remote_code,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if info["missing_keys"]:
        logger.warning(
            f"THE TEACHER WAS NEVER FINE-TUNED: {name_or_path} has no weights for {sorted(info['missing_keys'])}, so "
            "its head is random and a student would learn noise. Fine-tune it on the task first."
        )
    is_open = model.config.problem_type is None and not of_head
    if is_open and problem_type is not None and not PROBLEM_TYPES[problem_type].is_token_level:
        model.config.problem_type = problem_type
    return model
