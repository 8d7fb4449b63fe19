"""What a run leaves behind: a folder without pickles, its record, a model card, and a push that can be retried."""

import shlex
import shutil
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, ModelCardData, get_token
from transformers import PreTrainedModel, Trainer
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress, logging

from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.hub.card.files import find_license, save_card
from hf_distill.hub.card.model_card import model_card
from hf_distill.hub.upload import check_no_token, explain, files_to_push, upload
from hf_distill.objectives import DistillationLoss
from hf_distill.record import describe_model, describe_training, new_record, write_record
from hf_distill.training.loss import OBJECTIVES_NAME
from hf_distill.training_args import DistillationTrainingArguments
from hf_distill.utils.atomic import whole_files, why_not_written
from hf_distill.utils.redaction import publishable

logger = logging.get_logger(__name__)

_TIMING = ("runtime", "per_second", "preparation_time")


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
        if "license" in student:  # of what it was made of; its own is for its maker to choose
            student["origin_license"] = student.pop("license")
        student["name"] = self.hub_model_id or self.args.hub_model_id or Path(str(self.args.output_dir)).resolve().name
        teacher = self.teacher_description
        if teacher is not None:
            teacher = {**teacher, "dtype": self.args.resolved_teacher_dtype()}
        metrics = {**self._last_metrics(), **self.record.get("metrics", {})}
        record = {
            **new_record(),
            "problem_type": self.problem_type.name,
            "student": student,
            "teacher": teacher,
            "objectives": self.distillation_loss.spec(),
            "training": describe_training(self.args, self.state.max_steps),
            **self.record,
            "metrics": metrics,
        }
        return cast("dict[str, Any]", publishable(record))

    def _last_metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the student that would be saved now, and the teacher's beside them.

        Of several evaluation sets those of the first.
        """
        prefix = "eval_"
        if isinstance(self.eval_dataset, dict):
            prefix += f"{next(iter(self.eval_dataset))}_"
        logs = self.state.log_history
        is_end = [i for i, log in enumerate(logs) if "train_runtime" in log]
        evaluations = [(i, log) for i, log in enumerate(logs) if f"{prefix}runtime" in log]
        # Training ends by loading the best checkpoint, which need not be the one that was evaluated last.
        if self.args.load_best_model_at_end and is_end and evaluations and evaluations[-1][0] < is_end[-1]:
            evaluations = [(i, log) for i, log in evaluations if log["step"] == self.state.best_global_step]
        values = {
            name.removeprefix(prefix): value
            for name, value in (evaluations[-1][1] if evaluations else {}).items()
            if name.startswith(prefix) and not name.endswith(_TIMING)
        }
        teacher = {name[8:]: value for name, value in values.items() if name.startswith("teacher_")}
        student = {name: value for name, value in values.items() if not name.startswith("teacher_")}
        return {role: found for role, found in (("student", student), ("teacher", teacher)) if found}

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.args.should_save:
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or str(self.args.output_dir))
        try:
            with whole_files(folder) as temporary:
                super()._save(str(temporary), state_dict)
                # Trainer's copy of its arguments is a pickle that nothing reads; ours is the record.
                (temporary / TRAINING_ARGS_NAME).unlink(missing_ok=True)
                write_record(self.distillation_record(), temporary)
        except Exception as error:
            if (why := why_not_written(error, folder)) is None:
                raise
            raise OSError(
                f"The student cannot be written into {folder} ({why}). What was there is as it was; make room, or "
                "let the folder be written to, and save again or resume from the last checkpoint."
            ) from error

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write `README.md`, the model card, from the record of the run into the output folder.

        Args:
            language: Language of the texts, as an ISO 639-1 code.
            license: The student's licence, as an identifier of the Hub.
            tags: More tags than the card's own.
            model_name: Heading of the card; unset, the name of the repository or the output folder.
            finetuned_from: Not used, as those after it: the record knows. They are here for Trainer's callers.
            tasks: Not used.
            dataset_tags: Not used.
            dataset: Not used; say it in `self.record["dataset"]`.
            dataset_args: Not used.
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
        save_card(card, str(self.args.output_dir))

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **card: Any,
    ) -> CommitInfo:
        """Save the student, write its card, and push them in one commit; checkpoints, teacher and baseline stay here.

        Exports and the report are made afterwards: [`~hf_distill.hub.publish.publish`] pushes these too.

        Args:
            commit_message: Of the commit.
            blocking: Whether to wait until the Hub has everything; if not, a future is returned.
            token: Of the Hub; None for the one that you are logged in with.
            revision: Branch to push to; None for `args.hub_revision`, else the main branch.
            private: Whether a new repository is private.
            **card: Arguments of [`create_model_card`].

        Raises:
            ConnectionError: if the Hub does not take it. The student stays in the output folder, and the message says
                how to try again.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.teacher_description is not None and self.is_world_process_zero():
            self.teacher_description = find_license(self.teacher_description)
        self.save_model(_internal_call=True)
        self.create_model_card(**card)
        if not self.is_world_process_zero():
            return cast(CommitInfo, None)  # as Trainer does on processes that do not push
        token = token or self.args.hub_token
        folder, name = str(self.args.output_dir), self.hub_model_id or self.args.hub_model_id or "user/name"
        try:
            if self.hub_model_id is None:
                self.init_hf_repo(token=token, private=private)
            self._finish_current_push()
            return cast(CommitInfo, self._upload(commit_message, not blocking, token, revision))
        except Exception as error:  # of many kinds: no connection, no token, a refusal
            again = shlex.join(["hf-distill", "push", "--folder", folder, "--hub_model_id", name])
            raise ConnectionError(
                f"The push failed: {explain(error, token or get_token())}. Nothing is lost: the student is in "
                f"{folder}. Try again with `trainer.push_to_hub()`, or from a shell with `{again}`."
            ) from None  # the cause may quote a token

    def _upload(
        self, commit_message: str | None, in_background: bool, token: str | None, revision: str | None = None
    ) -> Any:
        files = files_to_push(Path(str(self.args.output_dir)), whole=False)
        check_no_token(files, token or get_token())
        revision = revision or self.args.hub_revision
        return upload(str(self.hub_model_id), files, commit_message, token, revision, in_background)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push the model of a checkpoint in the background; Trainer would add its arguments as a pickle."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None and not self.push_in_progress.is_done() and not self.args.hub_always_push:
            return
        for path in Path(checkpoint_folder).iterdir():
            is_kept_back = path.name in (TRAINER_STATE_NAME, OBJECTIVES_NAME)
            if path.suffix in (".safetensors", ".json", ".txt", ".model") and not is_kept_back:
                shutil.copy(path, str(self.args.output_dir))
        try:
            job = self._upload(f"Training in progress, step {self.state.global_step}", True, self.args.hub_token)
        except ValueError as error:  # a file that must not leave; no reason to end the training
            logger.warning(f"No push after step {self.state.global_step}: {error}")
            return
        self.push_in_progress = PushInProgress(cast(Any, [job]))  # type: ignore[assignment]
