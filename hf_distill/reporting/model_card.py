"""The model card of a distilled student, from the record of the run that made it.

Strings of the record come from outside and may hold anything: `_clean` makes each one printable line without a local
folder or a token, and `escape` makes it mean itself in Markdown. Numbers are the record's.
"""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_distill._redaction import has_token, publishable
from hf_distill.objectives import OBJECTIVES
from hf_distill.reporting.table import MODELS, NOT_AVAILABLE, escape, finite, markdown_table, one_line, results_table

TAGS = ["distillation", "knowledge-distillation", "hf_distill"]

# Problem type -> the Hub's name of the task, what the model is called, what `pipeline` is told, what the loss is of.
_KINDS = {
    "single_label_classification": ("text-classification", "text classifier", "", "examples"),
    "multi_label_classification": ("text-classification", "multi-label text classifier", ", top_k=None", "examples"),
    # A single output would go through a sigmoid by default.
    "regression": ("text-classification", "regression model for text", ', function_to_apply="none"', "examples"),
    "token_classification": (
        "token-classification",
        "token classifier",
        ', aggregation_strategy="simple"',
        "words",
    ),
    "masked_lm": ("fill-mask", "masked language model", "", "masked tokens"),
}

# The Hub still answers to these without a namespace; any other bare name is taken for a local folder.
_BARE_IDS = frozenset(
    {f"{name}-{case}" for name in ("bert-base", "bert-large", "distilbert-base") for case in ("cased", "uncased")}
    | {"albert-base-v2", "bert-base-multilingual-cased", "distilbert-base-multilingual-cased", "distilroberta-base"}
    | {"roberta-base", "roberta-large", "xlm-roberta-base", "xlm-roberta-large"}
)
_SCORES = frozenset(  # no loss, no agreement
    "accuracy f1 matthews_correlation pearson spearmanr f1_micro f1_macro subset_accuracy entity_f1 "
    "token_accuracy".split()
)


def model_card(record: Mapping[str, Any]) -> ModelCard:
    """Write the card of a student.

    Args:
        record: What `distillation.json` holds.

    Returns:
        The card; `card.data` may still be changed, `card.save(path)` writes it.
    """
    metadata = _metadata(record)
    record = _clean(record)
    sections = (_introduction, _usage, _results, _loss, _training, _data, _making, _limits)
    body = "\n\n".join(section(record) for section in sections)
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n")


def _clean(value: Any) -> Any:
    """Make every text of the record one printable line that may leave this machine."""
    return _one_line(publishable(value))


def _one_line(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_one_line(name): _one_line(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return one_line(value) if isinstance(value, str) else value


def _hub_id(name: str | None) -> str | None:
    """Return the name if it can be an id on the Hub: `namespace/name` that is no local folder, or an old bare name."""
    if not name or has_token(name) or not ("/" in name or name in _BARE_IDS):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def _label(name: str | None) -> str:
    """A model or data set by its id, or by the last component of its path; empty if it has no name."""
    return _hub_id(name) or re.split(r"[/\\]", _clean(name or "").rstrip("/\\"))[-1]


def _metadata(record: Mapping[str, Any]) -> ModelCardData:
    # The raw record: once its folders are gone, a local path can look like an id.
    task = _KINDS[record["problem_type"]][0]
    origin = _hub_id(record["student"].get("origin"))
    dataset = _hub_id((record.get("dataset") or {}).get("id"))
    scores = _student_scores(record)
    results = _eval_results(_clean(record), dataset, scores) if dataset else []
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        tags=[task, *TAGS],
        base_model=origin,
        base_model_relation="finetune" if origin else None,
        teacher_model=_label((record.get("teacher") or {}).get("name_or_path")) or None,
        datasets=[dataset] if dataset else None,
        metrics=list(scores) or None,
        # Without results the name would stay in the metadata by itself, where the Hub has no use for it.
        model_name=_clean(record["student"]["name"]) if results else None,
        eval_results=results or None,
    )


def _student_scores(record: Mapping[str, Any]) -> dict[str, float]:
    scores = (record.get("metrics") or {}).get("student") or {}
    names = [name for name in scores if name == record.get("metric_name") or name in _SCORES]
    return {_clean(name): scores[name] for name in names if finite(scores[name]) is not None}


def _eval_results(record: Mapping[str, Any], dataset_id: str, scores: Mapping[str, float]) -> list[EvalResult]:
    dataset, task = record["dataset"], _KINDS[record["problem_type"]][0]
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


def _describe_model(model: Mapping[str, Any]) -> str:
    kind, depth, size = (_text(model.get(key)) for key in ("model_type", "num_hidden_layers", "num_parameters"))
    return escape(f"{kind}, {depth} layers, {size} parameters")


def _describe_teacher(teacher: Mapping[str, Any]) -> str:
    if members := teacher.get("teachers"):
        one_by_one = ", ".join(_describe_teacher(member) for member in members)
        mean_of = escape(_text(teacher.get("mean_of")))
        return f"the mean of the {mean_of} of an ensemble of {len(members)} teachers: {one_by_one}"
    name = escape(_label(teacher.get("name_or_path")))
    if teacher.get("model_type") == "function":
        return f"what the function {name} answers" if name else "what a function answers"
    return f"{name or 'an unnamed teacher'} ({_describe_model(teacher)})"


def _describe_dataset(dataset: Mapping[str, Any] | None) -> str:
    if not dataset or not dataset.get("id"):
        return "data that the record does not name"
    config = f" ({escape(dataset['config'])})" if dataset.get("config") else ""
    return escape(_label(dataset["id"])) + config


def _text(value: Any) -> str:
    """A value in full, as the record has it."""
    return NOT_AVAILABLE if value is None else f"{value:,}" if type(value) is int else str(value)


def _introduction(record: Mapping[str, Any]) -> str:
    student, teacher = record["student"], record.get("teacher")
    kind = _KINDS[record["problem_type"]][1]
    origin = "distilled from the stored outputs of a teacher that the record does not name"
    if teacher:
        origin = f"distilled from {_describe_teacher(teacher)}"
    elif record["objectives"].keys() == {"ce"}:
        origin = "trained on labels alone, without a teacher"
    return (
        f"# {escape(student['name'])}\n\nThis {kind} ({_describe_model(student)}) was {origin}, on "
        f"{_describe_dataset(record.get('dataset'))}. It loads with Transformers like any other model."
    )


def _results(record: Mapping[str, Any]) -> str:
    metrics, metric_name = record.get("metrics") or {}, record.get("metric_name")
    models = [model for model in MODELS if metrics.get(model)]
    dataset = record.get("dataset") or {}
    if not models:
        return "## Results\n\nNo evaluation was recorded."
    parts = [f"## Results\n\n{_evaluated_on(dataset)}"]
    if metric_name:
        rows = [_row(record, model) for model in models]
        parts += [results_table(rows, metric_name, dataset.get("eval_rows")), _reading(record)]
    names = dict.fromkeys(name for model in models for name in metrics[model] if name != metric_name)
    others = [[name, *(_score(metrics[model].get(name)) for model in models)] for name in names]
    if others:
        parts.append(markdown_table(["metric", *(MODELS[model] for model in models)], others))
    return "\n\n".join(parts)


def _row(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    described = record.get("teacher") if model == "teacher" else record["student"]
    latency = (record.get("latency") or {}).get(model) or {}
    return {
        **record["metrics"][model],
        "model": model,
        "num_parameters": (described or {}).get("num_parameters"),
        "p50_ms": latency.get("p50_ms"),
    }


def _score(value: Any) -> str:
    return NOT_AVAILABLE if finite(value) is None else f"{value:.4f}"


def _evaluated_on(dataset: Mapping[str, Any]) -> str:
    split = f", split {escape(dataset['eval_split'])}" if dataset.get("eval_split") else ""
    rows = f", {escape(_text(dataset['eval_rows']))} rows" if dataset.get("eval_rows") is not None else ""
    return f"Evaluated on {_describe_dataset(dataset)}{split}{rows}."


def _reading(record: Mapping[str, Any]) -> str:
    text = (
        "Retention is the score divided by the teacher's. The baseline is the same student trained without the "
        "teacher, and gap closed is (student − baseline) / (teacher − baseline)."
    )
    latency = record.get("latency") or {}
    cores = f", {escape(_text(latency['cores']))} cores" if latency.get("cores") is not None else ""
    return f"{text} Latency is of one text in float32{cores}." if latency else text


def _loss(record: Mapping[str, Any]) -> str:
    objectives: Mapping[str, Mapping[str, Any]] = record["objectives"]
    terms = [
        f"{_number(arguments['weight'])} · {_formula(name, arguments, record['problem_type'])}"
        for name, arguments in objectives.items()
    ]
    inner = any("logits" not in OBJECTIVES[name].student_reads for name in objectives if name in OBJECTIVES)
    compared = "logits, or what the objective's name says" if inner else "logits"
    papers = [f"- {escape(name)}: {OBJECTIVES[name].paper}" for name in objectives if name in OBJECTIVES]
    text = (
        f"## Loss\n\n```text\nL = {' + '.join(terms)}\n```\n\nThe mean over {_KINDS[record['problem_type']][3]}; "
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
    known = {name.replace("_", " "): _text(dataset[name]) for name in names if dataset.get(name) is not None}
    name = _label(dataset.get("id")) or NOT_AVAILABLE
    return "## Data\n\n" + markdown_table(["data set", name], list(known.items()))


def _usage(record: Mapping[str, Any]) -> str:
    task, _, options, _ = _KINDS[record["problem_type"]]
    return (
        "## How to use\n\n```python\nfrom transformers import pipeline\n\n"
        f'classifier = pipeline("{task}", model={json.dumps(record["student"]["name"])}{options})\n'
        'classifier("A text like those of the training data.")\n```'
    )


def _making(record: Mapping[str, Any]) -> str:
    versions = {"hf_distill": record["hf_distill_version"], **record["versions"]}
    made_with = ", ".join(f"{escape(name)} {escape(str(version))}" for name, version in versions.items())
    text = f"## How it was made\n\nOn {escape(record['created'])}, with {made_with}."
    if record.get("teacher") and record["teacher"].get("revision"):
        text += f" The teacher's revision was {escape(record['teacher']['revision'])}."
    if record.get("command"):
        text += f"\n\n```shell\n{shlex.join(record['command'])}\n```"
    return text


def _limits(record: Mapping[str, Any]) -> str:
    limits = [
        "A student learns what its teacher answers, right or wrong: it inherits the teacher's errors and biases, and "
        "adds some of its own.",
        "The licences of the weights that it started from, of the teacher and of the data may restrict its use.",
    ]
    if record.get("metrics"):
        evaluated = _evaluated_on(record.get("dataset") or {}).replace("Evaluated", "It was evaluated only", 1)
        limits.insert(0, f"{evaluated} Nothing is known of other texts, domains and languages.")
        limits.insert(1, "The scores are of a single run; another seed would give others.")
    else:
        limits.insert(0, "No evaluation was recorded. Measure the model on your own data before you rely on it.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)
