"""`hf-distill export`: a classifier as ONNX, in float32 or int8, checked against the model that it came from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_distill.cli.arguments import load_tokenizer, parse
from hf_distill.data import load_transfer_text
from hf_distill.export import export_model


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
    max_eval_samples: int | None = field(default=None, metadata={"help": "Compare on so many texts, the first ones."})
    tolerance: float | None = field(
        default=None,
        metadata={
            "help": "How far apart they may be: in float32 max |Δlogit| / max(1, max |logit|), 1e-3 if unset; in int8 "
            "the share of decisions that differ, 0.05 if unset."
        },
    )

    def __post_init__(self) -> None:
        if self.text_file is None and (self.text_column_names is not None or self.max_eval_samples is not None):
            raise ValueError("--text_column_names and --max_eval_samples are of --text_file, which is not set.")


def run(arguments: Sequence[str]) -> None:
    """Export a model, and print by how much it differs and how large it is."""
    (args,) = parse((ExportArguments,), arguments)
    texts = _load_texts(args)
    try:
        parity = export_model(
            args.model_name_or_path,
            args.output_dir,
            quantize=args.quantize,
            processing_class=load_tokenizer(args.model_name_or_path),
            texts=texts,
            tolerance=args.tolerance,
            max_length=args.max_seq_length,
        )
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(_summary(parity, args))


def _load_texts(args: ExportArguments) -> list[Any] | None:
    """Return texts, or pairs of them, to compare on."""
    if args.text_file is None:
        return None
    names = None if args.text_column_names is None else args.text_column_names.split(",")
    rows = load_transfer_text(args.text_file, None, names)
    columns = [rows[name][: args.max_eval_samples] for name in names or rows.column_names]
    return list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))


def _summary(parity: dict[str, Any], args: ExportArguments) -> str:
    folder = Path(args.output_dir)
    size = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
    whole = 4 * json.loads((folder / "export.json").read_text(encoding="utf-8"))["num_parameters"]
    agreement = "" if parity["agreement"] is None else f", {parity['agreement']:.2%} of the decisions equal"
    return (
        f"Compared with the model on {parity['on']}: max |Δlogit| {parity['max_abs_difference']:.2g}, logits up to "
        f"{parity['max_abs_logit']:.2g}{agreement}. Tolerance: {parity['tolerance']:g}.\n"
        f"{folder} holds {size / 1e6:,.1f} MB of weights ({args.quantize or 'float32'}); the model has "
        f"{whole / 1e6:,.1f} MB in float32."
    )
