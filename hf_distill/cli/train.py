"""`hf-distill train`: train a student with its teacher, and compare teacher, student and baseline in a table."""

import contextlib
import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, set_seed

from hf_distill.classifiers.label_maps import class_names_of
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, resolve_problem_type
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.model_arguments import TEACHER_FOLDER, ModelArguments
from hf_distill.cli.next_commands import next_commands
from hf_distill.cli.parsing import parse, read_command_line
from hf_distill.cli.printing import delayed_bars, hide_noise, print_pairing, print_summary
from hf_distill.cli.texts import load_texts
from hf_distill.cli.zero_shot import load_zero_shot
from hf_distill.pipeline.best_metric import check_best_metric
from hf_distill.pipeline.evaluation import describe_history, describe_run, evaluate, evaluate_test
from hf_distill.pipeline.fine_tuning import fine_tune_teacher, has_early_stopping
from hf_distill.pipeline.floor import describe_floor
from hf_distill.pipeline.inputs import DistillationInputs, load_inputs, select_transfer_rows
from hf_distill.pipeline.plan import Plan, make_plan
from hf_distill.pipeline.stored_fit import check_stored_logits, measure_stored_logits
from hf_distill.pipeline.student import check_layers, make_student
from hf_distill.pipeline.teacher_fit import check_teacher, measure_teacher
from hf_distill.pipeline.teacher_head import read_head
from hf_distill.pipeline.teacher_rows import find_teacher_rows
from hf_distill.pipeline.training import check_training, train
from hf_distill.pipeline.transfer import TransferSet, load_transfer
from hf_distill.reporting import summary
from hf_distill.reporting.text import PLAIN
from hf_distill.teachers import load_teacher
from hf_distill.trainer import DistillationTrainer
from hf_distill.training.earlier_run import remove_earlier_run
from hf_distill.training.folder_lock import locked_folder
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.stages import stage, titled_stages

logger = logging.getLogger(__name__)


@delayed_bars()
def run(arguments: Sequence[str]) -> None:
    """Train a student as the flags say, and print how it compares."""
    hide_noise()
    types = (ModelArguments, DataArguments, DistillationTrainingArguments)
    models, data, args = parse(types, arguments)
    args.check_trackers()
    chooses_by_task = has_early_stopping(args, models.teacher_num_train_epochs)
    if models.baseline or (models.fine_tune_teacher and not chooses_by_task):
        args.check_baseline()
    # From the teacher's fine-tuning to the saved student; each training alone would lock its own folder for its time.
    is_written = args.process_index == 0 and not models.dry_run
    with locked_folder(Path(str(args.output_dir))) if is_written else contextlib.nullcontext():
        inputs, plan = _prepare(models, data, args)
        if models.dry_run:
            _check_all(models, inputs, args)
            if args.process_index == 0:
                print("Nothing was trained or written (--dry_run).")
            return
        with titled_stages(plan.titles):
            trainer = _train(models, data, args, inputs)
        trainer.record["command"] = ["hf-distill", "train", *arguments]
        _save(trainer)
        if args.push_to_hub:
            trainer.push_to_hub()
    if args.process_index == 0:
        given = read_command_line(COMMANDS["train"].classes, arguments).values
        compared = "validation" if data.test_file is None else "test"
        refused = any(rows.are_refused and rows.split.startswith(compared) for rows in inputs.teacher_rows)
        commands = next_commands(models, given, str(args.output_dir), has_unseen_rows=not refused)
        print("\nNext:", *commands, sep="\n  ")


def _prepare(
    models: ModelArguments, data: DataArguments, args: DistillationTrainingArguments
) -> tuple[DistillationInputs, Plan]:
    """Load rows and teacher, and print what was read and the plan."""
    set_seed(args.seed)
    inputs = _load(models, data, args) if models.labels is None else load_zero_shot(models, data, args)
    has_label = any(are_labelled(inputs.train_dataset, PROBLEM_TYPES[inputs.task.problem_type]))
    if not has_label and (models.baseline or models.fine_tune_teacher):
        raise ValueError(f"{models.needs_labels}.")
    check_layers(models.student, inputs.student_source)
    plan = make_plan(
        inputs,
        args,
        models.student,
        fine_tunes_teacher=models.fine_tune_teacher,
        teacher_num_train_epochs=models.teacher_num_train_epochs,
        has_baseline=models.baseline,
    )
    if args.process_index == 0:
        if inputs.pairing is not None:
            print_pairing(inputs.pairing)
        if inputs.trimming is not None:
            print(_describe_trimming(inputs.trimming))
        print(f"\n{plan}\n")
    return inputs, plan


def _train(
    models: ModelArguments, data: DataArguments, args: DistillationTrainingArguments, inputs: DistillationInputs
) -> DistillationTrainer:
    output_dir = Path(str(args.output_dir))
    if models.fine_tune_teacher or models.overwrite_output_dir:
        _check_all(models, inputs, args)
    replaces = models.overwrite_output_dir and args.process_index == 0
    written, teacher_folder = models.written_folders(output_dir), output_dir / TEACHER_FOLDER
    if replaces and models.fine_tune_teacher:
        _remove_earlier_run([teacher_folder], written)
    teacher_check = _check_teacher(models, inputs, args)
    if replaces:  # not earlier, because a weak teacher stops the command
        _remove_earlier_run([folder for folder in written if folder != teacher_folder], written)
    inputs = select_transfer_rows(inputs, args)
    if inputs.transfer is not None and args.process_index == 0:
        print(inputs.transfer.summary())
    # Steps before this draw random numbers, and a resumed command or `hf-distill search` takes fewer of them.
    set_seed(args.seed)
    student = make_student(models.student, inputs.student_source, inputs.task, inputs.train_dataset, inputs.tokenizer)
    untrained = copy.deepcopy(student) if models.baseline else None
    trainer = train(student, inputs, args, is_student_reproducible=models.student.is_exact)
    evaluate(trainer, inputs)
    with stage("baseline"):
        baseline = None if untrained is None else trainer.train_baseline(untrained)
    if data.test_file is not None:
        evaluate_test(trainer, inputs, baseline)
    describe_run(trainer, inputs, None if baseline is None else baseline.model, data.dataset_name)
    describe_history(trainer, baseline)
    describe_floor(trainer, inputs)
    trainer.record |= {"teacher_check": teacher_check} if teacher_check else {}
    return trainer


def _check_all(models: ModelArguments, inputs: DistillationInputs, args: DistillationTrainingArguments) -> None:
    """Raise errors of student, loss or rows. A zero-shot teacher would label all texts for that."""
    if models.labels is None:
        check_training(models.student, inputs, args)


def _remove_earlier_run(folders: Sequence[Path], written: Sequence[Path]) -> None:
    """Remove what an earlier run wrote into folders, and print what stays, apart from other folders of this run."""
    for folder in folders:
        removed, others = remove_earlier_run(folder)
        stays = [name for name in others if folder / name not in written]
        names = f" These files and folders stay: {', '.join(stays)}." if stays else ""
        if removed:
            print(f"Removed the earlier run in {folder}.{names}")


def _check_teacher(
    models: ModelArguments, inputs: DistillationInputs, args: DistillationTrainingArguments
) -> dict[str, Any]:
    """Fine-tune the teacher if the flags say so, check it, and return what is known of it, for the record."""
    if inputs.teacher is None:
        return _check_stored_logits(models, inputs, args)
    report: dict[str, Any] = {}
    says = args.process_index == 0
    if models.fine_tune_teacher:
        stop = fine_tune_teacher(inputs, args, models.teacher_num_train_epochs, models.teacher_learning_rate)
        report["fine_tuning"] = stop
        if says and "best_step" in stop:
            print(
                f"The teacher was fine-tuned for {stop['steps']:,} of at most {stop['max_steps']:,} steps. Its "
                f"checkpoint of step {stop['best_step']:,} is kept, with {stop['metric']} {stop['value']:.4f}."
            )
    fit = measure_teacher(inputs, args)
    if fit is None:
        return report
    if says:
        print(fit)
    num_labelled = sum(are_labelled(inputs.train_dataset, PROBLEM_TYPES[inputs.task.problem_type]))
    num_unlabelled = len(inputs.train_dataset) - num_labelled
    warning = check_teacher(
        fit,
        num_labelled,
        num_unlabelled,
        was_fine_tuned=models.fine_tune_teacher,
        stopped_early="best_step" in report.get("fine_tuning", {}),
        allow_weak_teacher=models.allow_weak_teacher,
    )
    if warning is not None and says:
        logger.warning(warning)
    return {**report, "fit": fit.to_dict()}


def _check_stored_logits(
    models: ModelArguments, inputs: DistillationInputs, args: DistillationTrainingArguments
) -> dict[str, Any]:
    """Check the logits that the rows carry, and return what is known of them, for the record."""
    stored = measure_stored_logits(inputs)
    if stored is None:
        return {}
    if args.process_index == 0:
        print(stored)
    warning = check_stored_logits(stored, allow_weak_teacher=models.allow_weak_teacher)
    if warning is not None and args.process_index == 0:
        logger.warning(warning)
    return {"stored_logits": stored.to_dict()}


def _load(models: ModelArguments, data: DataArguments, args: DistillationTrainingArguments) -> DistillationInputs:
    head = None if models.teacher is None or models.fine_tune_teacher else read_head(models.teacher)
    teacher: PreTrainedModel | None = None
    transfer: TransferSet | None
    if models.teacher is not None and data.has_only_texts:
        reference = models.teacher
        teacher = load_teacher(
            reference.name_or_path,
            reference.revision,
            reference.trust_remote_code,
            problem_type=data.problem_type,
            allow_random_head=models.allow_weak_teacher,
        )
    with args.main_process_first(desc="loading the data"):
        if teacher is not None:
            names = class_names_of(teacher.config)
            task, transfer = load_texts(data, resolve_problem_type(teacher), names)
        else:
            task = data.load(teacher=head)
            problem_type = PROBLEM_TYPES[task.problem_type]
            transfer = load_transfer(data.transfer, task.text_columns, problem_type, task.datasets)
    if data.test_file is not None and not task.summary["test"].labelled_rows:
        raise ValueError("The rows of --test_file have no labels, and the models are evaluated on them. Leave it out.")
    given = None if models.fine_tune_teacher else models.teacher
    teacher_rows = [] if given is None else find_teacher_rows(given.name_or_path, task)
    task.summary.warnings += map(str, teacher_rows)
    if args.process_index == 0:
        print_summary(task.summary if transfer is None else task.summary + transfer.data)
    check_best_metric(task, args)
    inputs = load_inputs(
        task,
        models.teacher,
        models.student.pretrained,
        args,
        loaded_teacher=teacher,
        transfer=transfer,
        max_length=data.max_seq_length,
        with_new_head=models.fine_tune_teacher,
        problem_type=data.problem_type,
        class_names=data.names_of_outputs,
        augmentation=models.augmentation,
        trims_vocabulary=models.student_trim_vocabulary,
        allow_weak_teacher=models.allow_weak_teacher,
    )
    return replace(inputs, teacher_rows=teacher_rows)


def _describe_trimming(report: Mapping[str, Any]) -> str:
    pieces, held_out = report["pieces"], report["held_out"]
    return (
        f"The student keeps {pieces['after']:,} of {pieces['before']:,} word pieces. Of the pieces of the validation "
        f"texts, {held_out['lost']:.1%} are lost, and {held_out['unknown']:.1%} of their new pieces are unknown."
    )


def _save(trainer: DistillationTrainer) -> None:
    """Save student, record and card, and print the table."""
    trainer.save_model(_internal_call=True)  # without a push, which comes after the table
    trainer.create_model_card()
    if trainer.is_world_process_zero():
        print(f"\n{summary(trainer.distillation_record())}{_test_scores(trainer.record)}")
        print(f"\nThe student is in {trainer.args.output_dir}.")


def _test_scores(record: Mapping[str, Any]) -> str:
    """Return a line with the scores on the test rows; empty if there are none."""
    if "test" not in record:
        return ""
    name = record["metric_name"]
    scores = [
        f"{model} {PLAIN.score(record['test'][model][name], name)}"
        for model in ("teacher", "student", "baseline")
        if name in record["test"].get(model, {})
    ]
    return f"\n\n{name} on the {record['test']['rows']:,} test rows: {', '.join(scores)}"
