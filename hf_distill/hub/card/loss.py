"""The section of the model card that writes the loss as a formula with its constants."""

from collections.abc import Mapping
from typing import Any

from hf_distill.hub.card.words import KINDS
from hf_distill.objectives import OBJECTIVES
from hf_distill.reporting.text import escape


def loss_section(record: Mapping[str, Any]) -> str:
    """Return the formula, the unit that it is a mean over, and the papers of its terms."""
    objectives: Mapping[str, Mapping[str, Any]] = record["objectives"]
    terms = [
        f"{_number(arguments['weight'])} · {_formula(name, arguments, record['problem_type'])}"
        for name, arguments in objectives.items()
    ]
    reads_layers = any("logits" not in OBJECTIVES[name].student_reads for name in objectives if name in OBJECTIVES)
    inputs = "logits, or the outputs that the name of the objective says" if reads_layers else "logits"
    papers = [f"- {escape(name)}: {OBJECTIVES[name].paper}" for name in objectives if name in OBJECTIVES]
    text = (
        f"## Loss\n\n```text\nL = {' + '.join(terms)}\n```\n\nThe loss is the mean over "
        f"{KINDS[record['problem_type']].units}. `student` and `teacher` stand for {inputs}. A term with `label` is 0 "
        "if there is no label."
    )
    return "\n".join([text, "", *papers]).rstrip()


def _number(value: Any) -> Any:
    """Write a schedule as its start, its end and its shape."""
    if isinstance(value, Mapping) and "schedule" in value:
        return f"({value['start']} → {value['end']}, {value['schedule']})"
    return value


def _formula(name: str, arguments: Mapping[str, Any], problem_type: str) -> str:
    if problem_type == "regression" and name in ("kl", "ce"):
        return "(student − teacher)²" if name == "kl" else "(student − label)²"
    weights = _class_weights(arguments) if name == "ce" else ""
    if problem_type == "multi_label_classification" and name == "ce":
        weighted = f", positive labels times {weights}" if weights else ""
        return f"mean over labels of the binary cross-entropy(label, sigmoid(student){weighted})"
    temperature = _number(arguments.get("temperature"))
    if name == "kl" and temperature is not None:
        is_multi_label = problem_type == "multi_label_classification"
        squash, mean = ("sigmoid", "mean over labels of ") if is_multi_label else ("softmax", "")
        return f"{temperature}² · {mean}KL({squash}(teacher / {temperature}) ‖ {squash}(student / {temperature}))"
    values = {key: _number(value) for key, value in arguments.items() if key != "weight" and value is not None}
    if name == "ce":
        smoothing = f", label smoothing {values['label_smoothing']}" if values.get("label_smoothing") else ""
        weighted = f" · weight of the label {weights}" if weights else ""
        return f"cross-entropy(label, softmax(student){smoothing}){weighted}"
    return f"{name}({', '.join(['student', 'teacher', *(f'{key} = {value}' for key, value in values.items())])})"


def _class_weights(arguments: Mapping[str, Any]) -> str:
    weights = arguments.get("class_weights")
    if not isinstance(weights, Mapping):
        return ""
    # The formula lies in a block of code, which a name must not end.
    named = [f"{' '.join(name.replace('`', '').split())}: {weight:.4g}" for name, weight in weights.items()]
    return f"({', '.join(named)})"
