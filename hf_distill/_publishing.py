"""What a run leaves behind: a folder without pickles, its record, a model card, and a push that can be retried."""

from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from hf_distill.record import write_record
from hf_distill.reporting.model_card import model_card

_PUSH_ERRORS = (HfHubHTTPError, LocalTokenNotFoundError, OSError)


class PublishingTrainer(Trainer):
    """A Trainer that writes `distillation.json` with every model it saves, and its card from that record."""

    def distillation_record(self) -> dict[str, Any]:
        """Return the record of the run so far."""
        raise NotImplementedError

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            # Trainer's copy of its arguments is a pickle that nothing reads; ours is the record.
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            write_record(self.distillation_record(), folder)

    def create_model_card(
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
        record["student"]["name"] = model_name or record["student"]["name"]
        card = model_card(record)
        card.data.language, card.data.license = language, license
        card.data.tags = [*card.data.tags, *([tags] if isinstance(tags, str) else tags or [])]
        card.save(Path(self.args.output_dir, "README.md"))

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
