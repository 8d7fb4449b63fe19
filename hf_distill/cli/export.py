"""`hf-distill export`: export a classifier to ONNX, in float32 or int8, and compare the export with the model."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel

from hf_distill.classifiers.label_maps import id2label_of
from hf_distill.classifiers.problem_types import resolve_problem_type
from hf_distill.cli.export_arguments import ExportArguments
from hf_distill.cli.parsing import parse
from hf_distill.cli.printing import delayed_bars, hide_noise, print_summary
from hf_distill.cli.reading_arguments import ReadingArguments
from hf_distill.data import DataSummary
from hf_distill.data.files import read_task
from hf_distill.data.reading import read_file
from hf_distill.data.roles import LABEL_COLUMNS, TAG_COLUMNS
from hf_distill.data.sources import Sources
from hf_distill.data.transfer_text import read_transfer_text
from hf_distill.export import export_model
from hf_distill.export.layout import open_export
from hf_distill.export.loading import load_classifier
from hf_distill.pipeline.loading import ModelReference, load_tokenizer
from hf_distill.pipeline.teacher_head import TeacherHead, names_in
from hf_distill.reporting.text import PLAIN


@delayed_bars()
def run(arguments: Sequence[str]) -> None:
    """Export a model, and print how much the export differs and how large it is."""
    hide_noise()
    args, reading = parse((ExportArguments, ReadingArguments), arguments)
    reference = ModelReference(args.model_name_or_path, trust_remote_code=args.trust_remote_code)
    tokenizer = load_tokenizer(reference)
    model = load_classifier(args.model_name_or_path, args.trust_remote_code)
    try:
        parity = export_model(
            model,
            args.output_dir,
            quantize=args.quantize,
            processing_class=tokenizer,
            tolerance=args.tolerance,
            max_length=args.max_seq_length,
            report=args.report,
            dtype=args.dtype,
            **_load_texts(args, reading, model),
        )
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(_summary(parity, args))


def _load_texts(args: ExportArguments, reading: ReadingArguments, model: PreTrainedModel) -> dict[str, Any]:
    """Return texts, pairs or lists of words to compare on; if the file has labels, also labels and metrics."""
    if args.text_file is None:
        return {}
    names, problem_type = reading.text_column_names, resolve_problem_type(model).name
    default_columns = TAG_COLUMNS if problem_type == "token_classification" else LABEL_COLUMNS
    table = read_file(args.text_file, reading.options)
    if reading.label_column_name is None and not any(table.find(name) is not None for name in default_columns):
        rows, summary = read_transfer_text(
            args.text_file, None, names, options=reading.options, text_column_delimiter=reading.text_column_delimiter
        )
        summary.role = "text"
        print_summary(DataSummary([summary]))
        return {"texts": _texts(rows, rows.column_names, args.max_eval_samples)}
    head = TeacherHead(len(id2label_of(model.config)), problem_type, label_names=names_in(model.config))
    task = read_task(
        Sources(None, None, None, {"validation": args.text_file}),
        reading.options,
        reading.settings(problem_type, head),
        reading.columns,
    )
    task.summary.splits[0].role = "labelled"
    print_summary(task.summary)
    task = task.for_model(model)
    rows = task.datasets["validation"]
    return {
        "texts": _texts(rows, task.text_columns, args.max_eval_samples),
        "labels": rows["label"][: args.max_eval_samples],
        "compute_metrics": task.compute_metrics,
    }


def _texts(rows: Dataset, columns: Sequence[str], limit: int | None) -> list[Any]:
    values = [rows[name][:limit] for name in columns]
    return values[0] if len(values) == 1 else list(zip(*values, strict=True))


def _summary(parity: dict[str, Any], args: ExportArguments) -> str:
    export = open_export(args.output_dir, args.quantize or args.dtype)
    size = sum(file.stat().st_size for file in export.files)
    float32_size = 4 * export.record["num_parameters"]
    agreement = "" if parity["agreement"] is None else f", {parity['agreement']:.2%} of the decisions equal"
    deferral = export.about_variant.get("deferral")
    return (
        f"Compared with the model on {parity['on']}: max |Δlogit| {parity['max_abs_difference']:.2g}, largest |logit| "
        f"{parity['max_abs_logit']:.2g}{agreement}. Tolerance: {parity['tolerance']:g}.\n"
        f"{_batchings(parity)}\n{_metrics(parity)}"
        f"The weights in {export.path} take {size / 1e6:,.1f} MB ({export.variant}); the model takes "
        f"{float32_size / 1e6:,.1f} MB in float32.{'' if deferral is None else _describe_deferral(deferral)}"
    )


def _batchings(parity: dict[str, Any]) -> str:
    dependent = parity.get("batch_dependent_decisions")
    decisions = "" if dependent is None else f"{dependent:,} decisions change with the batch, and "
    return f"In four batchings ({parity['batchings']}), {decisions}logits by up to {parity['batch_difference']:.2g}."


def _describe_deferral(deferral: dict[str, Any]) -> str:
    return (
        f"\nDeferral: answers with a probability below {deferral['threshold']:.4f} go to the teacher, "
        f"{deferral['share']:.1%} of the report's rows. With {deferral['confidence']:.0%} confidence, both together "
        f"are wrong where the teacher is right on at most {deferral['loss']:.2%} of the texts."
    )


def _metrics(parity: dict[str, Any]) -> str:
    metrics = parity.get("metrics", {"model": {}})
    scores = [
        f"{name} {PLAIN.score(value, name)} (export: {PLAIN.score(metrics['export'][name], name)})"
        for name, value in metrics["model"].items()
    ]
    return f"Model: {'; '.join(scores)}.\n" if scores else ""
