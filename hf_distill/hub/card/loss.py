"""The section of the model card that writes the loss out, with its constants."""

from collections.abc import Mapping
from typing import Any

from hf_distill.hub.card.words import KINDS
from hf_distill.objectives import OBJECTIVES
from hf_distill.reporting.text import escape


def loss_section(record: Mapping[str, Any]) -> str:
    """Write the formula, what its mean is over, and the papers of its terms."""
    objectives: Mapping[str, Mapping[str, Any]] = record["objectives"]
    terms = [
        f"{_number(arguments['weight'])} · {_formula(name, arguments, record['problem_type'])}"
        for name, arguments in objectives.items()
    ]
    inner = any("logits" not in OBJECTIVES[name].student_reads for name in objectives if name in OBJECTIVES)
    compared = "logits, or what the objective's name says" if inner else "logits"
    papers = [f"- {escape(name)}: {OBJECTIVES[name].paper}" for name in objectives if name in OBJECTIVES]
    text = (
        f"## Loss\n\n```text\nL = {' + '.join(terms)}\n```\n\nThe mean over {KINDS[record['problem_type']][3]}; "
        f"`student` and `teacher` are {compared}, and a term of the label is 0 where there is none."
    )
    return "\n".join([text, "", *papers]).rstrip()


def _number(value: Any) -> Any:
    """Write a schedule as the way that a number goes over the run."""
    if isinstance(value, Mapping) and "schedule" in value:
        return f"({value['start']} → {value['end']}, {value['schedule']})"
    return value


def _formula(name: str, arguments: Mapping[str, Any], problem_type: str) -> str:
    if problem_type == "regression" and name in ("kl", "ce"):
        return "(student − teacher)²" if name == "kl" else "(student − label)²"
    if problem_type == "multi_label_classification" and name == "ce":
        return "mean over labels of the binary cross-entropy(label, sigmoid(student))"
    temperature = _number(arguments.get("temperature"))
    if name == "kl" and temperature is not None:
        is_multi_label = problem_type == "multi_label_classification"
        squash, of_what = ("sigmoid", "mean over labels of ") if is_multi_label else ("softmax", "")
        return f"{temperature}² · {of_what}KL({squash}(teacher / {temperature}) ‖ {squash}(student / {temperature}))"
    given = {key: _number(value) for key, value in arguments.items() if key != "weight" and value is not None}
    if name == "ce":
        smoothing = f", label smoothing {given['label_smoothing']}" if given.get("label_smoothing") else ""
        return f"cross-entropy(label, softmax(student){smoothing})"
    return f"{name}({', '.join(['student', 'teacher', *(f'{key} = {value}' for key, value in given.items())])})"
