"""`hf-distill push`: publish a student with its exports and its report on the Hub."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_distill.cli.parsing import parse
from hf_distill.hub.publish import COMMIT_MESSAGE, publish


@dataclass
class PushArguments:
    """The folder and the repository."""

    folder: str = field(metadata={"help": "The --output_dir of `train`. Exports and a report inside are pushed too."})
    hub_model_id: str = field(metadata={"help": "Repository on the Hub, user/name."})
    public: bool = field(
        default=False,
        metadata={"help": "Make a new repository public. An existing one stays public or private."},
    )
    revision: str | None = field(
        default=None, metadata={"help": "Branch to push to; a new one is created. Unset: the main branch."}
    )
    commit_message: str = field(default=COMMIT_MESSAGE, metadata={"help": "Commit message."})


def run(arguments: Sequence[str]) -> None:
    """Publish the folder, and print what was pushed and what was not."""
    (args,) = parse((PushArguments,), arguments, "hf-distill push")
    published = publish(
        args.folder,
        args.hub_model_id,
        public=args.public,
        revision=args.revision,
        commit_message=args.commit_message,
    )
    where = f"{published.commit.repo_url} ({'private' if published.is_private else 'public'})"
    print(
        f"Pushed {len(published.files)} files to {where}."
        if published.is_new
        else f"Nothing to push: {where} already has all files."
    )
    if args.public and published.is_private:
        print("The repository already exists and stays private. Make it public in its settings on the Hub.")
    if published.has_own_card:
        print(
            "README.md was edited by hand or written by another program, so it was pushed unchanged. Delete it to get "
            "a generated model card."
        )
    if published.kept_back:
        print(f"Not pushed: {', '.join(published.kept_back)}.")
