"""Arguments of a distillation run."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, cast

from transformers import TrainingArguments
from transformers.utils import logging

from hf_distill.functional import LOWEST_TEMPERATURE
from hf_distill.objectives import LOGIT_OBJECTIVES, DistillationLoss, accepted_arguments, build_objectives
from hf_distill.teachers import CachedTeacher

logger = logging.get_logger(__name__)

# Parts of the names of metrics of which lower values are better.
_ERRORS = frozenset({"loss", "error", "mae", "mse", "rmse", "nll", "perplexity", "ece", "brier"})
TEACHER_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass
class DistillationTrainingArguments(TrainingArguments):
    r"""`transformers.TrainingArguments` plus the constants of the loss and the handling of the teacher.

    $$L = w_\mathrm{soft}\, \tau^2\, \mathrm{KL}(p^T_\tau \| p^S_\tau) + w_\mathrm{hard}\, \mathrm{CE}$$

    The weights are explicit: what others call `alpha` is the hard label's weight in some programs and the soft one's
    in others. None means "not set"; it survives JSON and YAML and is resolved when the objectives are built.

    Args:
        temperature (`float`, *optional*, 2.0 when unset): Softmax temperature of teacher and student in the soft
            loss. Not defined for regression and for `soft_loss="logit_mse"`, where setting it is an error.
        soft_label_weight (`float`, *optional*, 1.0 when unset): Weight of the soft loss, >= 0.
        hard_label_weight (`float`, *optional*, 0.1 when unset): Weight of the loss on hard labels, >= 0.
        soft_loss (`str`, *optional*, "kl" when unset): Name of the soft loss, one of the logit objectives.
        objectives (`dict` or JSON `str`, *optional*): The terms of the loss by name, each with a weight or a dict of
            hyper-parameters. Weights and temperatures may change over the run: `{"kl": {"temperature": {"schedule":
            "linear", "start": 4.0, "end": 1.0}}}`; a schedule is constant, linear or cosine in the share of optimiser
            steps done. Takes the place of the four arguments above; setting any of these too is an error.
        cache_teacher_outputs (`bool`, defaults to `False`): Store the teacher's logits on disk before the first step
            and train on these; the teacher runs once per distinct text, over all epochs, seeds and runs. For `pkd` it
            runs once more, to store its [CLS] states; what else is inside the network takes a live teacher.
        teacher_cache_dir (`str`, *optional*): Folder of that store; unset, one for this user under `HF_HOME`.
        teacher_dtype (`str`, defaults to "auto"): Precision of the teacher's forward pass. "auto" is what `bf16` and
            `fp16` say, else float32; it never depends on the hardware. On its own a bfloat16 teacher moves the
            student's gradients by about 2e-3 of their size (`benchmarks/teacher_precision.py`).
        calibrate_teacher (`bool`, defaults to `False`): Before training, find the temperature at which the teacher's
            probabilities fit the labels of the evaluation set best (Guo et al., 2017), and divide its logits by it;
            of an ensemble each teacher's by its own. `temperature` comes on top. One pass over the evaluation set.
        shard_teacher (`bool`, defaults to `False`): Share the teacher's weights out over the processes, layer by layer
            (FSDP2), for one that is too large for each of them; the student need not be. Its parameters are then
            `DTensor`s. Unset, every process has a whole teacher. With one process nothing changes.

    Raises:
        ValueError: at construction, for a value out of range or arguments that exclude each other.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "objectives"]

    temperature: float | None = field(
        default=None,
        metadata={"help": "Softmax temperature of teacher and student in the soft loss, >= 0.001. Unset: 2.0."},
    )
    soft_label_weight: float | None = field(
        default=None,
        metadata={"help": "Weight of T^2 * KL(teacher || student), the soft loss, >= 0. Unset: 1.0."},
    )
    hard_label_weight: float | None = field(
        default=None,
        metadata={"help": "Weight of the cross-entropy with the hard labels, >= 0. Unset: 0.1."},
    )
    soft_loss: str | None = field(
        default=None,
        metadata={"help": f"Soft loss on the logits: {', '.join(LOGIT_OBJECTIVES)}. Unset: kl."},
    )
    objectives: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Terms of the loss as JSON, name to weight or to hyper-parameters, in place of the four arguments "
            'above: \'{"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}\'.'
        },
    )
    cache_teacher_outputs: bool = field(
        default=False,
        metadata={"help": "Store the teacher's logits on disk, so that it runs once per distinct text, ever."},
    )
    teacher_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of that store. Unset: a folder for this user under HF_HOME, shared by all runs."},
    )
    teacher_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the teacher's forward pass: auto (what bf16 and fp16 say, else float32), float32, "
            "bfloat16 or float16."
        },
    )
    calibrate_teacher: bool = field(
        default=False,
        metadata={
            "help": "Divide the teacher's logits by the temperature that fits the evaluation set's labels best."
        },
    )
    shard_teacher: bool = field(
        default=False,
        metadata={"help": "Share the teacher's weights out over the processes instead of one whole teacher for each."},
    )

    def __post_init__(self) -> None:
        # Trainer parses only strings that start with "{", and takes others for files.
        if isinstance(self.objectives, str):
            self.objectives = _parse_objectives(self.objectives)
        if self.objectives is not None and not isinstance(self.objectives, dict):
            raise TypeError(f"`objectives` must map names to weights, got {self.objectives!r}.")
        if isinstance(self.report_to, str):  # several on the command line, where Trainer's parser takes one word
            self.report_to = self.report_to.split(",")
        if self.greater_is_better is None and is_lower_better(self.metric_for_best_model or ""):
            self.greater_is_better = False  # transformers only knows names that end with "loss"
        super().__post_init__()
        for name in ("gradient_accumulation_steps", "per_device_train_batch_size", "per_device_eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        self._check_length_and_rate()
        _check_number("temperature", self.temperature, LOWEST_TEMPERATURE)
        _check_number("soft_label_weight", self.soft_label_weight)
        _check_number("hard_label_weight", self.hard_label_weight)
        if self.soft_loss is not None and self.soft_loss not in LOGIT_OBJECTIVES:
            raise ValueError(f"`soft_loss` must be one of {', '.join(LOGIT_OBJECTIVES)}; got {self.soft_loss!r}.")
        if self.teacher_dtype not in TEACHER_DTYPES:
            raise ValueError(
                f"`teacher_dtype` must be one of {', '.join(TEACHER_DTYPES)}; got {self.teacher_dtype!r}."
            )
        self._check_exclusions()
        if self.hub_strategy in ("checkpoint", "all_checkpoints"):
            raise ValueError(
                "`hub_strategy` would publish optimiser states, which are pickles. Use 'end' or 'every_save'."
            )
        loss = DistillationLoss(build_objectives(self.objective_spec()))  # which refuses what cannot be built
        if self.cache_teacher_outputs:
            CachedTeacher().request(loss.teacher_reads)  # which refuses what cannot be stored

    def _check_length_and_rate(self) -> None:
        if self.max_steps < 1 and self.max_steps != -1:
            raise ValueError(
                f"`max_steps` must be at least 1, or -1 to train `num_train_epochs`, got {self.max_steps}."
            )
        if self.max_steps == -1 and not 0 < self.num_train_epochs < math.inf:
            raise ValueError(f"`num_train_epochs` must be a finite number > 0, got {self.num_train_epochs}.")
        _check_number("learning_rate", self.learning_rate)
        if self.learning_rate == 0:
            logger.warning_once("`learning_rate` is 0, so the student does not learn.")

    def _check_exclusions(self) -> None:
        if self.label_smoothing_factor and "ce" not in (self.objectives or {"ce": None}):
            raise ValueError("`label_smoothing_factor` is set, but `objectives` has no `ce` to smooth. Leave one out.")
        if self.objectives is not None:
            self.check_no_loss_arguments("`objectives`")
        if self.shard_teacher and self.cache_teacher_outputs:
            raise ValueError(
                "`shard_teacher` needs all processes to run the teacher together, and with `cache_teacher_outputs` "
                "each runs it on texts of its own. Leave one out."
            )
        if self.soft_label_weight == 0 and self.hard_label_weight == 0:
            raise ValueError("`soft_label_weight` and `hard_label_weight` are both 0, so nothing would be learnt.")
        if self.temperature is not None and "temperature" not in accepted_arguments(self.soft_loss or "kl"):
            raise ValueError(f"`temperature` is {self.temperature}, but `{self.soft_loss}` has none. Leave it unset.")

    def check_no_loss_arguments(self, instead: str) -> None:
        """Refuse arguments that `instead` takes the place of.

        Raises:
            ValueError: if one of them is set.
        """
        four = ("temperature", "soft_label_weight", "hard_label_weight", "soft_loss")
        if chosen := [name for name in four if getattr(self, name) is not None]:
            raise ValueError(
                f"{instead} says everything about the loss, and `{chosen[0]}` is set too. Set it inside of "
                "`objectives`, or leave `objectives` out."
            )

    def check_baseline(self) -> None:
        """Refuse a choice of the best checkpoint that a student without a teacher cannot follow.

        Raises:
            ValueError: if `metric_for_best_model` exists only beside a teacher.
        """
        metric = (self.metric_for_best_model or "loss").removeprefix("eval_")
        needs_teacher = metric == "agreement" or metric.startswith(("teacher_", "loss_")) and metric != "loss_ce"
        if self.load_best_model_at_end and needs_teacher:
            raise ValueError(
                f"`metric_for_best_model` is {metric!r}, which a baseline without a teacher does not have. Choose the "
                "checkpoint by a metric of the task, or leave the baseline out."
            )

    def objective_spec(self) -> dict[str, Any]:
        """Return the terms of the loss by name, from `objectives` or from the four arguments that it replaces."""
        if self.objectives is not None:
            objectives = cast("dict[str, Any]", self.objectives)
            spec = {k: dict(v) if isinstance(v, dict) else {"weight": v} for k, v in objectives.items()}
            if "ce" in spec:
                spec["ce"].setdefault("label_smoothing", self.label_smoothing_factor)
            return spec
        soft: dict[str, Any] = {"weight": 1.0 if self.soft_label_weight is None else self.soft_label_weight}
        if self.temperature is not None:
            soft["temperature"] = self.temperature
        hard_label_weight = 0.1 if self.hard_label_weight is None else self.hard_label_weight
        hard = {"weight": hard_label_weight, "label_smoothing": self.label_smoothing_factor}
        return {self.soft_loss or "kl": soft, "ce": hard}

    def resolved_teacher_dtype(self) -> str:
        """Return "float32", "bfloat16" or "float16"."""
        if self.teacher_dtype != "auto":
            return self.teacher_dtype
        return "bfloat16" if self.bf16 else "float16" if self.fp16 else "float32"

    def without_teacher(self, output_dir: str, **changes: Any) -> "DistillationTrainingArguments":
        """Return arguments for plain fine-tuning: the hard loss alone, nothing pushed, otherwise the same.

        Args:
            output_dir: Folder of that run.
            **changes: Other arguments to change, e.g. `max_steps`.
        """
        unset = dict.fromkeys(("temperature", "soft_label_weight", "hard_label_weight", "soft_loss"))
        alone: dict[str, Any] = {**unset, "objectives": {"ce": 1.0}, "push_to_hub": False, "output_dir": output_dir}
        alone["calibrate_teacher"] = False
        return dataclasses.replace(self, **{**alone, **changes})


def is_lower_better(metric: str) -> bool:
    """Whether a metric's name says that lower values are better: `loss_kl`, `eval_test_loss`, `eval_rmse`."""
    return not _ERRORS.isdisjoint(metric.lower().split("_"))


def _parse_objectives(text: str) -> dict[str, Any]:
    try:
        spec = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`objectives` is not JSON ({error}): {text!r}. Expected for instance '{{\"kl\": 1.0}}'."
        ) from None
    except RecursionError:
        raise ValueError("`objectives` is nested too deeply.") from None
    if not isinstance(spec, dict):
        raise ValueError(f"`objectives` must be a JSON object, name to weight; got {text!r}.")
    return spec


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"`objectives` has {duplicates[0]!r} twice. Remove one of them.")
    return dict(pairs)


def _check_number(name: str, value: float | None, lowest: float = 0.0) -> None:
    if value is not None and (not isinstance(value, int | float) or not lowest <= value < math.inf):
        raise ValueError(f"`{name}` must be a finite number >= {lowest:g}, got {value!r}.")
