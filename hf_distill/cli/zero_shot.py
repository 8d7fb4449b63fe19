"""`hf-distill train --candidate_labels`: unlabelled text, and a teacher that was not trained on its classes."""

from typing import cast

from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.model_arguments import ModelArguments
from hf_distill.cli.printing import print_summary
from hf_distill.cli.texts import load_texts
from hf_distill.data import Task
from hf_distill.data.table import name_some
from hf_distill.pipeline.best_metric import check_best_metric
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.teacher_head import TeacherHead
from hf_distill.pipeline.transfer import TransferSet, load_transfer
from hf_distill.pipeline.zero_shot import load_zero_shot_base, zero_shot_inputs
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.training_args import DistillationTrainingArguments


def load_zero_shot(
    models: ModelArguments, data: DataArguments, args: DistillationTrainingArguments
) -> DistillationInputs:
    """Load the zero-shot teacher and the rows that the flags name.

    Raises:
        ValueError: for labelled rows to train on, no unlabelled text, or as [`ZeroShotTeacher`] does.
    """
    reference = models.teacher
    assert reference is not None
    assert models.labels is not None
    teacher = ZeroShotTeacher(
        reference.name_or_path,
        models.labels,
        models.hypothesis_template,
        prior_correction=models.prior_correction,
        multi_label=data.problem_type == "multi_label_classification",
        max_length=data.max_seq_length,
        revision=reference.revision,
        trust_remote_code=reference.trust_remote_code,
    )
    base = load_zero_shot_base(teacher, reference)
    with args.main_process_first(desc="loading the data"):
        task, transfer = _load_rows(data, teacher)
    if args.process_index == 0:
        print_summary(task.summary + transfer.data)
        print(f"The teacher compares texts with: {name_some([*map(repr, teacher.hypotheses)])}.")
    check_best_metric(task, args)
    source = models.student.pretrained or reference
    return zero_shot_inputs(task, transfer, teacher, base, source, args, data.max_seq_length)


def _load_rows(data: DataArguments, teacher: ZeroShotTeacher) -> tuple[Task, TransferSet]:
    problem_type = PROBLEM_TYPES[teacher.problem_type]
    if data.has_only_texts:
        return load_texts(data, problem_type, teacher.labels)
    task = data.load(teacher=TeacherHead(len(teacher.labels), teacher.problem_type, label_names=teacher.labels))
    return task, cast(TransferSet, load_transfer(data.transfer, task.text_columns, problem_type, task.datasets))
