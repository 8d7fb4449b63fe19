"""The metadata at the head of the model card, which the Hub reads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from hf_distill.data.metrics import find_metric
from hf_distill.hub.card.words import KINDS, hub_id, label, model_id
from hf_distill.reporting.tables import TEACHER_MEASURES
from hf_distill.reporting.text import finite

TAGS = ["distillation", "knowledge-distillation", "hf_distill"]


def card_metadata(record: Mapping[str, Any], report: Mapping[str, Any] | None = None) -> ModelCardData:
    """Return the metadata of a student.

    Args:
        record: A record with printable strings.
        report: A report with printable strings. If it is about the rows of the record, its scores replace the others.
    """
    task = KINDS[record["problem_type"]].task
    origin = model_id(record["student"], "origin")
    dataset = hub_id((record.get("dataset") or {}).get("id"))
    scores = _scores(record, report)
    results = _eval_results(record, dataset, scores) if dataset else []
    return ModelCardData(
        license=_inherited_license(record),
        library_name="transformers",
        pipeline_tag=task,
        tags=[task, *TAGS],
        base_model=origin,
        # The Hub has no relation between a student and its teacher. `teacher_model` names the teacher.
        base_model_relation="finetune" if origin else None,
        teacher_model=label((record.get("teacher") or {}).get("name_or_path")) or None,
        datasets=[dataset] if dataset else None,
        metrics=[score.metric for score in scores] or None,
        model_name=record["student"]["name"] if results else None,  # the Hub reads it only together with results
        eval_results=results or None,
    )


def _inherited_license(record: Mapping[str, Any]) -> str | None:
    """Return the license of the initial weights and of all teachers, if it is known and the same for all of them."""
    student, teacher = record["student"], record.get("teacher")
    licenses = [student.get("origin_license")] if student.get("origin") else []
    if teacher:
        licenses += [member.get("license") for member in teacher.get("teachers") or [teacher]]
    same = licenses[0] if licenses and len(set(licenses)) == 1 else None
    return None if same == "other" else same  # "other" stands for a text that this card does not have


class _Score(NamedTuple):
    metric: str
    value: float
    name: str | None = None


def _scores(record: Mapping[str, Any], report: Mapping[str, Any] | None) -> list[_Score]:
    if report is not None and _is_about_same_rows(report, record):
        return _report_scores(record, report)
    scores = (record.get("metrics") or {}).get("student") or {}
    names = [name for name in scores if _is_on_card(name, record)]
    return [_Score(name, scores[name]) for name in names if finite(scores[name]) is not None]


def _is_about_same_rows(report: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Return whether a report compares models on the split of the dataset that the record names."""
    dataset, task = record.get("dataset") or {}, report["task"]
    is_same_split = str(task["name"]).endswith(f", {dataset.get('eval_split')}")
    return is_same_split and task["rows"] == dataset.get("eval_rows")


def _report_scores(record: Mapping[str, Any], report: Mapping[str, Any]) -> list[_Score]:
    student = student_of(report, record)
    model = report["models"][student] if student else {}
    level = f"{100 * report['task']['confidence_level']:g} %"
    scores = []
    for name, estimate in (model.get("metrics") or {}).items():
        if not _is_on_card(name, record) or finite(estimate.get("value")) is None:
            continue
        parts = [name, *([f"mean of {model['num_runs']} runs"] if model["num_runs"] > 1 else [])]
        if finite(estimate.get("low")) is not None and finite(estimate.get("high")) is not None:
            parts.append(f"{level} interval {estimate['low']:.4f} to {estimate['high']:.4f}")
        scores.append(_Score(name, estimate["value"], ", ".join(parts) if len(parts) > 1 else None))
    return scores


def student_of(report: Mapping[str, Any], record: Mapping[str, Any]) -> str | None:
    """Return the name of the student in a report that has the size of the student of the record.

    Of several it is the model of the verdict, else the first one. None if no student of the report has this size.
    """
    size = record["student"].get("num_parameters")
    sizes = {
        name: (model.get("cost") or {}).get("num_parameters")
        for name, model in report["models"].items()
        if model["role"] == "student"
    }
    names = [name for name, known in sizes.items() if known is None or known == size]
    chosen = report["verdict"].get("model")
    return chosen if chosen in names else next(iter(names), None)


def _is_on_card(name: str, record: Mapping[str, Any]) -> bool:
    """Return whether this is a metric for the card, and not e.g. a loss or an agreement with the teacher."""
    if name == record.get("metric_name"):
        return name not in TEACHER_MEASURES
    metric = find_metric(name)
    return metric is not None and metric.on_card


def _eval_results(record: Mapping[str, Any], dataset_id: str, scores: Sequence[_Score]) -> list[EvalResult]:
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
            metric_type=score.metric,
            metric_value=score.value,
            metric_name=score.name,
        )
        for score in scores
    ]
