"""Load the models and tokenizers of a run."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_distill.classifiers.loading import (
    explaining_load_errors,
    load_pretrained,
    load_pretrained_tokenizer,
    read_config,
)
from hf_distill.classifiers.problem_types import auto_model
from hf_distill.data import Task
from hf_distill.pipeline.pretrained_head import fit_head
from hf_distill.teachers import load_teacher
from hf_distill.utils.hub_names import split_revision


@dataclass(frozen=True)
class ModelReference:
    """Where a pretrained model and its tokenizer are.

    Args:
        name_or_path: A folder, or an id on the Hub; `user/name@revision` is an id with its revision.
        revision: Branch, tag or commit on the Hub; None for the main branch.
        trust_remote_code: Whether to run Python files that come with the model.

    Raises:
        ValueError: for two different revisions.
    """

    name_or_path: str
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        name, revision = split_revision(self.name_or_path, self.revision)
        object.__setattr__(self, "name_or_path", name)
        object.__setattr__(self, "revision", revision)


def load_tokenizer(model: ModelReference, for_words: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Args:
        model: The model.
        for_words: Whether the tokenizer will get lists of words instead of texts.

    Raises:
        OSError: if the model has no tokenizer that can be loaded.
    """
    # Without a prefix space, RoBERTa's tokenizer treats the words of a list as parts of one word.
    options = {"add_prefix_space": True} if for_words else {}
    with explaining_load_errors("The tokenizer of", model.name_or_path):
        return load_pretrained_tokenizer(model.name_or_path, model.revision, model.trust_remote_code, **options)


def load_with_new_head(model: ModelReference, task: Task) -> PreTrainedModel:
    """Load a pretrained model in float32 with a classification head for a task.

    The head has one output for each label name of the task, in the task's order. It is drawn at random unless the
    model already has a head of the same kind for the same classes.

    Raises:
        OSError: if there is no such model.
    """
    names = task.label_names or ["score"]
    # The head of a token classifier says what the problem type is; its config leaves it unset.
    return load_with_labels(model, task.problem_type, label_maps(names), None if task.has_words else task.problem_type)


def label_maps(names: Sequence[str]) -> dict[str, Any]:
    """Return `id2label` and `label2id` of a config, for label names in the order of the outputs."""
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def load_with_labels(
    model: ModelReference, head: str, labels: Mapping[str, Any], problem_type: str | None
) -> PreTrainedModel:
    """Load a pretrained model in float32 with a head for a problem type and the given label maps.

    Args:
        model: The model. A head for other classes is replaced by a random one, see
            [`~hf_distill.pipeline.pretrained_head.fit_head`].
        head: The problem type that the head is for, which decides whether texts or words are classified.
        labels: `id2label` and `label2id` of the config.
        problem_type: `problem_type` of the config.

    Raises:
        OSError: if there is no such model, or a file of weights is damaged.
        ValueError: if the config does not match the weights.
    """
    arguments = {
        "revision": model.revision or "main",
        "dtype": "float32",
        "num_labels": len(labels["id2label"]),
        "problem_type": problem_type,
        **labels,
    }
    saved = read_config(model.name_or_path, model.revision, model.trust_remote_code)
    loaded, missing_weights = load_pretrained(
        auto_model(head),
        model.name_or_path,
        arguments,
        trust_remote_code=model.trust_remote_code,
        with_new_head=True,
    )
    if saved is not None and saved.num_labels == loaded.config.num_labels:
        fit_head(loaded, saved, missing_weights, model.name_or_path)
    return loaded


def load_teacher_for(
    task: Task,
    model: ModelReference,
    *,
    with_new_head: bool = False,
    problem_type: str | None = None,
    allow_random_head: bool = False,
) -> PreTrainedModel:
    """Load a teacher and check that it fits a task.

    Args:
        task: The task.
        model: The teacher.
        with_new_head: Whether the teacher will be fine-tuned, and therefore gets a head for the task.
        problem_type: What the teacher classifies, if its config does not say so.
        allow_random_head: Whether a teacher without weights for its head is only warned about.

    Raises:
        OSError: if the teacher cannot be loaded.
        ValueError: if the teacher is for another kind of problem than the task, or if it has no weights for its head.
    """
    with explaining_load_errors("The teacher", model.name_or_path):
        if with_new_head:
            return load_with_new_head(model, task)
        teacher = load_teacher(
            model.name_or_path,
            model.revision,
            model.trust_remote_code,
            problem_type=problem_type,
            allow_random_head=allow_random_head,
        )
    task.check_model(teacher)
    return teacher


def load_tokenizers(
    task: Task, teacher: ModelReference | None, student: ModelReference | None, max_length: int
) -> tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase | None]:
    """Load the tokenizers of teacher and student.

    Args:
        task: The task.
        teacher: None if the data already have the teacher's logits.
        student: None if the student is made from layers of the teacher.
        max_length: Number of tokens after which the teacher's texts are cut, if it has another tokenizer.

    Returns:
        The tokenizer of the student's token ids, and the tokenizer of the teacher if its vocabulary differs, else
        None.

    Raises:
        OSError: if a model has no tokenizer that can be loaded.
    """
    tokenizers = [load_tokenizer(model, task.has_words) for model in (teacher, student) if model is not None]
    if len(tokenizers) == 1:
        return tokenizers[0], None
    teacher_tokenizer, student_tokenizer = tokenizers
    if student_tokenizer.get_vocab() == teacher_tokenizer.get_vocab():
        return teacher_tokenizer, None
    teacher_tokenizer.model_max_length = min(max_length, teacher_tokenizer.model_max_length)
    return student_tokenizer, teacher_tokenizer


def limit_rows(task: Task, max_train_samples: int | None = None, max_eval_samples: int | None = None) -> Task:
    """Return a task with only the first rows of its training split and of its other splits; None keeps all.

    The summary of the task gets a note, and a warning if the training rows that are left have only one class.
    """
    datasets, summary = DatasetDict(task.datasets), copy.deepcopy(task.summary)
    for split, rows in task.datasets.items():
        limit = max_train_samples if split == "train" else max_eval_samples
        if limit is None or limit >= len(rows):
            continue
        datasets[split] = rows.select(range(limit))
        flag = "--max_train_samples" if split == "train" else "--max_eval_samples"
        summary.notes.append(f"{split}: the first {limit:,} of {len(rows):,} rows are used ({flag})")
        if split == "train" and task.problem_type == "single_label_classification":
            classes = {label for label in datasets[split]["label"] if label >= 0}
            if len(classes) == 1:
                summary.warnings.append(f"train: the first {limit:,} rows have only one class. Shuffle the file.")
    return replace(task, datasets=datasets, summary=summary)
