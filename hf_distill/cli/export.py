"""`hf-distill export`: a classifier as ONNX, in float32 or int8, checked against the model that it came from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from hf_distill.classifiers.label_maps import label2id_of
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.cli.arguments import load_tokenizer, parse
from hf_distill.data import load_text_dataset, load_transfer_text
from hf_distill.data.files import LABEL_COLUMNS, TAG_COLUMNS
from hf_distill.data.readers import read_file
from hf_distill.export import export_model
from hf_distill.export.folder import load_classifier
from hf_distill.export.predictor import EXPORT_NAME
from hf_distill.reporting.text import PLAIN


@dataclass
class ExportArguments:
    """Which model, where to, and how to check it."""

    model_name_or_path: str = field(metadata={"help": "Path or Hub id of the classifier, e.g. a student."})
    output_dir: str = field(metadata={"help": "Folder for model.onnx, the tokenizer and the labels."})
    quantize: str | None = field(
        default=None,
        metadata={"help": "int8: weights of a quarter of the size. Unset: float32.", "choices": ["int8"]},
    )
    max_seq_length: int | None = field(
        default=None, metadata={"help": "Tokens after which a text is cut. Unset: as many as the model can take."}
    )
    text_file: str | None = field(
        default=None,
        metadata={
            "help": "Texts to compare the export with the model on: .txt (one a line), CSV, TSV, JSON, Parquet. "
            "Unset: random token ids."
        },
    )
    text_column_names: str | None = field(
        default=None, metadata={"help": "Text column, or two of a pair: a,b. Unset: the string columns, if 1 or 2."}
    )
    label_column_name: str | None = field(
        default=None,
        metadata={
            "help": "Label column, for the task's metrics of model and export. Unset: label, else labels, if any."
        },
    )
    max_eval_samples: int | None = field(default=None, metadata={"help": "Compare on so many texts, the first ones."})
    tolerance: float | None = field(
        default=None,
        metadata={
            "help": "How far apart they may be: in float32 max |Δlogit| / max(1, max |logit|), 1e-3 if unset; in int8 "
            "the share of decisions that differ, 0.05 if unset."
        },
    )

    def __post_init__(self) -> None:
        of_file = (self.text_column_names, self.label_column_name, self.max_eval_samples)
        if self.text_file is None and any(value is not None for value in of_file):
            raise ValueError(
                "--text_column_names, --label_column_name and --max_eval_samples are of --text_file, which is not set."
            )


def run(arguments: Sequence[str]) -> None:
    """Export a model, and print by how much it differs and how large it is."""
    (args,) = parse((ExportArguments,), arguments)
    tokenizer = load_tokenizer(args.model_name_or_path)
    model = load_classifier(args.model_name_or_path)
    try:
        parity = export_model(
            model,
            args.output_dir,
            quantize=args.quantize,
            processing_class=tokenizer,
            tolerance=args.tolerance,
            max_length=args.max_seq_length,
            **_load_texts(args, model),
        )
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(_summary(parity, args))


def _load_texts(args: ExportArguments, model: PreTrainedModel) -> dict[str, Any]:
    """Return texts, pairs of them or lists of words to compare on; and if the file has labels, how to score them."""
    if args.text_file is None:
        return {}
    names = None if args.text_column_names is None else args.text_column_names.split(",")
    problem_type = resolve_problem_type(model).name
    usual = TAG_COLUMNS if problem_type == "token_classification" else LABEL_COLUMNS
    if args.label_column_name is None and not set(usual) & set(read_file(args.text_file).column_names):
        rows = load_transfer_text(args.text_file, None, names)
        return {"texts": _texts(rows, names or rows.column_names, args.max_eval_samples)}
    task = load_text_dataset(
        validation_file=args.text_file,
        text_column_names=names,
        label_column_name=args.label_column_name,
        problem_type=problem_type,
    )
    rows, label2id = task.datasets["validation"], label2id_of(model.config)
    return {
        "texts": _texts(rows, task.text_columns, args.max_eval_samples),
        "labels": task.model_labels(rows, label2id)[: args.max_eval_samples],
        "compute_metrics": task.compute_metrics_for(label2id),
    }


def _texts(rows: Dataset, columns: Sequence[str], limit: int | None) -> list[Any]:
    values = [rows[name][:limit] for name in columns]
    return values[0] if len(values) == 1 else list(zip(*values, strict=True))


def _summary(parity: dict[str, Any], args: ExportArguments) -> str:
    folder = Path(args.output_dir)
    size = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
    whole = 4 * json.loads((folder / EXPORT_NAME).read_text(encoding="utf-8"))["num_parameters"]
    agreement = "" if parity["agreement"] is None else f", {parity['agreement']:.2%} of the decisions equal"
    return (
        f"Compared with the model on {parity['on']}: max |Δlogit| {parity['max_abs_difference']:.2g}, logits up to "
        f"{parity['max_abs_logit']:.2g}{agreement}. Tolerance: {parity['tolerance']:g}.\n{_metrics(parity)}"
        f"{folder} holds {size / 1e6:,.1f} MB of weights ({args.quantize or 'float32'}); the model has "
        f"{whole / 1e6:,.1f} MB in float32."
    )


def _metrics(parity: dict[str, Any]) -> str:
    found = parity.get("metrics", {"model": {}})
    scores = [
        f"{name} {PLAIN.score(value, name)}, of the export {PLAIN.score(found['export'][name], name)}"
        for name, value in found["model"].items()
    ]
    return f"Of the model: {'; '.join(scores)}.\n" if scores else ""
