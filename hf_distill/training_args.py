"""The training arguments of a distillation run."""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from transformers import TrainingArguments
from transformers.utils import logging

from hf_distill.functional import LOWEST_TEMPERATURE
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES, DistillationLoss, accepted_arguments, build_objectives
from hf_distill.objectives.json_spec import parse_objectives
from hf_distill.teachers import CachedTeacher
from hf_distill.utils.loss_arguments import LOSS_ARGUMENTS, check_exclusions, check_no_loss_arguments

logger = logging.get_logger(__name__)

# If the name of a metric ends with one of these, lower values are better.
_LOWER_IS_BETTER = tuple(
    "_loss _logloss _mae _mse _rmse _msle _rmsle _mape _smape _nll _perplexity _ppl _ece _mce _brier _brier_score "
    "_error _errors _error_rate _false_positive_rate _false_negative_rate _fpr _fnr _eer _wer _cer _ter "
    "_cross_entropy _crossentropy _deviance _divergence _distance".split()
)
# After one of these, the end is the name of a class: `f1_error` is the F1 of the class "error".
_SCORES = frozenset({"f1", "precision", "recall", "accuracy", "auc", "specificity", "sensitivity", "support"})
TEACHER_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass
class DistillationTrainingArguments(TrainingArguments):
    r"""`transformers.TrainingArguments` with additional arguments for the loss and the teacher.

    $$L = w_\mathrm{soft}\, \tau^2\, \mathrm{KL}(p^T_\tau \| p^S_\tau) + w_\mathrm{hard}\, \mathrm{CE}$$

    Each loss has its own weight, because a single `alpha` is the weight of the hard loss in some libraries and the
    weight of the soft loss in others. None means "not set": it is kept in JSON and YAML, and replaced by the default
    when the objectives are built.

    Without an accelerator, `dataloader_pin_memory` is False, as it is with `use_cpu`: torch would pin nothing, and
    would warn about every loader.

    Args:
        temperature (`float`, *optional*, 2.0 when unset): Softmax temperature of teacher and student in the soft
            loss, > 0. Regression and `soft_loss="logit_mse"` have no temperature; setting it is then an error.
        soft_label_weight (`float`, *optional*, 1.0 when unset): Weight of the soft loss, >= 0.
        hard_label_weight (`float`, *optional*, 0.1 when unset): Weight of the loss on hard labels, >= 0.
        soft_loss (`str`, *optional*, "kl" when unset): Name of the soft loss, one of the logit objectives.
        objectives (`dict` or JSON `str`, *optional*): The terms of the loss: a dict from names to weights or to dicts
            of hyperparameters. Weights and temperatures can have a schedule: `{"kl": {"temperature": {"schedule":
            "linear", "start": 4.0, "end": 1.0}}}`. A schedule is constant, linear or cosine over the optimizer steps.
            `objectives` replaces the four arguments above; setting one of them too is an error.
        cache_teacher_outputs (`bool`, defaults to `False`): Store the teacher's logits on disk before training. The
            teacher then runs once for each distinct text in all epochs, seeds and runs. For `pkd`, the teacher runs a
            second time to store its [CLS] states. Objectives that read other outputs need a live teacher.
        teacher_cache_dir (`str`, *optional*): Folder of the stored outputs. Unset: a folder of this user under
            `HF_HOME`, which all runs share.
        teacher_dtype (`str`, defaults to "auto"): Precision of the teacher's forward pass. "auto" is bfloat16 with
            `bf16`, float16 with `fp16`, and float32 otherwise; it does not depend on the hardware. A bfloat16 teacher
            changes the student's gradients by about 2e-3 of their size (`benchmarks/teacher_precision.py`).
        calibrate_teacher (`bool`, defaults to `False`): Before training, compute the temperature at which the
            teacher's probabilities fit the labels of the evaluation set best (Guo et al., 2017), and divide its logits
            by it. In an ensemble, each teacher gets its own temperature. `temperature` is applied in addition. This
            takes one pass over the evaluation set.
        shard_teacher (`bool`, defaults to `False`): Split the teacher's weights over the processes, layer by layer
            (FSDP2), if the teacher is too large for one process. The student need not be sharded. The parameters of
            the teacher are then `DTensor`s. Unset: every process has a complete teacher. Has no effect with one
            process.

    Raises:
        ValueError: if a value is out of range, or if arguments exclude each other.
        TypeError: if `objectives` is not a dict or a string.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "objectives"]

    temperature: float | None = field(
        default=None,
        metadata={"help": "Softmax temperature of teacher and student in the soft loss, >= 0.001. Unset: 2.0."},
    )
    soft_label_weight: float | None = field(
        default=None,
        metadata={"help": "Weight of the soft loss, T^2 * KL(teacher || student), >= 0. Unset: 1.0."},
    )
    hard_label_weight: float | None = field(
        default=None,
        metadata={"help": "Weight of the hard loss, the cross-entropy with the labels, >= 0. Unset: 0.1."},
    )
    soft_loss: str | None = field(
        default=None,
        metadata={
            "help": "Soft loss on the logits: kl, reverse_kl, jsd, logit_mse, dkd, dist. Unset: kl.",
            "choices": ["kl", "reverse_kl", "jsd", "logit_mse", "dkd", "dist"],
        },
    )
    objectives: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Terms of the loss as JSON, from names to weights or hyperparameters. Replaces the four arguments "
            'above: \'{"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}\'.'
        },
    )
    cache_teacher_outputs: bool = field(
        default=False,
        metadata={"help": "Store the teacher's logits on disk, so that it runs only once for each distinct text."},
    )
    teacher_cache_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the stored logits. Unset: a folder of this user under HF_HOME, shared by all runs."
        },
    )
    teacher_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the teacher's forward pass: float32, bfloat16, float16, or auto: bfloat16 with "
            "--bf16, float16 with --fp16, and float32 otherwise.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    calibrate_teacher: bool = field(
        default=False,
        metadata={
            "help": "Divide the teacher's logits by the temperature that fits the labels of the evaluation set best."
        },
    )
    shard_teacher: bool = field(
        default=False,
        metadata={
            "help": "Split the teacher's weights over the processes, so that no process has the complete teacher."
        },
    )

    def __post_init__(self) -> None:
        # Trainer only parses strings that start with "{" and treats other strings as paths of files.
        if isinstance(self.objectives, str):
            self.objectives = parse_objectives(self.objectives)
        if self.objectives is not None and not isinstance(self.objectives, dict):
            raise TypeError(f"`objectives` must map names to weights, got {self.objectives!r}.")
        if isinstance(self.report_to, str):  # Trainer's parser accepts only one word on the command line
            self.report_to = self.report_to.split(",")
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            # transformers only looks whether the name ends with "loss".
            self.greater_is_better = not is_lower_better(self.metric_for_best_model)
        super().__post_init__()
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False
        self._check_values()
        self._check_exclusions()
        loss = DistillationLoss(build_objectives(self.objective_spec()))  # raises errors for invalid objectives
        if self.cache_teacher_outputs:
            CachedTeacher().request(loss.teacher_reads)  # raises an error for outputs that cannot be stored

    def _check_values(self) -> None:
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
        if self.hub_strategy in ("checkpoint", "all_checkpoints"):
            raise ValueError(
                "This `hub_strategy` would publish optimizer states, which are pickles. Use 'end' or 'every_save'."
            )

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
        check_exclusions(vars(self))
        if self.label_smoothing_factor and "ce" not in (self.objectives or {"ce": None}):
            raise ValueError(
                "`label_smoothing_factor` is set, but `objectives` does not contain `ce`. Add `ce`, or do not set "
                "`label_smoothing_factor`."
            )
        if self.temperature is not None and "temperature" not in accepted_arguments(self.soft_loss or "kl"):
            raise ValueError(
                f"`temperature` is {self.temperature}, but `{self.soft_loss}` has no temperature. Leave it unset."
            )

    def check_trackers(self) -> None:
        """Check that the trackers of `report_to` are installed.

        Raises:
            ValueError: for a tracker that is not installed, or does not exist.
        """
        from transformers.integrations import get_available_reporting_integrations  # slow to import
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

        for name in cast("list[str]", self.report_to):
            if name in INTEGRATION_TO_CALLBACK and name not in get_available_reporting_integrations():
                raise ValueError(f"`report_to` is {name!r}, which is not installed. Install it, or set 'none'.")
            if name not in INTEGRATION_TO_CALLBACK and name not in ("all", "none"):
                raise ValueError(
                    f"`report_to` is {name!r}, which is no tracker; those of transformers are "
                    f"{', '.join(sorted(INTEGRATION_TO_CALLBACK))}."
                )

    def check_no_loss_arguments(self, replacement: str) -> None:
        """Check that none of the four loss arguments is set.

        Args:
            replacement: What defines the loss instead of the four arguments, for the error message.

        Raises:
            ValueError: if one of the four arguments is set.
        """
        check_no_loss_arguments(vars(self), replacement)

    def check_baseline(self) -> None:
        """Check that a model that is trained without a teacher can select its best checkpoint by the same metric.

        Raises:
            ValueError: if `metric_for_best_model` needs a teacher.
        """
        metric = (self.metric_for_best_model or "loss").removeprefix("eval_")
        needs_teacher = metric == "agreement" or metric.startswith(("teacher_", "loss_")) and metric != "loss_ce"
        if self.eval_strategy != "no" and needs_teacher:
            raise ValueError(
                f"`metric_for_best_model` is {metric!r}, which a baseline without a teacher does not have, nor a "
                "teacher that is fine-tuned. Use a metric of the task."
            )

    def objective_spec(self) -> dict[str, Any]:
        """Return the terms of the loss by name, from `objectives` or from the four loss arguments."""
        if self.objectives is not None:
            objectives = cast("dict[str, Any]", self.objectives)
            spec = {k: dict(v) if isinstance(v, dict) else {"weight": v} for k, v in objectives.items()}
            if "ce" in spec:
                spec["ce"].setdefault("label_smoothing", self.label_smoothing_factor)
            return spec
        soft_term: dict[str, Any] = {"weight": 1.0 if self.soft_label_weight is None else self.soft_label_weight}
        if self.temperature is not None:
            soft_term["temperature"] = self.temperature
        hard_label_weight = 0.1 if self.hard_label_weight is None else self.hard_label_weight
        hard_term = {"weight": hard_label_weight, "label_smoothing": self.label_smoothing_factor}
        return {self.soft_loss or "kl": soft_term, "ce": hard_term}

    def resolved_teacher_dtype(self) -> str:
        """Return the precision of the teacher: "float32", "bfloat16" or "float16"."""
        if self.teacher_dtype != "auto":
            return self.teacher_dtype
        return "bfloat16" if self.bf16 else "float16" if self.fp16 else "float32"

    def without_teacher(self, output_dir: str, **changes: Any) -> "DistillationTrainingArguments":
        """Return the same arguments for plain fine-tuning, with only the hard loss and without a push to the Hub.

        Args:
            output_dir: Output folder of the fine-tuning run.
            **changes: Other arguments to change, for instance `max_steps`.
        """
        fine_tuning: dict[str, Any] = {
            **dict.fromkeys(LOSS_ARGUMENTS),
            "objectives": {"ce": 1.0},
            "push_to_hub": False,
            "calibrate_teacher": False,
            "output_dir": output_dir,
        }
        return dataclasses.replace(self, **{**fine_tuning, **changes})


def is_lower_better(metric: str) -> bool:
    """Return whether lower values of a metric are better, by its name: `loss_kl`, `eval_test_loss`, `error_rate`.

    Only the last words decide, or an objective after `loss`: `f1_loss_of_life` is the F1 of a class. The names of
    scikit-learn that contain `neg` are negated errors, so higher values are better.
    """
    name = re.sub(r"\W", "_", metric.lower())
    name = next((name.removesuffix(f"_{term}") for term in OBJECTIVES if name.endswith(f"loss_{term}")), name)
    words = name.split("_")
    if "neg" in words[:-1] or (words[-1] != "loss" and _SCORES & set(words[:-1])):
        return False
    return f"_{name}".endswith(_LOWER_IS_BETTER)


def _check_number(name: str, value: float | None, lowest: float = 0.0) -> None:
    if value is not None and (not isinstance(value, int | float) or not lowest <= value < math.inf):
        raise ValueError(f"`{name}` must be a finite number >= {lowest:g}, got {value!r}.")
