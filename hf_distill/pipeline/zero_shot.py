"""What a run with a zero-shot teacher trains with."""

from transformers import PreTrainedModel

from hf_distill.data import Task
from hf_distill.data.table import name_some
from hf_distill.pipeline.inputs import DistillationInputs
from hf_distill.pipeline.loading import ModelReference, label_maps, load_tokenizer, load_with_labels
from hf_distill.pipeline.transfer import TransferSet
from hf_distill.teachers import ZeroShotTeacher
from hf_distill.training_args import DistillationTrainingArguments


def load_zero_shot_base(teacher: ZeroShotTeacher, reference: ModelReference) -> PreTrainedModel:
    """Load the teacher's encoder with a new head for the candidate labels, from which a student can be made.

    Args:
        teacher: The teacher.
        reference: Where its model is.
    """
    return load_with_labels(reference, teacher.problem_type, label_maps(teacher.labels), teacher.problem_type)


def zero_shot_inputs(
    task: Task,
    transfer: TransferSet,
    teacher: ZeroShotTeacher,
    base: PreTrainedModel,
    tokenizer_source: ModelReference,
    args: DistillationTrainingArguments,
    max_length: int = 128,
) -> DistillationInputs:
    """Tokenize unlabelled text and the rows to evaluate on.

    Args:
        task: The rows to evaluate on, labelled or not, as [`load_inputs`] takes them.
        transfer: The text to train on.
        teacher: The teacher.
        base: What [`load_zero_shot_base`] returns.
        tokenizer_source: The model whose tokenizer the student has.
        args: Training arguments, which say which process tokenizes first.
        max_length: Number of tokens after which rows are cut.

    Raises:
        OSError: if the tokenizer cannot be loaded.
        ValueError: if labels are not candidate labels, or if the texts are pairs.
    """
    known = {label.casefold() for label in teacher.labels}
    unknown = [name for name in task.label_names or [] if name.casefold() not in known]
    if unknown:
        raise ValueError(
            f"{len(unknown)} of the {len(task.label_names or [])} labels of the rows are no candidate labels: "
            f"{name_some(unknown)}. The candidate labels are {name_some(teacher.labels)}. Write these into the label "
            "column, or rename all labels with --label_map. If the labels are ids, name them in their order with "
            "--class_names."
        )
    if len(task.text_columns) > 1:
        raise ValueError(
            f"A zero-shot teacher reads one text, and the rows have the pair {' and '.join(task.text_columns)}. Pass "
            "--text_column_delimiter to join the two."
        )
    task = task.for_model(base)
    tokenizer = load_tokenizer(tokenizer_source)
    with args.main_process_first(desc="tokenizing the data"):
        rows = task.tokenize(tokenizer, max_length, keep_text=True)
        text = task.tokenize_dataset(transfer.text, tokenizer, max_length, keep_text=True)
    return DistillationInputs(task, rows, text, tokenizer, max_length, teacher, transfer=transfer, student_base=base)
