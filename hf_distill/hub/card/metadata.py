"""The metadata at the head of the model card, which the Hub reads."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hf_distill.data.metrics import find_metric
from hf_distill.hub.card.words import KINDS, hub_id, label, model_id
from hf_distill.reporting.tables import TEACHER_MEASURES
from hf_distill.reporting.text import finite

TAGS = ["distillation", "knowledge-distillation", "hf_distill"]


def card_metadata(record: Mapping[str, Any]) -> ModelCardData:
    """Return the metadata of a student.

    Args:
        record: A record with printable strings.
    """
    task = KINDS[record["problem_type"]].task
    origin = model_id(record["student"], "origin")
    dataset = hub_id((record.get("dataset") or {}).get("id"))
    scores = _student_scores(record)
    results = _eval_results(record, dataset, scores) if dataset else []
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        tags=[task, *TAGS],
        base_model=origin,
        # The Hub has no relation between a student and its teacher. `teacher_model` names the teacher.
        base_model_relation="finetune" if origin else None,
        teacher_model=label((record.get("teacher") or {}).get("name_or_path")) or None,
        datasets=[dataset] if dataset else None,
        metrics=list(scores) or None,
        model_name=record["student"]["name"] if results else None,  # the Hub reads it only together with results
        eval_results=results or None,
    )


def _student_scores(record: Mapping[str, Any]) -> dict[str, float]:
    scores = (record.get("metrics") or {}).get("student") or {}
    names = [name for name in scores if _is_on_card(name, record)]
    return {name: scores[name] for name in names if finite(scores[name]) is not None}


def _is_on_card(name: str, record: Mapping[str, Any]) -> bool:
    """Return whether this is a metric for the card, and not e.g. a loss or an agreement with the teacher."""
    if name == record.get("metric_name"):
        return name not in TEACHER_MEASURES
    metric = find_metric(name)
    return metric is not None and metric.on_card


def _eval_results(record: Mapping[str, Any], dataset_id: str, scores: Mapping[str, float]) -> list[EvalResult]:
    dataset, task = record["dataset"], KINDS[record["problem_type"]].task
    return [
        EvalResult(
            task_type=task,
            task_name=task.replace("-", " ").title(),
            dataset_type=dataset_id,
            dataset_name=" ".join(filter(None, (dataset_id, dataset.get("config")))),
            dataset_config=dataset.get("config"),
            dataset_split=dataset.get("eval_split"),
            dataset_revision=dataset.get("revision"),
            metric_type=name,
            metric_value=value,
        )
        for name, value in scores.items()
    ]
