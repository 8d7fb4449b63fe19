"""Calibration of the teachers of a run on labelled rows, before training."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers.utils import logging

from hf_distill.classifiers.outputs import IS_UNIT
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.teachers import BaseTeacher, EnsembleTeacher
from hf_distill.teachers.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    calibrate_temperature,
    negative_log_likelihood,
)
from hf_distill.training.teaching import Teaching
from hf_distill.training.units import Units

logger = logging.get_logger(__name__)


def check_calibratable(teaching: Teaching, problem_type: ProblemType) -> None:
    """Refuse `calibrate_teacher` if no temperature can be found.

    Raises:
        ValueError: without a teacher, with given temperatures, or if the outputs are not distributions.
    """
    if teaching.teacher is None:
        reason = "there is no teacher"
    elif teaching.has_given_temperatures:
        reason = "`temperatures` of the ensemble are given"
    elif not problem_type.has_temperature:
        reason = f"{problem_type.name} has no temperature"
    else:
        return
    raise ValueError(f"`calibrate_teacher` finds the teacher's temperature, and {reason}. Remove one of them.")


def calibrate(teacher: BaseTeacher, batches: Iterable[dict[str, Tensor]], units: Units) -> list[dict[str, Any]]:
    """Find each teacher's temperature on labelled units, and divide its logits by it from now on.

    Args:
        teacher: The teacher, or an ensemble.
        batches: Marked batches of evaluation rows, on the device.
        units: Selects the units of a batch.

    Returns:
        For each teacher `temperature`, `nll_before`, `nll_after` and `num_units`.

    Raises:
        ValueError: if no unit has a label.
    """
    members = teacher.members if isinstance(teacher, EnsembleTeacher) else [teacher]
    logits, labels = _labelled_logits(members, batches, units)
    results: list[dict[str, Any]] = []
    for member, member_logits in zip(members, logits, strict=True):
        member.temperature = calibrate_temperature(member_logits, labels)
        if not 1.01 * MIN_TEMPERATURE < member.temperature < 0.99 * MAX_TEMPERATURE:
            logger.warning(
                f"The teacher's temperature is {member.temperature:.3g}, an end of the searched range: on the "
                "evaluation set the teacher is always right, or its logits say nothing about the labels. "
                "Calibrate it on more rows, or not at all."
            )
        results.append(
            {
                "temperature": member.temperature,
                "nll_before": negative_log_likelihood(member_logits, labels),
                "nll_after": negative_log_likelihood(member_logits, labels, member.temperature),
                "num_units": len(labels),
            }
        )
    return results


def calibration_logs(results: Sequence[dict[str, Any]]) -> Iterator[dict[str, float]]:
    """Yield what is logged of the calibration of each teacher, with the teacher's number if there are several."""
    for i, result in enumerate(results):
        name = f"teacher_{i}" if len(results) > 1 else "teacher"
        yield {f"{name}_{key}": value for key, value in result.items() if key != "num_units"}


@torch.no_grad()
def _labelled_logits(
    members: Sequence[BaseTeacher], batches: Iterable[dict[str, Tensor]], units: Units
) -> tuple[list[Tensor], Tensor]:
    """Return each teacher's logits on the labelled units of all processes, and the labels."""
    logits: list[list[Tensor]] = [[] for _ in members]
    labels: list[Tensor] = []
    for batch in batches:
        if "labels" not in batch:
            break
        for i, member in enumerate(members):
            outputs, _, selected = units.select(member(batch), None, batch)
            keep = selected[IS_UNIT] & units.problem_type.is_labelled(selected["labels"])
            logits[i].append(outputs.logits[keep].cpu())
        labels.append(selected["labels"][keep].cpu())
    all_labels = gather_object(labels)
    if not sum(map(len, all_labels)):
        raise ValueError("`calibrate_teacher` needs labelled rows that no model was trained on: pass `eval_dataset`.")
    return [torch.cat(gather_object(member_logits)) for member_logits in logits], torch.cat(all_labels)
