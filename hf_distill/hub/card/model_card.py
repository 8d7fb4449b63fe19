"""The model card of a distilled student, from the record of the run that made it and from what was measured since.

Strings of a record come from outside and may hold anything: `clean` makes each one printable line without a local
folder or a token, and `escape` makes it mean itself in Markdown. Numbers are the record's.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard

from hf_distill.hub.card.from_record import evaluated_on, results_section
from hf_distill.hub.card.from_report import report_section
from hf_distill.hub.card.loss import loss_section
from hf_distill.hub.card.metadata import card_metadata
from hf_distill.hub.card.words import (
    KINDS,
    as_text,
    clean,
    describe_dataset,
    describe_model,
    describe_teacher,
    label,
)
from hf_distill.reporting.tables import markdown_table
from hf_distill.reporting.text import NOT_AVAILABLE, escape

_UNKNOWN = "unknown"


def model_card(
    record: Mapping[str, Any],
    report: Mapping[str, Any] | None = None,
    exports: Mapping[str, Mapping[str, Any]] | None = None,
) -> ModelCard:
    """Write the card of a student.

    Args:
        record: What `distillation.json` holds.
        report: What `report.json` holds; its scores, with intervals, then stand in place of the record's.
        exports: Name of a folder -> what its `export.json` holds.

    Returns:
        The card; `card.data` may still be changed, `card.save(path)` writes it.
    """
    metadata = card_metadata(record)
    record, exports = clean(record), clean(exports or {})
    sections = [
        _introduction(record),
        _usage(record),
        _intended_use(record),
        results_section(record) if report is None else report_section(clean(report)),
        *([_exports(exports)] if exports else []),
        loss_section(record),
        _training(record),
        _data(record),
        _origins(record),
        _making(record),
        _limits(record, report is not None),
    ]
    body = "\n\n".join(sections)
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n")


def _introduction(record: Mapping[str, Any]) -> str:
    student, teacher = record["student"], record.get("teacher")
    kind = KINDS[record["problem_type"]][1]
    origin = "distilled from the stored outputs of a teacher that the record does not name"
    if teacher:
        origin = f"distilled from {describe_teacher(teacher)}"
    elif record["objectives"].keys() == {"ce"}:
        origin = "trained on labels alone, without a teacher"
    return (
        f"# {escape(student['name'])}\n\nThis {kind} ({describe_model(student)}) was {origin}, on "
        f"{describe_dataset(record.get('dataset'))}. It loads with Transformers like any other model."
    )


def _usage(record: Mapping[str, Any]) -> str:
    task, _, options, _ = KINDS[record["problem_type"]]
    return (
        "## How to use\n\n```python\nfrom transformers import pipeline\n\n"
        f'classifier = pipeline("{task}", model={json.dumps(record["student"]["name"])}{options})\n'
        'classifier("A text like those of the training data.")\n```'
    )


def _intended_use(record: Mapping[str, Any]) -> str:
    instead = " in its teacher's place" if record.get("teacher") else ""
    return (
        f"## Intended use\n\nAs a {KINDS[record['problem_type']][1]}{instead}, for texts like those of "
        f"{describe_dataset(record.get('dataset'))}. It has not been tried on anything else, and no decision about a "
        "person should rest on it alone."
    )


def _exports(exports: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, export in exports.items():
        parity = export.get("parity") or {}
        said = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in parity.items() if _is_scalar(value)]
        metrics = parity.get("metrics") or {"model": {}}
        said += [
            f"{name} {_short(metrics['export'][name])} against {_short(value)}"
            for name, value in metrics["model"].items()
        ]
        precision = as_text(export.get("quantize") or "float32")
        rows.append([f"{name}/", as_text(export.get("format")), precision, ", ".join(said) or NOT_AVAILABLE])
    return (
        "## Exports\n\nThe same student for other runtimes, and how far its answers are from those of the weights "
        "above. A folder of ONNX runs without torch: `hf_distill.Predictor(folder)(texts)`.\n\n"
        + markdown_table(["folder", "format", "precision", "parity"], rows)
    )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)


def _training(record: Mapping[str, Any]) -> str:
    settings = {name.replace("_", " "): str(value) for name, value in record["training"].items() if value is not None}
    teacher = record.get("teacher") or {}
    if teacher.get("dtype"):
        settings["precision of the teacher"] = teacher["dtype"]
    return "## Training\n\n" + markdown_table(["setting", "value"], list(settings.items()))


def _data(record: Mapping[str, Any]) -> str:
    dataset = record.get("dataset")
    if not dataset:
        return "## Data\n\nThe record does not name the data."
    names = ("config", "revision", "train_rows", "unlabelled_rows", "eval_split", "eval_rows")
    known = {name.replace("_", " "): as_text(dataset[name]) for name in names if dataset.get(name) is not None}
    name = label(dataset.get("id")) or NOT_AVAILABLE
    return "## Data\n\n" + markdown_table(["data set", name], list(known.items()))


def _origins(record: Mapping[str, Any]) -> str:
    """Write where the weights come from; what is not known is said to be so."""
    student, teacher = record["student"], record.get("teacher")
    started = {**student, "name_or_path": student.get("origin"), "license": student.get("origin_license")}
    teachers = (teacher.get("teachers") or [teacher]) if teacher else []
    models = [("start of the student", started), *(("its teacher", one) for one in teachers)]
    rows = [
        [role, *(value or _UNKNOWN for value in (label(m.get("name_or_path")), m.get("revision"), m.get("license")))]
        for role, m in models
    ]
    return "## Where the weights come from\n\n" + markdown_table(["", "name", "revision", "licence"], rows)


def _making(record: Mapping[str, Any]) -> str:
    versions = {"hf_distill": record["hf_distill_version"], **record["versions"]}
    made_with = ", ".join(f"{escape(name)} {escape(str(version))}" for name, version in versions.items())
    text = f"## How it was made\n\nOn {escape(record['created'])}, with {made_with}."
    if record.get("command"):
        text += f"\n\n```shell\n{shlex.join(record['command'])}\n```"
    return text


def _limits(record: Mapping[str, Any], has_report: bool) -> str:
    limits = [
        "A student learns what its teacher answers, right or wrong: it inherits the teacher's errors and biases, and "
        "adds some of its own.",
        "The licences of the weights that it started from, of the teacher and of the data may restrict its use.",
    ]
    if record.get("metrics"):
        evaluated = evaluated_on(record.get("dataset") or {}).replace("Evaluated", "It was evaluated only", 1)
        limits.insert(0, f"{evaluated} Nothing is known of other texts, domains and languages.")
        if not has_report:  # which says for itself how many runs there were
            limits.insert(1, "The scores are of a single run; another seed would give others.")
    elif not has_report:
        limits.insert(0, "No evaluation was recorded. Measure the model on your own data before you rely on it.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
