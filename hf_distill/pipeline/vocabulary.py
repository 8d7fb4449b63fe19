"""The teacher of a run with only the word pieces of its texts, from which its student is made."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.data import Task
from hf_distill.pipeline.transfer import TransferSet
from hf_distill.students import trim_vocabulary


def trim_teacher(
    task: Task, transfer: TransferSet | None, teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """Copy a teacher with only the word pieces of the training texts, see [`~hf_distill.students.trim_vocabulary`].

    Args:
        task: The task. Its first validation split tells how many pieces of other texts are lost.
        transfer: Unlabelled text to train on; None if there is none.
        teacher: The teacher, which is not changed.
        tokenizer: Its tokenizer.

    Returns:
        The copy, its tokenizer, and the report of [`~hf_distill.students.trim_vocabulary`].

    Raises:
        ValueError: for a task of words, or if the vocabulary cannot be trimmed.
    """
    if task.has_words:
        raise ValueError("--student_trim_vocabulary is for texts, and the rows are lists of words. Leave it out.")
    rows = [task.datasets["train"]] if "train" in task.datasets else []
    rows += [] if transfer is None else [transfer.text]
    texts = [text or "" for dataset in rows for column in task.text_columns for text in dataset[column]]
    validation = task.datasets[task.validation_splits[0]]
    held_out = [text or "" for column in task.text_columns for text in validation[column]]
    return trim_vocabulary(teacher, tokenizer, texts, held_out_texts=held_out)
