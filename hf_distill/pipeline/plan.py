"""The plan of a run: its models, and its stages with rows and steps."""

import math
from dataclasses import dataclass

from transformers import PreTrainedModel

from hf_distill.classifiers.loading import origin_of
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.data.table import counted
from hf_distill.pipeline.early_stopping import early_stopping_arguments
from hf_distill.pipeline.fine_tuning import has_early_stopping
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.student import StudentOptions
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.training_args import DistillationTrainingArguments


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        name: What [`~hf_distill.utils.stages.stage`] gets.
        title: What progress bars show, without its number.
        rows: What it reads.
    """

    name: str
    title: str
    rows: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        teacher: Description of the teacher.
        student: Description of the student or the students; empty if there is none.
        stages: The stages, in order.
    """

    teacher: str
    student: str
    stages: list[Stage]

    @property
    def titles(self) -> dict[str, str]:
        """Name of a stage -> title with its number, such as "2/3 student, 562 steps"."""
        return {stage.name: f"{i}/{len(self.stages)} {stage.title}" for i, stage in enumerate(self.stages, 1)}

    def __str__(self) -> str:
        student = [f"  student: {self.student}"] if self.student else []
        stages = [f"  {title}{stage.rows}" for title, stage in zip(self.titles.values(), self.stages, strict=True)]
        return "\n".join(["Plan", f"  teacher: {self.teacher}", *student, *stages])


def make_plan(
    inputs: DistillationInputs,
    args: DistillationTrainingArguments,
    student: StudentOptions,
    *,
    fine_tunes_teacher: bool = False,
    teacher_num_train_epochs: float | None = None,
    has_baseline: bool = False,
) -> Plan:
    """Return the plan of a run.

    Args:
        inputs: Teacher and rows.
        args: Training arguments of the student.
        student: How the student is made.
        fine_tunes_teacher: Whether the teacher is fine-tuned first.
        teacher_num_train_epochs: Number of epochs of that; None for what `args` says.
        has_baseline: Whether the same student is trained without the teacher as well.
    """
    num_rows = len(inputs.train_dataset)
    num_labelled = sum(are_labelled(inputs.train_dataset, PROBLEM_TYPES[inputs.task.problem_type]))
    labelled, num_steps = f" on {num_labelled:,} labelled rows", count_steps(args, num_rows)
    stages = []
    if fine_tunes_teacher:
        stages.append(_fine_tuning(args, num_labelled, teacher_num_train_epochs, inputs.task.metric_name))
    # A zero-shot teacher always runs before training.
    if inputs.teacher is not None and (args.cache_teacher_outputs or inputs.teacher_model is None):
        stages.append(Stage("labels", f"teacher labels {num_rows + len(inputs.eval_dataset):,} texts"))
    rows = labelled if num_rows == num_labelled else f" on {num_rows:,} rows, {num_labelled:,} of them labelled"
    stages.append(Stage("student", f"student, {num_steps:,} steps", rows))
    if has_baseline:
        stages.append(Stage("baseline", f"baseline, {num_steps:,} steps", f"{labelled}, without the teacher"))
    return Plan(describe_teacher(inputs.teacher), _describe_student(student, inputs), stages)


def _fine_tuning(
    args: DistillationTrainingArguments, num_rows: int, num_train_epochs: float | None, metric_name: str
) -> Stage:
    rows = f" on {num_rows:,} labelled rows"
    if not has_early_stopping(args, num_train_epochs):
        return Stage("teacher", f"teacher, {count_steps(args, num_rows, num_train_epochs):,} steps", rows)
    num_steps = early_stopping_arguments(args, num_rows, metric_name)[0]["max_steps"]
    return Stage("teacher", f"teacher, at most {num_steps:,} steps", f"{rows}, until evaluation shows no gain")


def count_steps(args: DistillationTrainingArguments, num_rows: int, num_train_epochs: float | None = None) -> int:
    """Return the number of optimizer steps, as Trainer counts them.

    Args:
        args: Training arguments.
        num_rows: Number of rows to train on.
        num_train_epochs: Number of epochs, for which `args.max_steps` does not count; None for what `args` says.
    """
    if num_train_epochs is None and args.max_steps > 0:
        return args.max_steps
    divide = math.floor if args.dataloader_drop_last else math.ceil
    num_batches = divide(divide(num_rows / args.train_batch_size) / args.world_size)
    steps_of_epoch = max(1, math.ceil(num_batches / args.gradient_accumulation_steps))
    return math.ceil((num_train_epochs or args.num_train_epochs) * steps_of_epoch)


def describe_teacher(given: PreTrainedModel | ZeroShotTeacher | None) -> str:
    """Return the teacher's name, class and size; without a teacher, where its logits are."""
    if given is None:
        return "its logits are in the data"
    teacher = given.model if isinstance(given, ZeroShotTeacher) else given
    num_layers = getattr(teacher.config, "num_hidden_layers", None)
    layers = "" if num_layers is None else f"{counted(num_layers, 'layer')}, "
    return f"{origin_of(teacher)[0]} ({type(teacher).__name__}, {layers}{_millions(teacher)})"


def _millions(model: PreTrainedModel) -> str:
    return f"{model.num_parameters() / 1e6:,.1f}M parameters"


def _describe_student(student: StudentOptions, inputs: DistillationInputs) -> str:
    source = "the teacher" if student.pretrained is None else f"the pretrained {student.pretrained.name_or_path}"
    if student.keeps_whole_model:
        return source
    if student.static_dim is not None:
        return f"static, {student.static_dim:,} numbers for each token"
    named = student.layers if isinstance(student.layers, str) else None
    indices = [] if student.layers is None or named is not None else list(student.layers)
    if indices:
        parts = [f"layers {', '.join(map(str, indices))} of {source}"]
    elif student.num_hidden_layers is None:
        parts = [f"all layers of {source}"]
    else:
        parts = [f"{counted(student.num_hidden_layers, 'layer')} of {source} ({named or 'uniform'})"]
    if student.intermediate_size is not None:
        parts.append(f"{student.intermediate_size:,} feed-forward neurons")
    if student.architecture is not None:
        parts.append(f"as {student.architecture}")
    if inputs.trimming is not None:
        parts.append(f"{inputs.trimming['pieces']['after']:,} word pieces")
    return ", ".join(parts)
