"""`hf-distill compare`: report in numbers whether a student can replace its teacher."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, List, Value

from hf_distill.classifiers.outputs import TEACHER_LOGITS
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.compare_arguments import CompareArguments
from hf_distill.cli.parsing import parse
from hf_distill.cli.printing import delayed_bars, hide_noise, print_summary
from hf_distill.data import Task
from hf_distill.data.assemble import parts_of_columns
from hf_distill.data.files import ColumnNames, read_task
from hf_distill.data.reading import read_file
from hf_distill.data.roles import LABEL_COLUMNS, TAG_COLUMNS, warn_of_labels
from hf_distill.data.sources import Sources
from hf_distill.pipeline.floor import add_floor
from hf_distill.pipeline.teacher_head import TeacherHead, read_head
from hf_distill.pipeline.transfer import TransferSet, load_transfer
from hf_distill.reporting import Report, compare_models
from hf_distill.reporting.comparison.own_metrics import load_metric_modules
from hf_distill.reporting.requirements import Requirement, check_labels
from hf_distill.utils.user_paths import find_files

UNMET = 3  # exit status


@delayed_bars()
def run(arguments: Sequence[str]) -> None:
    """Compare the models as the flags say, print the verdict and the main table, and write the report."""
    hide_noise()
    args, data = parse((CompareArguments, DataArguments), arguments)
    models, head = args.models, read_head(args.teacher)
    requirements = args.requirements(None if head is None else head.resolved_problem_type)
    if missing := [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]:
        raise ValueError(f"The report needs {' and '.join(missing)}: pip install {' '.join(missing)}.")
    metric_functions = load_metric_modules(args.metric_module or ())
    own_metric = data.metric_name if data.metric_name in metric_functions else None
    if own_metric is not None:
        data.metric_name = None  # the reader of the rows does not know it
    task, rows = (None, _load_texts(args, data, head)) if _has_no_labels(data) else _load_labelled(args, data, head)
    check_labels(requirements, rows.get("label_names"))
    if own_metric is not None:
        rows["metric_name"] = own_metric
    report = compare_models(
        models,
        metric_functions=metric_functions,
        class_names=data.names_of_outputs,
        margin=args.margin,
        slice_columns=args.slice_column or (),
        group_column=args.group_column,
        allow_training_rows=args.allow_training_rows,
        max_length=data.max_seq_length,
        latency_rounds=args.latency_rounds,
        trust_remote_code=args.trust_remote_code,
        **rows,
    )
    if task is not None and "train" in data.files:
        add_floor(report, task, rows["dataset"])
    _finish(report, requirements, args.output_dir)


def _finish(report: Report, requirements: Sequence[Requirement], output_dir: str) -> None:
    """Print and save a report; end with status 3 if it does not meet a requirement."""
    results = report.check(requirements) if requirements else []
    print(f"\n{report.to_text()}")
    report.save(output_dir)
    page = Path(output_dir, "report.html")
    print(f"\nThe full report: {page} (with plots). {output_dir} also has report.md, report.json and plots/.")
    if unmet := [result["text"] for result in results if not result["is_met"]]:
        print(f"hf-distill compare: requirements not met: {'; '.join(unmet)}", file=sys.stderr)
        sys.exit(UNMET)


def _load_labelled(
    args: CompareArguments, data: DataArguments, head: TeacherHead | None
) -> tuple[Task, dict[str, Any]]:
    """Load labelled rows, print what was read, and return the task and the rows as arguments of `compare_models`."""
    task = data.load(to_train=False, teacher=head, kept=args.kept_columns)
    if head is not None and head.resolved_problem_type is not None and data.problem_type is None:
        task.check_problem_type(head.resolved_problem_type, f"teacher {args.teacher_model_name_or_path!r}")
    split = _evaluation_split(task, data)
    if args.tune_thresholds and not (split.startswith("test") and task.validation_splits):
        raise ValueError(
            "--tune_thresholds chooses thresholds on validation rows and compares on test rows. Pass "
            "--validation_file and --test_file, each with labelled rows."
        )
    shifted = None if args.shifted_file is None else _read_shifted(args, task, data)
    print_summary(task.summary if shifted is None else task.summary + shifted.summary)
    return task, {
        "dataset": task.datasets[split],
        "text_columns": task.text_columns,
        "label_column": "label",
        "label_names": task.label_names,
        "metric_name": data.metric_name if task.problem_type == "regression" else task.metric_name,
        "threshold_dataset": task.datasets[task.validation_splits[0]] if args.tune_thresholds else None,
        "shifted_dataset": None if shifted is None else _rows_by_name(shifted),
        "name": _name_of_rows(task, split, data),
    }


def _has_no_labels(data: DataArguments) -> bool:
    """Return whether the flags name only texts: unlabelled text, or evaluation files without a label column."""
    files = data.files.get("test") or data.files.get("validation") or []
    if not data.has_labelled_rows:
        return data.has_transfer
    if not files or data.label_column_name is not None:
        return False
    tables = [read_file(file, data.options) for file in files]
    return all(table.find(name) is None for table in tables for name in (*LABEL_COLUMNS, *TAG_COLUMNS))


def _load_texts(args: CompareArguments, data: DataArguments, head: TeacherHead | None) -> dict[str, Any]:
    """Load texts to compare the answers of the models on, without scores, and print what was read."""
    if args.shifted_file is not None:
        raise ValueError("--shifted_file compares scores, and the evaluation rows have no labels. Leave it out.")
    needing_labels = {
        "--tune_thresholds": args.tune_thresholds,
        "--slice_column": args.slice_column,
        "--group_column": args.group_column,
    }
    if given := [flag for flag, value in needing_labels.items() if value]:
        raise ValueError(f"{given[0]} needs labels, and the evaluation rows have none. Leave it out.")
    files = data.files.get("test") or data.files.get("validation")
    options = data.transfer if files is None else replace(data.transfer, files=list(map(str, files)), dataset_names=())
    reads_words = head is not None and head.resolved_problem_type == "token_classification"
    problem_type = PROBLEM_TYPES["token_classification" if reads_words else "single_label_classification"]
    transfer = cast(TransferSet, load_transfer(options, data.text_column_names, problem_type))
    if files is not None:
        transfer.data.warnings += warn_of_labels([name for split in transfer.data.splits for name in split.not_read])
    print_summary(transfer.data)
    text = transfer.text.select(range(min(len(transfer.text), data.max_eval_samples or len(transfer.text))))
    columns = [column for column in text.column_names if column != TEACHER_LOGITS]
    name = ", ".join(source["name"] for source in transfer.report["sources"])
    return {"dataset": text, "text_columns": columns, "name": name}


def _evaluation_split(task: Task, data: DataArguments) -> str:
    """Return the split of --test_file, else the first validation split, else the first test split; never `train`."""
    tests = [split for split in task.datasets if split.startswith("test")]
    splits = [*tests, *task.validation_splits] if data.test_file else [*task.validation_splits, *tests]
    if not splits:
        raise ValueError(
            f"{task.name} has no split to compare on, only {', '.join(task.datasets)}. Pass --validation_file, or "
            "hold out rows with --validation_split_percentage."
        )
    return splits[0]


def _name_of_rows(task: Task, split: str, data: DataArguments) -> str:
    """Return the names of the files that the models are compared on; for a dataset its name and the split."""
    if split not in data.files:
        return f"{task.name}, {split}"
    return ", ".join(path.name for path in data.files[split])


def _read_shifted(args: CompareArguments, task: Task, data: DataArguments) -> Task:
    paths, notes = find_files(args.shifted_file or [])
    shifted = read_task(
        Sources(None, None, None, {"validation": paths}, notes=notes),
        data.options,
        data.settings(task.problem_type),
        ColumnNames(
            parts_of_columns(task.text_columns), data.label_column_name, data.text_column_delimiter, args.group_columns
        ),
    )
    shifted.summary.splits[0].role = "shifted"
    return shifted


def _rows_by_name(shifted: Task) -> Dataset:
    rows, names = shifted.datasets["validation"], shifted.label_names
    if shifted.problem_type == "multi_label_classification" and names is not None:
        # The zeros and ones stand for the classes of this file; the evaluation file can have other classes.
        row_names = [[name for name, is_on in zip(names, row, strict=True) if is_on] for row in rows["label"]]
        rows = rows.remove_columns("label").add_column("label", row_names, feature=List(Value("string")))
    return rows
