"""What a run leaves in its output folder: the student, its record and its model card; never a pickle."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import datasets
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.utils import logging

from hf_distill.classifiers.loading import has_own_code
from hf_distill.classifiers.problem_types import PROBLEM_TYPES, ProblemType
from hf_distill.data import Task
from hf_distill.data.seen_rows import RowHashes, checksum_of, write_row_hashes
from hf_distill.hub.card.files import write_card
from hf_distill.objectives import DistillationLoss
from hf_distill.record import describe_model, describe_training, new_record, write_record
from hf_distill.training.evaluation import TIMING
from hf_distill.training.labelled_rows import are_labelled
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.atomic import describe_write_failure, replace_files_atomically
from hf_distill.utils.redaction import publishable

logger = logging.get_logger(__name__)


def describe_data(task: Task, rows: Mapping[str, datasets.Dataset]) -> dict[str, Any]:
    """Return `dataset` and `metric_name` of a record; see [`~hf_distill.DistillationTrainer.describe_data`]."""
    split = task.validation_splits[0]
    problem_type = PROBLEM_TYPES[task.problem_type]
    num_labelled = sum(are_labelled(rows["train"], problem_type))
    metric_name, num_scored = task.metric_name, sum(are_labelled(rows[split], problem_type))
    if not num_scored:  # only the teacher's answers are known
        metric_name = "loss_kl" if problem_type.agreement is None else "agreement"
        num_scored = len(rows[split])
    dataset = {
        "id": task.dataset_id,
        "config": task.config_name,
        "train_rows": num_labelled,
        "unlabelled_rows": len(rows["train"]) - num_labelled,
        "eval_rows": num_scored,  # on which the metric is computed
        "eval_split": split,
        **({"revision": task.revision} if task.revision else {}),
    }
    return {"dataset": dataset, "metric_name": metric_name}


def _prefix(eval_dataset: Any) -> str:
    """Return how the names of the metrics of the first evaluation set begin."""
    return f"eval_{next(iter(eval_dataset))}_" if isinstance(eval_dataset, dict) else "eval_"


class RunRecorder:
    """Writes the record of a run, `distillation.json`, with every saved student, and the model card.

    Args:
        args: The Trainer's.

    Attributes:
        row_hashes: Hashes of the rows that the student sees, by split, for `hf-distill compare`; empty if they are
            unknown.
        initial_student: Hash of the student's weights before training; None if it is unknown.
    """

    def __init__(self, args: DistillationTrainingArguments) -> None:
        self.args = args
        self.row_hashes: RowHashes = {}
        self.initial_student: str | None = None

    @property
    def folder(self) -> Path:
        """The output folder of the run."""
        return Path(str(self.args.output_dir))

    def describe(
        self,
        student: PreTrainedModel,
        tokenizer: Any,
        name: str | None,
        teacher: Mapping[str, Any] | None,
        loss: DistillationLoss,
        problem_type: ProblemType,
        metrics: Mapping[str, Any],
        max_steps: int,
        added: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the record.

        Args:
            student: The student, not wrapped.
            tokenizer: The student's tokenizer.
            name: The student's name; None for the name of the output folder.
            teacher: Description of the teacher.
            loss: The objectives.
            problem_type: The student's.
            metrics: Metrics by role: student, teacher.
            max_steps: Optimizer steps of the run.
            added: What the caller knows and the Trainer does not: dataset, command, the baseline's metrics.
        """
        description = describe_model(student)
        description["origin"] = description.pop("name_or_path")
        description["has_remote_code"] |= has_own_code(tokenizer)
        if "license" in description:  # the license of the model it was made from; its author chooses its own
            description["origin_license"] = description.pop("license")
        description["initial_fingerprint"] = self.initial_student
        description["name"] = name or self.folder.resolve().name
        record = {
            **new_record(),
            "problem_type": problem_type.name,
            "student": description,
            "teacher": None if teacher is None else {**teacher, "dtype": self.args.resolved_teacher_dtype()},
            "objectives": loss.spec(),
            "training": describe_training(self.args, max_steps),
            **added,
            "metrics": {**metrics, **added.get("metrics", {})},
        }
        return cast("dict[str, Any]", publishable(record))

    def last_metrics(self, state: TrainerState, eval_dataset: Any) -> dict[str, dict[str, float]]:
        """Return the metrics of the student that would be saved now, and the teacher's beside them.

        Args:
            state: The Trainer's.
            eval_dataset: The Trainer's; of several evaluation sets the metrics of the first are returned.
        """
        prefix = _prefix(eval_dataset)
        logs = state.log_history
        ends = [i for i, log in enumerate(logs) if "train_runtime" in log]
        evaluations = [(i, log) for i, log in enumerate(logs) if f"{prefix}runtime" in log]
        # Training ends by loading the best checkpoint, which need not be the one that was evaluated last.
        if self.args.load_best_model_at_end and ends and evaluations and evaluations[-1][0] < ends[-1]:
            evaluations = [(i, log) for i, log in evaluations if log["step"] == state.best_global_step]
        values = {
            name.removeprefix(prefix): value
            for name, value in (evaluations[-1][1] if evaluations else {}).items()
            if name.startswith(prefix) and not name.endswith(TIMING)
        }
        teacher = {name[8:]: value for name, value in values.items() if name.startswith("teacher_")}
        student = {name: value for name, value in values.items() if not name.startswith("teacher_")}
        return {role: metrics for role, metrics in (("student", student), ("teacher", teacher)) if metrics}

    def history(self, state: TrainerState, eval_dataset: Any, metric_name: str) -> list[dict[str, Any]]:
        """Return the evaluations of a training: `step`, `epoch` and the metric of each.

        Args:
            state: The Trainer's.
            eval_dataset: The Trainer's; of several evaluation sets the first counts.
            metric_name: Name of the metric.
        """
        prefix = _prefix(eval_dataset)
        by_step: dict[float, dict[str, Any]] = {}
        for log in state.log_history:
            # The evaluation after the training has the step of the last one, and can be of the best checkpoint.
            if f"{prefix}{metric_name}" in log and "epoch" in log and log["step"] not in by_step:
                by_step[log["step"]] = {
                    "step": log["step"], "epoch": log["epoch"], metric_name: log[f"{prefix}{metric_name}"],
                }  # fmt: skip
        return list(by_step.values())

    @contextmanager
    def saving(self, output_dir: str | None, record: Mapping[str, Any]) -> Iterator[str]:
        """Give a folder to save the student into; student and record then replace older files, each atomically.

        Args:
            output_dir: Where the student goes; None for the output folder of the run.
            record: The record of the run.

        Raises:
            OSError: if the student cannot be written; the older files are unchanged then.
        """
        folder = self.folder if output_dir is None else Path(output_dir)
        try:
            with replace_files_atomically(folder) as temporary:
                yield str(temporary)
                # Trainer's copy of its arguments is a pickle that nothing reads; the record has them.
                (temporary / TRAINING_ARGS_NAME).unlink(missing_ok=True)
                if self.row_hashes:
                    write_row_hashes(temporary, self.row_hashes)
                    record = {**record, "row_hashes": checksum_of(self.row_hashes)}
                write_record(dict(record), temporary)
        except Exception as error:
            if (why := describe_write_failure(error, folder)) is None:
                raise
            raise OSError(
                f"The student cannot be written into {folder} ({why}). The older files there are unchanged. Free some "
                "space, or make the folder writable; then save again or resume from the last checkpoint."
            ) from error

    def write_card(
        self,
        record: Mapping[str, Any],
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
    ) -> None:
        """Write the model card into the output folder. Text and metadata of the user in `README.md` stay."""
        if model_name and model_name != record["student"]["name"].split("/")[-1]:
            record = {**record, "student": {**record["student"], "name": model_name}}
        tags = [tags] if isinstance(tags, str) else tags
        given = {"language": language, "license": license, "tags": tags}
        for note in write_card(self.folder, record, None, None, {key: value for key, value in given.items() if value}):
            logger.warning_once(note)
