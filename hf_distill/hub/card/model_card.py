"""The model card of a distilled student, from the record of its training and from later measurements.

Strings come from outside and can contain anything: `printable` makes each one a printable line, and `escape` prevents
that Markdown interprets it. `hf_distill.record` has removed tokens and local folders when it read or wrote the files.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard

from hf_distill.hub.card.exports import exports_section
from hf_distill.hub.card.from_record import evaluation_data, results_section, test_data
from hf_distill.hub.card.from_report import report_data, report_section
from hf_distill.hub.card.loss import loss_section
from hf_distill.hub.card.metadata import card_metadata
from hf_distill.hub.card.words import (
    KINDS,
    as_text,
    describe_dataset,
    describe_files,
    describe_model,
    describe_teacher,
    describe_transfer,
    describe_unlabelled,
    describe_zero_shot,
    label,
    printable,
    reads_pairs,
)
from hf_distill.reporting.markdown import markdown_table
from hf_distill.reporting.tables import TEACHER_MEASURES
from hf_distill.reporting.text import NOT_AVAILABLE, escape

_UNKNOWN = "unknown"


def model_card(
    record: Mapping[str, Any],
    report: Mapping[str, Any] | None = None,
    export: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Write the card of a student.

    Args:
        record: The content of `distillation.json`, from `read_record` or `DistillationTrainer.distillation_record`.
        report: The content of `report.json`, from `read_report`. Its scores with intervals replace the record's.
        export: The content of `export.json` at the root of the repository, if there are exports.

    Returns:
        The card. `card.data` can still be changed; `card.save(path)` writes it.
    """
    metadata = card_metadata(printable(record), None if report is None else printable(report))
    body = "\n\n".join(card_sections(record, report, export).values())
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n")


def card_sections(
    record: Mapping[str, Any],
    report: Mapping[str, Any] | None = None,
    export: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the sections of the card: name -> text. The arguments are those of [`model_card`]."""
    record = printable(record)
    report = None if report is None else printable(report)
    return {
        "introduction": _introduction(record),
        "usage": _usage(record),
        "intended_use": _intended_use(record, report),
        "results": results_section(record) if report is None else report_section(report),
        **({"exports": exports_section(record, printable(export))} if export else {}),
        "loss": loss_section(record),
        "training": _training(record),
        "data": _data(record),
        "origins": _origins(record),
        "making": _making(record),
        "limits": _limits(record, report),
    }


def _introduction(record: Mapping[str, Any]) -> str:
    student, teacher, dataset = record["student"], record.get("teacher"), record.get("dataset")
    noun = KINDS[record["problem_type"]].noun
    if teacher:
        origin = f"distilled from {describe_teacher(teacher)}"
    elif record["objectives"].keys() == {"ce"}:
        origin = "trained on labels alone, without a teacher"
    else:
        origin = "distilled from stored outputs of a teacher whose name was not recorded"
    data = describe_unlabelled(dataset) or describe_dataset(dataset)
    on_data = f", on {data}" if data else ""
    loads = "loads with Transformers like any other model."
    if student.get("has_remote_code"):
        loads = "comes with its own code, which Transformers runs only with `trust_remote_code=True`."
    return f"# {escape(student['name'])}\n\nThis {noun} ({describe_model(student)}) was {origin}{on_data}. It {loads}"


def _usage(record: Mapping[str, Any]) -> str:
    kind = KINDS[record["problem_type"]]
    name = json.dumps(record["student"]["name"])
    trust = ", trust_remote_code=True" if record["student"].get("has_remote_code") else ""
    text = '{"text": "The first text.", "text_pair": "The second text."}' if reads_pairs(record) else kind.example
    return (
        "## How to use\n\n```python\nfrom transformers import pipeline\n\n"
        f'classifier = pipeline("{kind.task}", model={name}{kind.pipeline_arguments}{trust})\n'
        f"classifier({text})\n```"
    )


def _intended_use(record: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    can_replace = None if report is None else report["verdict"]["replace"]
    teacher, instead, doubt = "its teacher" if record.get("teacher") else "the teacher", "", ""
    if report is not None and not can_replace:
        says = "did not show that the model can" if can_replace is None else "says that the model should not"
        doubt = f" The report below {says} replace {teacher}."
    elif record.get("teacher"):
        instead = " in place of its teacher,"
    dataset, unlabelled = describe_dataset(record.get("dataset")), describe_unlabelled(record.get("dataset"))
    texts = f"the texts in {dataset}" if dataset else "its training data"
    texts = f"the {unlabelled}" if unlabelled else texts
    return (
        f"## Intended use\n\nUse this model as a {KINDS[record['problem_type']].noun}{instead} for texts similar to "
        f"{texts}.{doubt} The model has not been tested on other texts. Do not base a decision about a person on its "
        "output alone."
    )


def _training(record: Mapping[str, Any]) -> str:
    settings = {name.replace("_", " "): str(value) for name, value in record["training"].items() if value is not None}
    teacher = record.get("teacher") or {}
    if teacher.get("dtype"):
        settings["precision of the teacher"] = teacher["dtype"]
    table = markdown_table(["setting", "value"], list(settings.items()))
    return "\n\n".join(filter(None, ["## Training", table, describe_zero_shot(teacher)]))


def _data(record: Mapping[str, Any]) -> str:
    dataset = record.get("dataset")
    if not dataset:
        return "## Data\n\nThe dataset was not recorded."
    names = ("config", "revision", "train_rows", "unlabelled_rows", "eval_split", "eval_rows")
    details = {name.replace("_", " "): as_text(dataset[name]) for name in names if dataset.get(name) is not None}
    details |= describe_transfer(dataset) | describe_files(dataset)
    name = label(dataset.get("id")) or NOT_AVAILABLE
    warnings = "\n".join(f"- {escape(warning)}" for warning in dataset.get("warnings") or [])
    return "\n\n".join(filter(None, ["## Data", markdown_table(["dataset", name], list(details.items())), warnings]))


def _origins(record: Mapping[str, Any]) -> str:
    """Return the table of the models that the student comes from, and mark what was not recorded as unknown."""
    student, teacher = record["student"], record.get("teacher")
    initial = {**student, "name_or_path": student.get("origin"), "license": student.get("origin_license")}
    teachers = (teacher.get("teachers") or [teacher]) if teacher else []
    models = [("initial weights", initial), *(("distilled from", member) for member in teachers)]
    rows = [
        [role, *(value or _UNKNOWN for value in (label(m.get("name_or_path")), m.get("revision"), m.get("license")))]
        for role, m in models
    ]
    return "## Where the weights come from\n\n" + markdown_table(["", "name", "revision", "license"], rows)


def _making(record: Mapping[str, Any]) -> str:
    versions = {"hf_distill": record["hf_distill_version"], **record["versions"]}
    packages = ", ".join(f"{escape(name)} {escape(str(version))}" for name, version in versions.items())
    text = f"## How it was made\n\nTrained on {escape(record['created'])} with {packages}."
    if record.get("command"):
        text += f"\n\n```shell\n{shlex.join(record['command'])}\n```"
    return text


def _limits(record: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    limits = [
        "A student learns its teacher's answers, right or wrong. It inherits the teacher's errors and biases, and "
        "makes further errors.",
        "The licenses of the initial weights, of the teacher and of the data may restrict the use of this model.",
    ]
    if record.get("metrics"):
        limits.insert(0, f"{_evaluated(record, report)} Its quality on other texts, domains and languages is unknown.")
        if report is None:  # a report states the number of runs itself
            limits.insert(1, "The scores come from a single run. Another seed would give different scores.")
    elif report is None:
        limits.insert(0, "No evaluation was recorded. Evaluate the model on your own data before you rely on it.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _evaluated(record: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    """Return a sentence with the rows of the training's scores, and of the report if it has other rows."""
    rows = [data for data in (evaluation_data(record.get("dataset")), test_data(record)) if data]
    if not rows:
        return "The evaluation data were not recorded."
    data = " and on ".join(rows)
    has_labels = record.get("metric_name") not in TEACHER_MEASURES
    how = "evaluated" if has_labels else "compared with its teacher, without labels,"
    report_rows = None if report is None else report_data(report)
    if report_rows is None or report_rows in rows:
        return f"The model was {how} only on {data}."
    return f"The model was {how} on {data}, and for the report it was evaluated on {report_rows}."
