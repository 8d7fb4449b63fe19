"""The Trainer that distils: `transformers.Trainer` with a teacher in its loss."""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from hf_distill.classifiers.forward import prepare_to_show, read_outputs
from hf_distill.classifiers.outputs import IS_UNIT, TEACHER_LOGITS, WORD_STARTS, Batch, ClassifierOutputs
from hf_distill.data.tokens import TokenCollator
from hf_distill.objectives import DistillationLoss, Objective, build_objectives
from hf_distill.teachers import TeacherEnsemble
from hf_distill.training.checkpoints import Checkpoints, as_flag
from hf_distill.training.checks import check_dataset, labelled_rows
from hf_distill.training.evaluation import ExactEvaluation
from hf_distill.training.finite import FiniteLoss
from hf_distill.training.launch import check_launch
from hf_distill.training.recorder import Publishing
from hf_distill.training.teaching import Teaching
from hf_distill.training.units import Units
from hf_distill.training_args import DistillationTrainingArguments

logger = logging.get_logger(__name__)


class DistillationTrainer(Units, Teaching, FiniteLoss, ExactEvaluation, Publishing, Checkpoints):
    r"""Train a student classifier on the outputs of a teacher, on labels, or on both.

    The loss of one optimiser step is the weighted sum of its objectives, each summed over the units (rows) of all
    accumulated micro-batches of all processes and divided by their number, once, for all terms alike:

    $$L = \frac{1}{N} \sum_{i=1}^{N} \big(w_\mathrm{soft}\, \tau^2\, \mathrm{KL}(p^T_i \| p^S_i)
    + w_\mathrm{hard}\, \mathrm{CE}_i\big)$$

    So the gradient does not depend on how the rows are split. A row without a label (-100, NaN for regression, or no
    `labels` column) adds 0 to the hard loss and still counts. Logs give `loss` and every unweighted term as
    `loss_<name>`, evaluation `eval_loss`, `eval_loss_<name>`, `eval_agreement` and `eval_teacher_<metric>`. Weights
    and temperatures with a schedule are logged as they were in the last step, as `<name>_weight` for instance; `loss`
    is the mean of what each step's weights and terms gave.

    A loss that is NaN or infinite stops the run with a `FloatingPointError` that names the term, the step, and the
    rows by their numbers in the data set; the teacher too, if its logits are at fault. No step waits for the device
    for that: one looks when something is logged, evaluated or saved, and at the end. No checkpoint is written behind
    such a loss.

    Args:
        model: The student. Exactly one of `model` and `model_init` is needed.
        teacher_model: The fine-tuned teacher, as a model (frozen, and moved to the device unless it is quantised or
            spread over several), a path or a Hub id; a PEFT model; a function from texts to logits, which is called
            once per distinct text ([`~hf_distill.teachers.FunctionTeacher`]); a list of these or a
            [`TeacherEnsemble`]; None if the data sets carry what the objectives read of it as columns
            (`teacher_logits`, which [`~hf_distill.data.soft_labels`] can make, `teacher_cls_states`), or if none
            reads anything.
        args: The arguments, constants of the loss among them.
        train_dataset: Tokenised rows; columns that only the teacher reads, `token_type_ids` for instance, are kept.
        eval_dataset: The same, or a dict of them.
        teacher_processing_class: The teacher's tokenizer if it is not the student's: the raw text beside the token ids
            is then tokenised for it, cut to its `model_max_length`. Of an ensemble that of all teachers, unless the
            `TeacherEnsemble` names one for each.
        teacher_text_columns: The columns with the raw text, one or two of a pair, or the one of words, for teachers
            that do not read the student's token ids; unset, the text columns if there are no others.
        objectives: A spec or a list of [`~hf_distill.objectives.Objective`], in place of what `args` says.
        **trainer_kwargs: `data_collator`, `processing_class`, `model_init`, `compute_metrics`, `callbacks`,
            `optimizers` and the others of `transformers.Trainer`.

    Raises:
        ValueError: before training starts, for label spaces that do not match, a data set that cannot be trained on,
            or settings that exclude each other; the message says what to do.
        TypeError: for a teacher that is nothing of the above.
    """

    # Both terms are normalised here; Trainer believes that BERT normalises by itself, which it does not (#47688).
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        teacher_model: PreTrainedModel | str | os.PathLike | Callable | Sequence | TeacherEnsemble | None = None,
        args: DistillationTrainingArguments | None = None,
        *,
        train_dataset: Dataset | datasets.Dataset | None = None,
        eval_dataset: Dataset | datasets.Dataset | Mapping[str, Dataset] | None = None,
        teacher_processing_class: PreTrainedTokenizerBase | None = None,
        teacher_text_columns: Sequence[str] | None = None,
        objectives: Mapping[str, Any] | Sequence[Objective] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        compute_loss_func: Callable | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        args = args or DistillationTrainingArguments("tmp_trainer")
        _check_arguments(args)
        check_launch(args, has_teacher=teacher_model is not None)
        if compute_loss_func is not None:
            raise ValueError("`compute_loss_func` would take the place of distillation. Pass `objectives` instead.")
        if model is not None and model is teacher_model:
            raise ValueError("`model` and `teacher_model` are one object. Make a student with `create_student`.")
        if objectives is not None:
            args.check_no_loss_arguments("The Trainer's `objectives`")
        self._objectives = objectives
        self.distillation_loss = self._build_loss(args)
        self._resolve_teacher(
            teacher_model,
            args,
            trainer_kwargs.get("processing_class"),
            teacher_processing_class,
            teacher_text_columns,
        )
        self.record: dict[str, Any] = {}
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            compute_metrics=compute_metrics and self._on_labelled_rows(compute_metrics),
            **trainer_kwargs,
        )
        self._match_teacher_and_student(self.model)
        if self.problem_type.is_token_level and not isinstance(self.data_collator, TokenCollator):
            side = getattr(self.processing_class, "padding_side", "right")
            self.data_collator = TokenCollator(self.data_collator, side)
        self._bind_loss()
        self._check_datasets()
        self._prepare_datasets()
        if args.calibrate_teacher:
            self._calibrate_teacher()

    # ---- Construction ----

    def _build_loss(self, args: DistillationTrainingArguments) -> DistillationLoss:
        spec = args.objective_spec() if self._objectives is None else self._objectives
        return DistillationLoss(build_objectives(spec))

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """Make a student by `model_init`, with the teacher's label names if it has none."""
        model = cast(PreTrainedModel, super().call_model_init(trial))
        self._match_teacher_and_student(model)
        prepare_to_show(model, self.distillation_loss.student_reads, "student")
        return model

    def _bind_loss(self) -> None:
        """Fit the objectives to the models, and the models to what the objectives read."""
        if self.teacher is not None:
            self.teacher.show(self.distillation_loss.teacher_reads)
        prepare_to_show(self.model, self.distillation_loss.student_reads, "student")
        with torch.random.fork_rng(devices=[]):  # projections are drawn alike in every run, and disturb no other draw
            torch.default_generator.manual_seed(self.args.seed)
            self.distillation_loss.bind(self.problem_type, self.model.config, self._compared_teacher_config())
        self._place_objectives()
        several = self.args.gradient_accumulation_steps * self.args.world_size > 1
        if several and (batchwise := [term.name for term in self.distillation_loss.terms if not term.is_per_unit]):
            logger.warning(
                f"`{batchwise[0]}` compares the rows of a micro-batch with each other, so the result depends on how "
                "the rows are split over accumulation steps and processes."
            )
        self._start_reports()

    def _check_datasets(self) -> None:
        evaluation = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval": self.eval_dataset}
        for role, dataset in [("training", self.train_dataset), *(("evaluation", d) for d in evaluation.values())]:
            if dataset is not None:
                check_dataset(
                    dataset,
                    role,
                    self.problem_type,
                    self.class_names,
                    teacher_columns=self._teacher_columns() if role == "training" else [],
                    needs_labels=self.distillation_loss.reads_labels,
                )
                if self.teacher_sources and TEACHER_LOGITS in getattr(dataset, "column_names", []):
                    logger.warning(
                        f"The {role} data set has a column `{TEACHER_LOGITS}`, which is not used: `teacher_model` is "
                        "given, and runs. Leave it out to train on the column."
                    )

    def _hp_search_setup(self, trial: Any) -> None:
        super()._hp_search_setup(trial)
        if trial is not None or self.model_init is not None:  # a trial may have set the temperature or a weight
            self.distillation_loss = self._build_loss(self.args)
            self._bind_loss()

    # ---- Columns ----

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            signature = cast("list[str]", self._signature_columns)
            self._student_columns = frozenset(signature) - {"label", "label_ids", *self.label_names}
            # Pruning would drop what the student does not know: a DistilBERT knows no segment ids, its teacher does.
            teacher_columns = self.teacher.columns if self.teacher is not None else frozenset()
            signature += sorted((teacher_columns | {WORD_STARTS}) - frozenset(signature))

    # ---- Loss ----

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of one micro-batch, and on request the logits of student and teacher.

        Args:
            model: The student, wrapped or not.
            inputs: A batch, columns of the teacher among them.
            return_outputs: Whether to return `{"logits": ..., "teacher_logits": ...}` too, `(batch, num_labels)` each,
                or `(batch, length, num_labels)` of tokens.
            num_items_in_batch: Units of the whole accumulated batch of all processes; None for those of this batch.
        """
        student = self._run_student(model, inputs)
        teacher = self._run_teacher(model, inputs)
        units = self._at_units(student, teacher, inputs)
        terms = self._run_objectives(*units)
        self._track(model.training, *units, terms, num_items_in_batch)
        loss = self._normalise(terms, units[-1][IS_UNIT], num_items_in_batch)
        if not return_outputs:
            return loss
        outputs = {"logits": student.logits}
        if teacher is not None and teacher.logits is not None:
            outputs[TEACHER_LOGITS] = teacher.logits
        return loss, outputs

    def _run_student(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs:
        self._set_signature_columns_if_needed()
        # Without the labels: the model would compute a loss of its own, and write `config.problem_type`.
        inputs = {name: value for name, value in inputs.items() if name in self._student_columns}
        return read_outputs(model, inputs, self.distillation_loss.student_reads)

    def _run_teacher(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs | None:
        if self.teacher is None or (model.training and not self.distillation_loss.teacher_reads):
            return None
        return self.teacher(inputs)

    def _normalise(self, terms: dict[str, Tensor], is_unit: Tensor, num_units: Tensor | int | None) -> Tensor:
        values = sum(weight * terms[name] for name, weight in self.distillation_loss.weights.items())
        total = torch.where(is_unit, values, 0.0).sum()
        if num_units is None:
            return total / is_unit.sum().clamp(min=1)
        # DistributedDataParallel averages gradients over the processes, and the units were counted over all of them.
        return total * self.accelerator.num_processes / num_units

    # ---- Runs ----

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train; arguments are those of `transformers.Trainer.train`.

        SIGTERM ends it after the step in hand with a checkpoint, and with `SystemExit` of status 143; with several
        processes after the next step whose number 10 divides. `resume_from_checkpoint=True` goes on from there.

        Raises:
            ValueError: for a checkpoint to resume from that is damaged or not there.
            OSError: for a checkpoint that cannot be written; what was saved before is whole.
        """
        self._forget_evaluation()
        self._check_stored_answers()
        return super().train(*args, **kwargs)

    def hyperparameter_search(self, *args: Any, **kwargs: Any) -> Any:
        """Search; arguments are those of `transformers.Trainer.hyperparameter_search`. The teacher runs once."""
        # Between trials accelerate collects garbage three times, 0.2 s each: of what is there already, there is none.
        gc.freeze()
        try:
            return super().hyperparameter_search(*args, **kwargs)
        finally:
            gc.unfreeze()

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> TrainOutput:
        self._train_means.reset()  # of an attempt with a larger batch that ran out of memory, too
        output = super()._inner_training_loop(*args, **kwargs)
        self._stop_if_not_finite(self._train_means, "training", self.train_dataset)  # the steps after the last log
        return output

    def _forget_evaluation(self) -> None:
        """Let accelerate prepare the student for training, whatever was evaluated before.

        It takes a model that `evaluate` or `predict` prepared for one that is ready, leaves out
        DistributedDataParallel, and the processes drift apart without a word (measured with accelerate 1.15).
        """
        if self.model_init is not None or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return
        if isinstance(self.model_wrapped, DistributedDataParallel):
            return
        self.model = self.model_wrapped = self.accelerator.unwrap_model(
            self.model, keep_fp32_wrapper=False, keep_torch_compile=False
        )
        self.model._is_accelerate_prepared = False

    def train_baseline(self, student: PreTrainedModel) -> "DistillationTrainer":
        """Train the same student without the teacher, to tell what the teacher was worth; call it after `train`.

        The hard loss alone on the labelled rows, for as many optimiser steps as the distilled student took, with the
        same seed and the same choice of checkpoint, into `<output_dir>/baseline`. Its metrics enter the record.

        Args:
            student: A copy of the student as it was before `train`.

        Returns:
            The baseline's Trainer; `model` is the baseline.

        Raises:
            ValueError: if `train` has not run, or no row has a label.
        """
        if self.state.global_step == 0 or not self.state.epoch:
            raise ValueError("Call `train` first: the baseline takes as many optimiser steps as the student did.")
        self.args.check_baseline()
        folder = str(Path(str(self.args.output_dir), "baseline"))
        steps: dict[str, Any] = {"max_steps": self.state.global_step}
        per_epoch = max(1, round(self.state.global_step / self.state.epoch))
        # Its own epochs are shorter: evaluated as often as the student, it has as many checkpoints to choose from.
        for name in ("eval", "save"):
            if getattr(self.args, f"{name}_strategy") == "epoch":
                steps |= {f"{name}_strategy": "steps", f"{name}_steps": per_epoch}
        baseline = DistillationTrainer(
            student,
            args=self.args.without_teacher(folder, **steps),
            train_dataset=labelled_rows(self.train_dataset, self.problem_type),
            eval_dataset=self.eval_dataset,
            processing_class=self.processing_class,
            data_collator=self.data_collator,
            compute_metrics=self.compute_metrics,
            preprocess_logits_for_metrics=self.preprocess_logits_for_metrics,
        )
        flag = self.args.resume_from_checkpoint
        baseline.train(resume_from_checkpoint=as_flag(flag, folder) if flag in ("True", "true") else None)
        if self.eval_dataset is not None:
            baseline.evaluate()
        baseline.save_model()
        metrics = baseline.distillation_record()["metrics"].get("student", {})
        self.record.setdefault("metrics", {})["baseline"] = metrics
        return baseline


def _check_arguments(args: DistillationTrainingArguments) -> None:
    """Refuse what the Trainer would otherwise ignore or get wrong."""
    if not isinstance(args, DistillationTrainingArguments):
        raise TypeError(f"`args` must be `DistillationTrainingArguments`, got {type(args).__name__}.")
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs and one process: DataParallel would run the teacher on the first GPU alone. Start "
            "with `accelerate launch`, or choose one GPU by CUDA_VISIBLE_DEVICES."
        )
    if args.label_names not in (None, ["labels"]):
        raise ValueError(f"`label_names` is {args.label_names}; the labels must be in a column `labels`. Rename it.")
