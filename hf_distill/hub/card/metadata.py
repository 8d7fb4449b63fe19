"""The head of the model card: what the Hub reads."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hf_distill.data.metrics import find_metric
from hf_distill.hub.card.words import KINDS, clean, hub_id, label
from hf_distill.reporting.text import finite

TAGS = ["distillation", "knowledge-distillation", "hf_distill"]


def card_metadata(record: Mapping[str, Any]) -> ModelCardData:
    """Write the metadata from a raw record: once its folders are gone, a local path can look like an id."""
    task = KINDS[record["problem_type"]][0]
    origin = hub_id(record["student"].get("origin"))
    dataset = hub_id((record.get("dataset") or {}).get("id"))
    scores = _student_scores(record)
    results = _eval_results(clean(record), dataset, scores) if dataset else []
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        tags=[task, *TAGS],
        base_model=origin,
        # The Hub knows no relation of a student to its teacher, which `teacher_model` names.
        base_model_relation="finetune" if origin else None,
        teacher_model=label((record.get("teacher") or {}).get("name_or_path")) or None,
        datasets=[dataset] if dataset else None,
        metrics=list(scores) or None,
        # Without results the name would stay in the metadata by itself, where the Hub has no use for it.
        model_name=clean(record["student"]["name"]) if results else None,
        eval_results=results or None,
    )


def _student_scores(record: Mapping[str, Any]) -> dict[str, float]:
    scores = (record.get("metrics") or {}).get("student") or {}
    names = [name for name in scores if name == record.get("metric_name") or _is_on_card(name)]
    return {clean(name): scores[name] for name in names if finite(scores[name]) is not None}


def _is_on_card(name: str) -> bool:
    """Whether this is a metric for the card, and not e.g. a loss or an agreement."""
    metric = find_metric(name)
    return metric is not None and metric.on_card


def _eval_results(record: Mapping[str, Any], dataset_id: str, scores: Mapping[str, float]) -> list[EvalResult]:
    dataset, task = record["dataset"], KINDS[record["problem_type"]][0]
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
