"""Loading a teacher from a folder or from the Hub."""

import contextlib
import os
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_distill.classifiers.loading import load_pretrained, read_config
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, auto_model, problem_type_of_head
from hf_distill.utils.hub_names import split_revision

logger = logging.get_logger(__name__)


def load_teacher(
    name_or_path: str | os.PathLike,
    revision: str | None = None,
    trust_remote_code: bool = False,
    problem_type: str | None = None,
    allow_random_head: bool = True,
) -> PreTrainedModel:
    """Load a model in float32 with the head that it was saved with.

    A model that was saved with a token classification or masked language model head keeps it; every other model is
    loaded as a sequence classifier.

    Args:
        name_or_path: A folder, or an id on the Hub; `user/name@revision` is an id with its revision.
        revision: Branch, tag or commit. Only a commit identifies the weights permanently.
        trust_remote_code: Whether to run Python code that comes with the model.
        problem_type: Problem type of a sequence classifier whose config does not set it.
        allow_random_head: Whether a checkpoint without weights for the head is loaded with a random head and a
            warning. If not, it is refused.

    Raises:
        OSError: if the model does not exist, or a file of weights is damaged.
        ValueError: for two different revisions, if the model needs its own Python code and `trust_remote_code` is
            False, if its config does not match its weights, or if its head would be random and `allow_random_head` is
            False.
    """
    name_or_path, revision = split_revision(name_or_path, revision)
    revision = revision or "main"
    architectures: list[str] = []
    with contextlib.suppress(OSError):  # a model that does not exist is reported when it is loaded
        config = read_config(name_or_path, revision, trust_remote_code)
        architectures = [] if config is None else config.architectures or []
    head_problem_type = next(filter(None, map(problem_type_of_head, architectures)), "")
    model, missing_weights = load_pretrained(
        auto_model(head_problem_type),
        name_or_path,
        {"revision": revision, "dtype": torch.float32},
        trust_remote_code=trust_remote_code,
    )
    if missing_weights:
        message = (
            f"THE TEACHER WAS NEVER FINE-TUNED: {name_or_path} has no weights for {missing_weights}, so its head is "
            "random and a student would learn noise. Fine-tune the teacher on the task first, for "
            "example with `hf-distill train --fine_tune_teacher`."
        )
        if not allow_random_head:
            raise ValueError(f"{message} To train with this teacher nevertheless, pass --allow_weak_teacher.")
        logger.warning(message)
    is_unset = model.config.problem_type is None and not head_problem_type
    if is_unset and problem_type is not None and not PROBLEM_TYPES[problem_type].is_token_level:
        model.config.problem_type = cast(Any, problem_type)
    return model
