"""The pushes of a run to the Hub: the student's files, without checkpoints, exports and reports."""

import shlex
import shutil
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, HfApi, get_token
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import PushInProgress, logging

from hf_distill.hub.card.files import CARD_NAME, SECOND_CARD_NAME
from hf_distill.hub.publish import update_cards
from hf_distill.hub.repository import Branch, look
from hf_distill.hub.upload import check_no_token, explain, files_to_push, upload
from hf_distill.training.checkpoint_files import RUN_NAME
from hf_distill.training.loss import OBJECTIVES_NAME
from hf_distill.training_args import DistillationTrainingArguments

logger = logging.get_logger(__name__)


class RunPublisher:
    """Pushes the output folder of a run to the Hub.

    Args:
        args: The Trainer's.
    """

    def __init__(self, args: DistillationTrainingArguments) -> None:
        self.args = args

    @property
    def folder(self) -> Path:
        """The output folder of the run."""
        return Path(str(self.args.output_dir))

    def look(self, repo_id: str, token: str | None, revision: str | None) -> Branch:
        """Return what the branch has on the Hub, and copy edits of the card from there into the output folder."""
        branch = look(HfApi(token=token), repo_id, revision or self.args.hub_revision)
        update_cards(self.folder, branch)
        return branch

    def upload(
        self,
        repo_id: str,
        message: str | None,
        in_background: bool,
        token: str | None,
        revision: str | None = None,
        branch: Branch | None = None,
    ) -> Any:
        """Push the student's files in one commit, without exports and reports, which belong to an earlier student.

        Args:
            repo_id: `user/name` on the Hub.
            message: Message of the commit.
            in_background: Whether to return before the push is finished.
            token: Token of the Hub; None for the token of the current login.
            revision: Branch; None for `args.hub_revision`, else the main branch.
            branch: What the branch has, from [`look`]. Without it, the cards are not pushed.

        Returns:
            A `CommitInfo`, in the background a future of one.

        Raises:
            ValueError: for a file with a token in it, or a link that leads out of the folder.
        """
        files = files_to_push(self.folder, whole=False)
        if branch is None:
            files = {name: path for name, path in files.items() if name not in (CARD_NAME, SECOND_CARD_NAME)}
        check_no_token(files, token or get_token())
        revision, api = revision or self.args.hub_revision, HfApi(token=token)

        def push() -> CommitInfo:
            current = branch or look(api, repo_id, revision)
            commit, removed = upload(
                api, repo_id, files, current, commit_message=message or "Upload student", revision=revision,
                is_whole=False,
            )  # fmt: skip
            if removed:
                logger.warning(f"The push removed files of an earlier student from {repo_id}: {', '.join(removed)}.")
            return commit

        return api.run_as_future(push) if in_background else push()

    def push_checkpoint(self, checkpoint: str, repo_id: str, step: int) -> PushInProgress | None:
        """Push the model of a checkpoint in the background, without what only a resumed run needs.

        Args:
            checkpoint: The folder of the checkpoint.
            repo_id: `user/name` on the Hub.
            step: Number of the optimizer step, for the message of the commit.

        Returns:
            The push; None if there is a file that must not be published, which is no reason to end the training.
        """
        for path in Path(checkpoint).iterdir():
            is_for_resuming = path.name in (TRAINER_STATE_NAME, OBJECTIVES_NAME, RUN_NAME)
            if path.suffix in (".safetensors", ".json", ".txt", ".model", ".npz") and not is_for_resuming:
                shutil.copy(path, self.folder)
        try:
            job = self.upload(repo_id, f"Training in progress, step {step}", True, self.args.hub_token)
        except ValueError as error:
            logger.warning(f"No push after step {step}: {error}")
            return None
        return PushInProgress(cast(Any, [job]))

    def failure(self, error: Exception, repo_id: str | None, token: str | None) -> ConnectionError:
        """Return an error that says why a push failed and how to try again, without the token.

        Args:
            error: What went wrong: no connection, no token, a refusal.
            repo_id: `user/name` on the Hub; None if it is not known.
            token: The token that was used; None for the token of the current login.
        """
        folder = str(self.args.output_dir)
        command = ["hf-distill", "push", "--folder", folder, "--hub_model_id", repo_id or "user/name"]
        return ConnectionError(
            f"The push failed: {explain(error, token or get_token())}. Nothing is lost: the student is in "
            f"{folder}. Try again with `trainer.push_to_hub()`, or from a shell with `{shlex.join(command)}`."
        )
