"""What a run leaves behind: a folder without pickles, its record, a model card, and a push that can be retried."""

from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from transformers import PreTrainedModel, Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from hf_distill.objectives import DistillationLoss
from hf_distill.problem_types import ProblemType
from hf_distill.record import describe_model, describe_training, new_record, write_record
from hf_distill.reporting.model_card import model_card
from hf_distill.training_args import DistillationTrainingArguments

_PUSH_ERRORS = (HfHubHTTPError, LocalTokenNotFoundError, OSError)


class Publishing(Trainer):
    """The half of [`DistillationTrainer`] that writes: `distillation.json` with every model, and the card from it."""

    model: PreTrainedModel
    args: DistillationTrainingArguments
    teacher_description: dict[str, Any] | None
    problem_type: ProblemType
    distillation_loss: DistillationLoss
    record: dict[str, Any]

    def distillation_record(self) -> dict[str, Any]:
        """Return what `distillation.json` and the model card say: models, loss, settings, metrics, and `self.record`.

        Whatever the caller knows and the Trainer does not (data set, command, the baseline's metrics) goes into
        `self.record`, in the same form.
        """
        student = describe_model(self.accelerator.unwrap_model(self.model))
        student["origin"] = student.pop("name_or_path")
        student["name"] = self.hub_model_id or self.args.hub_model_id or Path(str(self.args.output_dir)).resolve().name
        teacher = self.teacher_description
        if teacher is not None:
            teacher = {**teacher, "dtype": self.args.resolved_teacher_dtype()}
        metrics = {**self._last_metrics(), **self.record.get("metrics", {})}
        return {
            **new_record(),
            "problem_type": self.problem_type.name,
            "student": student,
            "teacher": teacher,
            "objectives": self.distillation_loss.spec(),
            "training": describe_training(self.args, self.state.max_steps),
            **self.record,
            "metrics": metrics,
        }

    def _last_metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the last evaluation, the student's and the teacher's."""
        last = next((logs for logs in reversed(self.state.log_history) if "eval_loss" in logs), {})
        timing = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time")
        values = {name[5:]: value for name, value in last.items() if name.startswith("eval_") and name not in timing}
        teacher = {name[8:]: value for name, value in values.items() if name.startswith("teacher_")}
        student = {name: value for name, value in values.items() if not name.startswith("teacher_")}
        return {role: found for role, found in (("student", student), ("teacher", teacher)) if found}

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            # Trainer's copy of its arguments is a pickle that nothing reads; ours is the record.
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            write_record(self.distillation_record(), folder)

    def create_model_card(  # type: ignore[override]  # what else Trainer's takes, the record knows better
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
    ) -> None:
        """Write `README.md`, the model card, from the record of the run into the output folder.

        Args:
            language: Language of the texts, as an ISO 639-1 code.
            license: The student's licence, as an identifier of the Hub.
            tags: More tags than the card's own.
            model_name: Heading of the card; unset, the name of the repository or the output folder.
        """
        if not self.is_world_process_zero():
            return
        record = self.distillation_record()
        if model_name and model_name != record["student"]["name"].split("/")[-1]:
            record["student"]["name"] = model_name
        card = model_card(record)
        data = cast(ModelCardData, card.data)
        data.language, data.license = language, license
        data.tags = [*(data.tags or []), *([tags] if isinstance(tags, str) else tags or [])]
        card.save(Path(str(self.args.output_dir), "README.md"))

    def push_to_hub(self, *args: Any, **kwargs: Any) -> CommitInfo:
        """Push the output folder; arguments are those of `transformers.Trainer.push_to_hub`.

        Raises:
            ConnectionError: if the Hub does not take it. The student stays in the output folder, and the message says
                how to try again.
        """
        try:
            return super().push_to_hub(*args, **kwargs)
        except _PUSH_ERRORS as error:
            raise ConnectionError(
                f"The push failed ({type(error).__name__}: {error}). Nothing is lost: the student is in "
                f"{self.args.output_dir}. Try again with `trainer.push_to_hub()`, or from a shell with `hf upload "
                f"{self.hub_model_id or self.args.hub_model_id or 'user/name'} {self.args.output_dir} . "
                "--exclude 'checkpoint-*/*'`."
            ) from error
