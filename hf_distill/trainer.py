"""The Trainer that distills: `transformers.Trainer` with a teacher in its loss."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import datasets
import torch
from huggingface_hub import CommitInfo
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, HubStrategy, TrainOutput
from transformers.utils import logging

from hf_distill.cache.fingerprint import identify
from hf_distill.classifiers.compiled import compiled_in_place
from hf_distill.classifiers.forward import compute_outputs
from hf_distill.classifiers.outputs import (
    ADDED_BY_COLLATOR,
    IS_UNIT,
    TEACHER_LOGITS,
    WORD_STARTS,
    Batch,
    ClassifierOutputs,
)
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.classifiers.sharding import keep_embeddings_apart
from hf_distill.classifiers.signature import input_names
from hf_distill.data import Task
from hf_distill.data.seen_rows import hash_rows_of
from hf_distill.data.tokens import TokenCollator
from hf_distill.hub.card.files import find_license
from hf_distill.objectives import DistillationLoss, Objective, build_objectives
from hf_distill.teachers import BaseTeacher, TeacherEnsemble, ZeroShotTeacher
from hf_distill.training.argument_checks import check_arguments, check_keywords
from hf_distill.training.baseline import BaselineParts, baseline_arguments, check_baseline_student
from hf_distill.training.bound_student import BoundStudent
from hf_distill.training.calibration import calibrate, calibration_logs, check_calibratable
from hf_distill.training.checkpoints import RunCheckpoints
from hf_distill.training.collating import UnitCollator, prepare_loader
from hf_distill.training.evaluation import (
    describe_missing_metric,
    missing_for_loss,
    on_labelled_rows,
)
from hf_distill.training.folder_lock import locked_folder
from hf_distill.training.guards import EarlyTeacherCheck
from hf_distill.training.label_checks import LabelCheckingCollator
from hf_distill.training.labelled_rows import labelled_rows
from hf_distill.training.launch import check_launch
from hf_distill.training.loss import ClipAndZero
from hf_distill.training.monitor import Observation
from hf_distill.training.optimizer_settings import check_has_trained_weights, given_settings
from hf_distill.training.progress import replace_progress
from hf_distill.training.publisher import RunPublisher
from hf_distill.training.recorder import RunRecorder, describe_data
from hf_distill.training.run_fingerprint import RunFingerprint
from hf_distill.training.run_identity import (
    INITIAL_STUDENT,
    RunIdentity,
    describe_collator,
    describe_optimizer,
    describe_student,
)
from hf_distill.training.sampling import LengthGroupedSampler, SetEpoch
from hf_distill.training.search_objective import SearchObjective, cheap_garbage_collection
from hf_distill.training.slow_precision import warn_of_slow_precision
from hf_distill.training.source import TeacherContext
from hf_distill.training.stop_signals import stopping_on_signals
from hf_distill.training.student import check_student, without_preparation
from hf_distill.training.subclasses import (
    check_same_class,
    warn_about_loss_without_teacher,
    warn_about_unmarked_batch,
)
from hf_distill.training.teaching import Teaching
from hf_distill.training.tensor_float32 import settle_tensor_float32
from hf_distill.training.units import NumberedRows
from hf_distill.training_args import DistillationTrainingArguments

logger = logging.get_logger(__name__)


class DistillationTrainer(Trainer):
    r"""Train a student classifier on the outputs of a teacher, on labels, or on both.

    The loss of one optimizer step is the weighted sum of its objectives, each summed over the units (rows) of all
    accumulated micro-batches of all processes and divided by their number, once, for all terms alike:

    $$L = \frac{1}{N} \sum_{i=1}^{N} \big(w_\mathrm{soft}\, \tau^2\, \mathrm{KL}(p^T_i \| p^S_i)
    + w_\mathrm{hard}\, \mathrm{CE}_i\big)$$

    So the gradient does not depend on how the rows are split. A row without a label (-100, NaN for regression, or no
    `labels` column) adds 0 to the hard loss and still counts. docs/tracking.md lists what is logged.

    A loss that is NaN or infinite stops the run with a `FloatingPointError` that names the term, the step, the rows by
    their numbers in the dataset, and the teacher if its logits are the cause. No checkpoint is written after such a
    loss.

    Args:
        model: The student. Exactly one of `model` and `model_init` is needed.
        teacher_model: The fine-tuned teacher: a model or PEFT model (frozen, and moved to the device unless it is
            quantized or spread over several devices), a path or a Hub id; a function from texts to logits, which is
            called once per distinct text ([`~hf_distill.teachers.FunctionTeacher`]); a
            [`~hf_distill.teachers.ZeroShotTeacher`], which needs no labels; a list of these or a [`TeacherEnsemble`].
            None if the datasets have the teacher's outputs as columns (`teacher_logits`, which
            [`~hf_distill.data.soft_labels`] can make, or `teacher_cls_states`), or if no objective reads a teacher.
        args: The arguments, which include the constants of the loss.
        train_dataset: Tokenized rows. Columns that only the teacher reads, `token_type_ids` for instance, are kept.
        eval_dataset: The same, or a dict of them.
        teacher_processing_class: The teacher's tokenizer if it differs from the student's: the raw text beside the
            token ids is then tokenized for the teacher and truncated to its `model_max_length`. All teachers of an
            ensemble share it, unless the `TeacherEnsemble` names one tokenizer for each.
        teacher_text_columns: The columns with the raw text (one column, the two of a pair, or the column of words)
            for teachers that do not read the student's token ids. Unset: the text columns, if there are no others.
        objectives: A spec or a list of [`~hf_distill.objectives.Objective`], in place of what `args` says.
        **trainer_kwargs: `data_collator`, `processing_class`, `model_init`, `compute_metrics`, `callbacks`,
            `optimizers` and the other arguments of `transformers.Trainer`.

    Raises:
        ValueError: before training starts, for label spaces that do not match, a dataset that cannot be trained on,
            or settings that exclude each other; the message says what to do.
        TypeError: for a teacher of another type.
    """

    model: PreTrainedModel
    args: DistillationTrainingArguments

    # The loss is normalized here. Trainer believes that BERT normalizes by itself, which it does not (#47688).
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        teacher_model: PreTrainedModel
        | str
        | os.PathLike
        | Callable
        | Sequence
        | TeacherEnsemble
        | ZeroShotTeacher
        | None = None,
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
        check_keywords(trainer_kwargs)
        args = args or DistillationTrainingArguments("tmp_trainer")
        check_arguments(args, objectives, compute_loss_func)
        check_launch(args, has_teacher=teacher_model is not None)
        warn_of_slow_precision(args)
        self._objectives, self._teacher_model = objectives, teacher_model
        loss, tokenizer = self._build_loss(args), trainer_kwargs.get("processing_class")
        text_columns = None if teacher_text_columns is None else list(teacher_text_columns)
        context = TeacherContext(args, tokenizer, text_columns, loss.teacher_reads)
        self.teaching = Teaching(teacher_model, teacher_processing_class, context)
        self.recorder, self.publisher = RunRecorder(args), RunPublisher(args)
        self.record: dict[str, Any] = {}
        self.search_objective = SearchObjective(has_metrics=compute_metrics is not None)
        self._is_constructed = False
        callbacks, optimizers = trainer_kwargs.get("callbacks") or [], trainer_kwargs.get("optimizers") or (None, None)
        shared = [self, model, teacher_model, train_dataset, eval_dataset]
        self._baseline_parts = BaselineParts(callbacks, optimizers, shared)
        optimizer = describe_optimizer(args, optimizers[0], trainer_kwargs.get("optimizer_cls_and_kwargs"))
        self.identity = RunIdentity(type(self).__name__, self.teaching, optimizer)
        super().__init__(
            model=compiled_in_place(model),
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            compute_metrics=compute_metrics,
            **trainer_kwargs,
        )
        settle_tensor_float32(args)
        self.identity.collator = describe_collator(self.data_collator)
        self.label_names = ["labels"]  # Trainer finds none if `forward` hides its signature
        self._bind(self.model, loss)
        replace_progress(self, loss.current_values)
        self._is_constructed = True
        if compute_metrics is not None:
            self.compute_metrics = on_labelled_rows(compute_metrics, self.problem_type, args.batch_eval_metrics)
        self.train_dataset, self.eval_dataset = self.bound.prepare_first(self.train_dataset, self.eval_dataset)
        self._wrap_collator()
        if args.calibrate_teacher:
            self._calibrate_teacher()

    # ---- Construction ----

    @property
    def teacher(self) -> BaseTeacher | None:
        """From a batch to the teacher's outputs; None without a teacher."""
        return self.teaching.teacher

    @property
    def problem_type(self) -> ProblemType:
        """The student's problem type."""
        return self.bound.problem_type

    @property
    def class_names(self) -> list[str]:
        """Names of the student's classes, by id."""
        return self.bound.class_names

    @property
    def distillation_loss(self) -> DistillationLoss:
        """The objectives."""
        return self.bound.loss_runner.loss

    @property
    def _is_sharded(self) -> bool:
        return self.is_deepspeed_enabled or self.is_fsdp_enabled

    def _unwrapped(self, model: nn.Module) -> PreTrainedModel:
        return cast(PreTrainedModel, self.accelerator.unwrap_model(model, keep_torch_compile=False))

    def _build_loss(self, args: DistillationTrainingArguments) -> DistillationLoss:
        spec = args.objective_spec() if self._objectives is None else self._objectives
        return DistillationLoss(build_objectives(spec))

    def _bind(self, student: PreTrainedModel, loss: DistillationLoss) -> None:
        """Make what depends on the student, the loss or the accelerator; `model_init` and trials make it anew."""
        check_student(student, self._teacher_model, self._is_sharded)
        if self.is_fsdp_enabled:
            keep_embeddings_apart(self.accelerator.state.fsdp_plugin, student)
        is_padded_here = isinstance(self.processing_class, PreTrainedTokenizerBase) and not self._is_sharded
        tokenizer = cast(PreTrainedTokenizerBase, self.processing_class) if is_padded_here else None
        rows = [self.train_dataset, *self._eval_datasets().values()]
        first_names = self.class_names if self._is_constructed else None
        self.bound = BoundStudent(
            student, loss, self.teaching, tokenizer, rows, self.accelerator, self.args, first_names
        )
        has_given_scheduler = self.lr_scheduler is not None and not self._created_lr_scheduler
        self.bound.loss_runner.check_trainable(self._is_sharded, has_given_scheduler)
        self.identity.student = describe_student(student)
        if self.is_world_process_zero():
            self.recorder.initial_student = self.identity.initial_student = identify(student)
        self._replace_callback(EarlyTeacherCheck(self.bound.monitor.check_teacher))
        self._replace_callback(ClipAndZero(loss))
        if self._is_constructed:  # until then the labels are not checked
            self.bound.bind_classes(self.train_dataset)

    def _wrap_collator(self) -> None:
        if self.problem_type.is_token_level and not isinstance(self.data_collator, TokenCollator):
            side = getattr(self.processing_class, "padding_side", "right")
            self.data_collator = TokenCollator(self.data_collator, side)
        collate = self.teaching.wrap_collator(self.data_collator)
        self.data_collator = LabelCheckingCollator(collate, self.problem_type, self.class_names)

    def _calibrate_teacher(self) -> None:
        check_calibratable(self.teaching, self.problem_type)
        eval_dataset = next(iter(self._eval_datasets().values()))
        batches = self._marked_batches(eval_dataset) if eval_dataset is not None else []
        results = calibrate(cast(BaseTeacher, self.teacher), batches, self.bound.units)
        self.record["teacher_calibration"] = results
        for logs in calibration_logs(results):
            self.log(logs)

    def _marked_batches(self, eval_dataset: Any) -> Iterator[dict[str, Tensor]]:
        self.bound.units.evaluated_loader = self.get_eval_dataloader(eval_dataset)
        for batch in self.bound.units.evaluated_loader:
            inputs = cast("dict[str, Tensor]", self._prepare_inputs(batch))
            self.bound.units.mark_evaluation(inputs)
            yield inputs

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """Make a student by `model_init`, and fit objectives and teacher to it."""
        model = compiled_in_place(cast(PreTrainedModel, super().call_model_init(trial)))
        if self._is_constructed:
            self._bind(model, self._build_loss(self.args))
        return model

    def _replace_callback(self, callback: TrainerCallback) -> None:
        self.pop_callback(type(callback))
        self.add_callback(callback)

    def _eval_datasets(self) -> dict[str, Any]:
        return self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval": self.eval_dataset}

    # ---- Runs ----

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train with the arguments of `transformers.Trainer.train`.

        `resume_from_checkpoint=True` continues from the newest complete checkpoint of this run in the output folder,
        and starts anew if there is none; docs/resuming.md says what identifies a run and how signals stop it.

        Raises:
            ValueError: for a checkpoint that is damaged, does not exist or belongs to another run.
            OSError: for a checkpoint that cannot be written; the checkpoints before it are complete. Also if another
                process trains into the output folder.
        """
        folder = str(self.args.output_dir)
        with contextlib.ExitStack() as stack:
            if self.is_world_process_zero():
                stack.enter_context(locked_folder(Path(folder)))
            self._forget_evaluation()
            if self.model is not None:  # a trial of a search makes its student later
                self.teaching.check_unchanged(self._unwrapped(self.model).config, self.class_names)
            self.train_dataset = self.bound.preparation.prepare_new(self.train_dataset, "training")
            self.bound.monitor.check_stored_outputs(self.train_dataset)
            self.checkpoints = self._run_checkpoints()
            if trial is None:  # the settings of a trial are not known yet
                resume_from_checkpoint = self.checkpoints.find(resume_from_checkpoint, folder)
            self.record.pop("resumed_with", None)
            if changes := self.checkpoints.resumed_with:
                self.record["resumed_with"] = changes
                starts = [entry[INITIAL_STUDENT][0] for entry in changes if INITIAL_STUDENT in entry]
                self.recorder.initial_student = next(iter(starts), self.recorder.initial_student)
            stack.enter_context(stopping_on_signals(self.callback_handler, self.accelerator, self.args))
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _forget_evaluation(self) -> None:
        is_made_anew = self.model_init is not None or self._is_sharded
        if not is_made_anew and not isinstance(self.model_wrapped, DistributedDataParallel):
            self.model = self.model_wrapped = without_preparation(self.model, self.accelerator)

    def _run_checkpoints(self) -> RunCheckpoints:
        if self.model is not None:  # a trial of a search makes its student later
            self.identity.student = describe_student(self._unwrapped(self.model))  # before FSDP renames its weights

        def fingerprint() -> RunFingerprint:
            self._set_signature_columns_if_needed()
            return self.identity.fingerprint(
                self.args,
                self.bound,
                getattr(self.processing_class, "padding_side", None),
                self.train_dataset,
                self._eval_datasets(),
                cast("list[str]", self._signature_columns),
            )

        return RunCheckpoints(fingerprint)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> TrainOutput:
        self.bound.monitor.training.reset()  # an attempt with a larger batch that ran out of memory leaves values, too
        output = super()._inner_training_loop(*args, **kwargs)
        self._check_finite("training", self.train_dataset)  # the steps after the last log
        return output

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: str | list[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Search as `transformers.Trainer.hyperparameter_search` does; the teacher runs once.

        Args:
            hp_space: From a trial to the values of arguments.
            compute_objective: From the metrics of an evaluation to the number to optimize. Unset: the sum of the
                metrics that `compute_metrics` returns, else the evaluation loss.
            n_trials: Number of trials.
            direction: "minimize" or "maximize". Unset: "minimize" for your own `compute_objective`; otherwise metrics
                are maximized and the loss is minimized.
            *args: `backend` and `hp_name`.
            **kwargs: Arguments of the backend.

        Raises:
            ValueError: for a direction that contradicts the default objective, or a trial that changes the loss by
                which trials would be compared.
        """
        objective, direction = self.search_objective.choose(compute_objective, direction)
        with cheap_garbage_collection():
            return super().hyperparameter_search(hp_space, objective, n_trials, direction, *args, **kwargs)

    def _hp_search_setup(self, trial: Any) -> None:
        super()._hp_search_setup(trial)
        if trial is not None:
            searched = trial if isinstance(trial, dict) else trial.params
            self.search_objective.check_trial(searched, self._objectives, self.args)
            # A trial can set the temperature or a weight, and it has a new accelerator.
            self._bind(self.model, self._build_loss(self.args))

    def train_baseline(self, student: PreTrainedModel) -> "DistillationTrainer":
        """Train the same student without the teacher, which measures how much the teacher helped; call after `train`.

        The baseline minimizes the hard loss alone on the labelled rows, for as many optimizer steps as the distilled
        student took, with the same seed, optimizer settings, callbacks and rule for its checkpoint, into
        `<output_dir>/baseline`. Its metrics enter the record.

        Args:
            student: A copy of the student as it was before `train`.

        Returns:
            The baseline's Trainer; its `model` is the baseline.

        Raises:
            ValueError: if `train` has not run, no row has a label, or optimizer, callbacks or class of this Trainer
                cannot be used again.
        """
        args = baseline_arguments(self.args, self.state, self.distillation_loss)
        if not self._is_sharded:  # DeepSpeed and FSDP rename and split the weights
            check_baseline_student(student, self.accelerator.unwrap_model(self.model))
        self._baseline_parts.check_optimizer()
        arguments: dict[str, Any] = {
            "model": student,
            "args": args,
            "train_dataset": labelled_rows(self.train_dataset, self.problem_type),
            "eval_dataset": self.eval_dataset,
            "processing_class": self.processing_class,
            "data_collator": self.data_collator,
            "compute_metrics": self.compute_metrics,
            "preprocess_logits_for_metrics": self.preprocess_logits_for_metrics,
            "optimizer_cls_and_kwargs": self.optimizer_cls_and_kwargs,
            "callbacks": self._baseline_parts.copy_callbacks(),
        }
        check_same_class(type(self), list(arguments))
        baseline = type(self)(**arguments)
        baseline.identity.is_student_reproducible = self.identity.is_student_reproducible
        if self.is_world_process_zero() and baseline.recorder.initial_student != self.recorder.initial_student:
            logger.warning(
                "The baseline does not start from the student's initial weights, so what they differ in is not only "
                "what the teacher taught. Pass a copy of the student as it was before `train`."
            )
        baseline.recorder.row_hashes = {
            split: hashes for split, hashes in self.recorder.row_hashes.items() if split != "transfer"
        }
        resumes = (self.args.resume_from_checkpoint or "").lower() == "true"
        checkpoint = baseline._run_checkpoints().newest(str(args.output_dir)) if resumes else None
        baseline.train(resume_from_checkpoint=checkpoint)
        if self.eval_dataset is not None:
            baseline.evaluate()
        baseline.save_model()
        metrics = baseline.distillation_record()["metrics"].get("student", {})
        self.record.setdefault("metrics", {})["baseline"] = metrics
        return baseline

    # ---- Rows and batches ----

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            signature = cast("list[str]", self._signature_columns)
            tokenizer_names = getattr(self.processing_class, "model_input_names", ())
            names = input_names(self._unwrapped(self.model), frozenset(tokenizer_names))
            signature += sorted(names - frozenset(signature))
            self._student_columns = frozenset(signature) - {"label", "label_ids", *self.label_names}
            # Pruning would drop what the student does not read: DistilBERT has no segment ids, its teacher has.
            signature += sorted((self.teaching.read_columns | {WORD_STARTS}) - frozenset(signature))

    def _remove_unused_columns(self, dataset: datasets.Dataset, description: str | None = None) -> datasets.Dataset:
        # This is the last thing that Trainer does to a dataset before it makes the loader.
        return NumberedRows.of(super()._remove_unused_columns(dataset, description))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or not isinstance(dataset, datasets.Dataset):
            return super()._get_train_sampler(train_dataset)
        sampler = LengthGroupedSampler.of(dataset, self.args, self._train_batch_size)
        self._replace_callback(SetEpoch(sampler))
        return sampler

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # Trainer's would follow `train_sampling_strategy`, and `predict` would return rows out of order.
        if self.args.world_size > 1 or not hasattr(eval_dataset, "__len__"):
            return None
        return SequentialSampler(eval_dataset)

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        loader = super()._get_dataloader(*args, **kwargs)
        prepare_loader(loader, self.problem_type)
        return loader

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any) -> Any:
        prepare_loader(train_dataloader, self.problem_type)  # also a loader that a subclass makes
        return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the loader of an evaluation set; a new set gets the columns that the teachers read first."""
        self.eval_dataset = self.bound.preparation.prepare_new(self.eval_dataset, "evaluation")
        return super().get_eval_dataloader(self.bound.preparation.prepare_new(eval_dataset, "evaluation"))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """Return the loader of rows to predict; a new set gets the columns that the teachers read first."""
        return super().get_test_dataloader(self.bound.preparation.prepare_new(test_dataset, "prediction"))

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Fetch the micro-batches of one optimizer step, mark the units of each, and count them all."""
        # Trainer, resumed at its last step, would take one step more than `max_steps` (transformers 5.23).
        is_finished = self.state.global_step >= self.state.max_steps
        batches = self.bound.units.fetch(epoch_iterator, 0 if is_finished else num_batches)
        return batches, self.bound.units.count(batches, device)

    # ---- Loss ----

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimizer, with a group for what the objectives learn."""
        check_has_trained_weights(self.model if model is None else model)
        optimizer = super().create_optimizer(model)
        self.bound.loss_runner.add_to(optimizer)
        return optimizer

    def training_step(
        self, model: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Train on one micro-batch; hooks of a subclass that leave out what the loss needs are named."""
        if IS_UNIT not in inputs:
            warn_about_unmarked_batch(type(self))
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not self.bound.monitor.has_seen_training:
            warn_about_loss_without_teacher(type(self))
        return loss

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
            inputs: A batch, which can include columns that only the teacher reads.
            return_outputs: Whether to return `{"logits": ..., "teacher_logits": ...}` too, `(batch, num_labels)` each,
                or `(batch, length, num_labels)` for tokens.
            num_items_in_batch: Units of the whole accumulated batch of all processes; None for the units of this
                batch.
        """
        # First the teacher, whose activations are freed at once: those of the student stay until its backward pass.
        teacher = self._run_teacher(model, inputs)
        student = self._run_student(model, inputs)
        student_units, teacher_units, batch = self.bound.units.select(student, teacher, inputs)
        # Evaluations of different steps compare only at the same weights and temperatures: the last ones.
        progress = self.state.global_step / max(1, self.state.max_steps) if model.training else 1.0
        terms = self.bound.loss_runner.run(student_units, teacher_units, batch, progress)
        seen = Observation(student_units, teacher_units, batch, terms, self.state.global_step + model.training)
        self.bound.monitor.track(seen, model.training, num_items_in_batch)
        loss = self.bound.loss_runner.normalize(terms, batch[IS_UNIT], num_items_in_batch)
        if not return_outputs:
            return loss
        outputs = {"logits": student.logits}
        if teacher is not None and teacher.logits is not None:
            outputs[TEACHER_LOGITS] = teacher.logits
        return loss, outputs

    def _run_student(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs:
        self._set_signature_columns_if_needed()
        # Without the labels: the model would compute its own loss, and write `config.problem_type`.
        inputs = {name: value for name, value in inputs.items() if name in self._student_columns}
        return compute_outputs(model, inputs, self.distillation_loss.student_reads)

    def _run_teacher(self, model: nn.Module, inputs: Batch) -> ClassifierOutputs | None:
        if self.teacher is None or (model.training and not self.distillation_loss.teacher_reads):
            return None
        return self.teacher(inputs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with every term of the training loss beside `loss`; the first time also with its numbers."""
        if "loss" in logs:
            self._check_finite("training", self.train_dataset)
            is_first = not any("loss" in entry for entry in self.state.log_history)
            logs.update(self.bound.monitor.training_logs(is_first))
            self.bound.monitor.check_teacher()
        super().log(logs, start_time)

    def _check_finite(self, role: str, dataset: Any) -> None:
        self.bound.monitor.check_finite(role, partial(self._unusable_teacher_rows, dataset))

    def _unusable_teacher_rows(self, dataset: Any, rows: list[int]) -> list[int]:
        """Run the teacher again on some rows, and return those with logits that nothing can be learned from."""
        if not rows or not isinstance(dataset, datasets.Dataset):
            return []
        numbered: Any = self._remove_unused_columns(dataset)
        collate = UnitCollator(self.data_collator, self.problem_type)
        batch = cast("dict[str, Tensor]", self._prepare_inputs(collate(numbered.__getitems__(rows))))
        is_usable = self.teaching.usable_rows(batch, self.bound.units)
        return [row for row, usable in zip(rows, is_usable, strict=True) if not usable]

    # ---- Evaluation ----

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Evaluate; the loss and its terms are exact means over the rows, however they are split."""
        prepare_loader(dataloader, self.problem_type)
        self.bound.begin_evaluation(dataloader)
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        self.search_objective.note(metric_key_prefix, output.metrics or {})
        self._check_finite("evaluation", dataloader.dataset)
        compute_metrics = self.compute_metrics if self._scores_teacher else None
        metrics = self.bound.finish_evaluation(compute_metrics, output.label_ids)
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return output._replace(metrics={**(output.metrics or {}), **named})

    @property
    def _scores_teacher(self) -> bool:
        # A metric that is computed batch by batch, or from more than logits and labels, is the student's alone.
        is_plain = not self.args.batch_eval_metrics and not self.args.include_for_metrics
        return self.compute_metrics is not None and is_plain

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return loss, logits and labels of one batch of evaluation, labelled or not."""
        prepared = self._prepare_inputs(inputs)
        for name in ADDED_BY_COLLATOR:  # `compute_metrics` can get the columns of the batch
            inputs.pop(name, None)
        inputs, labels = prepared, prepared.get("labels")
        self.bound.units.mark_evaluation(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            if missing := missing_for_loss(inputs, self.teacher, self.distillation_loss, self.problem_type):
                logger.warning_once(f"{missing}: predictions only, no loss.")
                loss, outputs = None, {"logits": self._run_student(model, inputs).logits}
            else:
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        if self._scores_teacher and TEACHER_LOGITS in outputs and labels is not None:
            self.bound.teacher_predictions.add(outputs[TEACHER_LOGITS], labels, self.preprocess_logits_for_metrics)
        return loss, outputs["logits"], labels

    # ---- Checkpoints ----

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        name = f"eval_{(self.args.metric_for_best_model or '').removeprefix('eval_')}"
        if self.args.metric_for_best_model is None or name in metrics:
            return super()._determine_best_metric(metrics, trial)
        if trial is None:
            if self.state.best_metric is None:  # so the run can be resumed with another metric
                self.checkpoints.forget_choice()
            self._save_checkpoint(self.model_wrapped, trial)
        raise ValueError(describe_missing_metric(name, metrics, self.args, self.state))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._check_finite("training", self.train_dataset)
        if not self._is_sharded:  # each process would see other weights, and not all would stop
            self.bound.monitor.check_weights(self.model, self.state.global_step)
        folder = Path(self._get_output_dir(trial=trial))
        with self.checkpoints.saving(folder, self.state, self.args.should_save, self._is_sharded):
            if self.args.should_save:  # with `save_only_model` too: the best checkpoint is evaluated with them
                self.bound.loss_runner.save(str(folder / f"checkpoint-{self.state.global_step}"))
            super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        self.bound.loss_runner.load(checkpoint)
        with given_settings(self.optimizer, self.lr_scheduler, self.checkpoints.has_changed):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self.bound.loss_runner.load_best(self.state.best_model_checkpoint)

    # ---- Record, card and Hub ----

    def distillation_record(self) -> dict[str, Any]:
        """Return what `distillation.json` and the model card contain: models, loss, settings, metrics, `self.record`.

        What the caller knows and the Trainer does not (dataset, command, the baseline's metrics) goes into
        `self.record`, in the same form.
        """
        return self.recorder.describe(
            self.accelerator.unwrap_model(self.model),
            self.processing_class,
            self.hub_model_id or self.args.hub_model_id,
            self.teaching.description,
            self.distillation_loss,
            self.problem_type,
            self.recorder.last_metrics(self.state, self.eval_dataset),
            self.state.max_steps,
            self.record,
        )

    def describe_data(self, task: Task, rows: Mapping[str, datasets.Dataset]) -> None:
        """Put the dataset and the metric that models are compared by into `self.record`, for the card and the report.

        Args:
            task: The task.
            rows: The token ids that the models were trained and evaluated on: `train`, with labelled and unlabelled
                rows, and the first validation split of the task.
        """
        self.record |= describe_data(task, rows)
        if not self.recorder.row_hashes and self.is_world_process_zero():
            self.recorder.row_hashes = hash_rows_of(task.datasets, task.text_columns)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.args.should_save:
            super()._save(output_dir, state_dict)
            return
        with self.recorder.saving(output_dir, self.distillation_record()) as folder:
            super()._save(folder, state_dict)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write the model card, from the record of the run, into `README.md` in the output folder.

        Text and metadata of the user in `README.md` stay. If hf_distill did not write `README.md`, it stays as it is,
        and the card goes to `MODEL_CARD.md`.

        Args:
            language: Language of the texts, as an ISO 639-1 code.
            license: The student's license, as an identifier of the Hub.
            tags: Tags in addition to the card's own.
            model_name: Heading of the card; unset, the name of the repository or the output folder.
            finetuned_from: Not used, like the arguments after it: the record has this. Trainer's callers pass them.
            tasks: Not used.
            dataset_tags: Not used.
            dataset: Not used; set `self.record["dataset"]`.
            dataset_args: Not used.
        """
        if self.is_world_process_zero():
            self.recorder.write_card(self.distillation_record(), language, license, tags, model_name)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **card: Any,
    ) -> CommitInfo:
        """Save the student, write its card, and push both in one commit; checkpoints, teacher and baseline stay local.

        Exports and the report are made later: [`~hf_distill.hub.publish.publish`] pushes these too.

        Args:
            commit_message: Message of the commit.
            blocking: Whether to wait until the upload is complete; if not, a future is returned.
            token: A token of the Hub; None for the token of the current login.
            revision: Branch to push to; None for `args.hub_revision`, else the main branch.
            private: Whether a new repository is private.
            **card: Arguments of [`create_model_card`].

        Raises:
            ConnectionError: if the push fails. The student stays in the output folder, and the message says how to
                try again.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.teaching.description is not None and self.is_world_process_zero():
            self.teaching.description = find_license(self.teaching.description)
        self.save_model(_internal_call=True)
        self.create_model_card(**card)
        if not self.is_world_process_zero():
            return cast(CommitInfo, None)  # as Trainer does on processes that do not push
        token = token or self.args.hub_token
        try:
            if self.hub_model_id is None:
                self.init_hf_repo(token=token, private=private)
            self._finish_current_push()
            repo_id = str(self.hub_model_id)
            branch = self.publisher.look(repo_id, token, revision)
            self.create_model_card(**card)  # again, because the card on the Hub can have edits
            job = self.publisher.upload(repo_id, commit_message, not blocking, token, revision, branch)
            return cast(CommitInfo, job)
        except Exception as error:  # of many kinds: no connection, no token, a refusal
            repo = self.hub_model_id or self.args.hub_model_id
            raise self.publisher.failure(error, repo, token) from None  # the cause can quote a token

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push the model of a checkpoint in the background; Trainer would add its arguments as a pickle."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done() and not self.args.hub_always_push:
            return
        job = self.publisher.push_checkpoint(checkpoint_folder, str(self.hub_model_id), self.state.global_step)
        self.push_in_progress = job or self.push_in_progress  # type: ignore[assignment]
