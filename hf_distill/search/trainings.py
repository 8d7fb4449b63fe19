"""Train the students of a search, each exactly as `hf-distill train` would with the same flags."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback, ProgressCallback, TrainerCallback, set_seed

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.export import Predictor
from hf_distill.pipeline.evaluation import describe_run, evaluate
from hf_distill.pipeline.floor import describe_floor
from hf_distill.pipeline.inputs import DistillationInputs, select_transfer_rows
from hf_distill.pipeline.loading import ModelReference
from hf_distill.pipeline.plan import count_steps
from hf_distill.pipeline.student import StudentOptions, make_student
from hf_distill.pipeline.training import make_trainer, row_hashes_of
from hf_distill.search.architectures import Architecture, export_student
from hf_distill.search.quality import ValidationRows, read_texts
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.source import TeacherContext
from hf_distill.training.sources import make_source
from hf_distill.training_args import DistillationTrainingArguments

Flags = Mapping[str, Any]
Configure = Callable[[Flags], tuple[StudentOptions, DistillationTrainingArguments]]
LoadInputs = Callable[[ModelReference | None, PreTrainedModel | None, int, bool], DistillationInputs]


@dataclass(frozen=True)
class Candidate:
    """One point of the space.

    Attributes:
        architecture: The structure of the student.
        layers: Which of the teacher's layers it copies; None for the default, or without copied layers.
        settings: Flag of `hf-distill train` -> value, for example `temperature`.
    """

    architecture: Architecture
    layers: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def flags(self) -> dict[str, Any]:
        """The flags of `hf-distill train`."""
        layers = {} if self.layers is None else {"student_layers": self.layers}
        settings = {name: value for name, value in self.settings.items() if name != "augment" or value}
        return {**self.architecture.flags, **layers, **settings}


class Trainings:
    """The teacher, the rows and the tokenizers that all trainings of a search share.

    Args:
        load_inputs: Loads them for a pretrained student, or for students from the teacher (None). The other arguments
            are the teacher, if it is already loaded; the number of variants of each labelled text; and whether the
            vocabulary is trimmed.
        configure: From flags to the student's options and the training arguments.
    """

    def __init__(self, load_inputs: LoadInputs, configure: Configure) -> None:
        self._load_inputs, self.configure = load_inputs, configure
        self.inputs = load_inputs(None, None, 0, False)
        self._loaded: dict[tuple[str | None, int, bool], DistillationInputs] = {(None, 0, False): self.inputs}
        self._static: dict[tuple[StudentOptions, bool, int], PreTrainedModel] = {}
        self._is_labelled = False  # whether the teacher's confidence in the unlabelled text is known
        self.floor: dict[str, Any] | None = None  # of a run's record; the same for all runs

    @property
    def teacher(self) -> PreTrainedModel:
        """The teacher."""
        assert self.inputs.teacher_model is not None
        return self.inputs.teacher_model

    def inputs_for(self, candidate: Candidate) -> DistillationInputs:
        """Return the rows as token ids of a student; loaded once for each tokenizer and number of variants."""
        architecture = candidate.architecture
        key = (architecture.student, int(candidate.settings.get("augment", 0)), architecture.is_trimmed)
        if key not in self._loaded:
            student = None if architecture.student is None else ModelReference(architecture.student)
            inputs = self._load_inputs(student, self.teacher, *key[1:])
            if self._is_labelled:
                inputs = select_transfer_rows(inputs, self._args())
            self._loaded[key] = inputs
        return self._loaded[key]

    def _args(self) -> DistillationTrainingArguments:
        """Return the training arguments that do not depend on the candidate."""
        return self.configure({"output_dir": "unused", "student_num_hidden_layers": 1})[1]

    def num_steps(self, settings: Flags) -> int:
        """Return the number of optimizer steps of a training with some flags."""
        args = self.configure({**settings, "output_dir": "unused", "student_num_hidden_layers": 1})[1]
        return count_steps(args, len(self.inputs.train_dataset))

    def make(self, candidate: Candidate) -> PreTrainedModel:
        """Make an untrained student.

        Raises:
            OSError: if a pretrained student cannot be loaded.
            ValueError: if the student cannot be made from the teacher.
        """
        options, args = self.configure({**candidate.flags, "output_dir": "unused"})
        return self._make(options, self.inputs_for(candidate), args.seed)

    def _make(self, options: StudentOptions, inputs: DistillationInputs, seed: int) -> PreTrainedModel:
        if options.static_dim is None:
            return self._make_anew(options, inputs, seed)
        # A static student needs a pass of the teacher over its vocabulary, which every trial would repeat.
        key = (options, inputs.trimmed_teacher is not None, seed)
        if key not in self._static:
            self._static[key] = self._make_anew(options, inputs, seed)
        return copy.deepcopy(self._static[key])

    def _make_anew(self, options: StudentOptions, inputs: DistillationInputs, seed: int) -> PreTrainedModel:
        set_seed(seed)
        return make_student(options, inputs.student_source, inputs.task, inputs.train_dataset, inputs.tokenizer)

    def train(
        self, candidate: Candidate, seed: int, output_dir: Path, callbacks: Sequence[TrainerCallback] = ()
    ) -> DistillationTrainer:
        """Train a student, and return its Trainer."""
        inputs = self.inputs_for(candidate)
        options, args = self.configure({**candidate.flags, "seed": seed, "output_dir": str(output_dir)})
        student = self._make(options, inputs, seed)
        trainer = make_trainer(student, inputs, args)
        trainer.recorder.row_hashes = row_hashes_of(student, inputs)
        for callback in (PrinterCallback, ProgressCallback):  # a search prints one line for each trial
            trainer.remove_callback(callback)
        for added in callbacks:
            trainer.add_callback(added)
        trainer.train()
        return trainer

    def save(self, trainer: DistillationTrainer, candidate: Candidate) -> None:
        """Save a trained student with record and card, as `hf-distill train` does."""
        inputs = self.inputs_for(candidate)
        evaluate(trainer, inputs)
        describe_run(trainer, inputs)
        if self.floor is None:
            describe_floor(trainer, inputs)
            self.floor = trainer.record.get("floor", {})
        trainer.record["floor"] = self.floor
        trainer.save_model(_internal_call=True)
        trainer.create_model_card()

    def label(self) -> tuple[ValidationRows, float]:
        """Run the teacher on every row that is not stored yet.

        Returns:
            The validation rows with the teacher's answers, and the seconds that this took.
        """
        start = time.perf_counter()
        args, inputs = self._args(), self.inputs
        context = TeacherContext(args, inputs.tokenizer, list(inputs.task.text_columns))
        source = make_source(self.teacher, inputs.teacher_tokenizer, "teacher_", context)
        source.prepare(inputs.train_dataset)
        labelled = source.prepare(inputs.eval_dataset)
        self.inputs = select_transfer_rows(inputs, args)
        self._loaded, self._is_labelled = {(None, 0, False): self.inputs}, True
        split = inputs.task.validation_splits[0]
        rows = ValidationRows(
            inputs.task,
            read_texts(inputs.task, split),
            np.asarray(labelled["labels"]),
            np.asarray(labelled[TEACHER_LOGITS], dtype=np.float32),
        )
        return rows, time.perf_counter() - start

    def logits(self, trainer: DistillationTrainer, candidate: Candidate, texts: Sequence[Any]) -> np.ndarray:
        """Return the logits of a trained student on the validation rows; of its export, if that is not float32."""
        architecture, inputs = candidate.architecture, self.inputs_for(candidate)
        if architecture.variant == "float32":
            return np.asarray(trainer.predict(cast(Dataset, trainer.eval_dataset)).predictions, dtype=np.float32)
        with tempfile.TemporaryDirectory() as folder:
            export = Path(folder) / "export"
            export_student(trainer.model, inputs.tokenizer, export, architecture.variant, inputs.max_length)
            return Predictor(export, num_threads=torch.get_num_threads()).logits(texts)
