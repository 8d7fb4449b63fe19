"""`hf-distill push`: a finished student, with its exports and its report, to the Hub."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_distill.cli.parsing import parse
from hf_distill.hub.publish import COMMIT_MESSAGE, publish


@dataclass
class PushArguments:
    """Which folder, and where to."""

    folder: str = field(metadata={"help": "The --output_dir of `train`, with exports and report/ inside, if any."})
    hub_model_id: str = field(metadata={"help": "The repository on the Hub: user/name."})
    public: bool = field(
        default=False,
        metadata={"help": "Let everybody see the repository if it is new. One that exists stays as it is."},
    )
    revision: str | None = field(
        default=None, metadata={"help": "Branch to push to, made if it is new. Unset: the main branch."}
    )
    commit_message: str = field(default=COMMIT_MESSAGE, metadata={"help": "Message of the one commit."})


def run(arguments: Sequence[str]) -> None:
    """Publish the folder, and say what went and what stayed."""
    (args,) = parse((PushArguments,), arguments)
    done = publish(
        args.folder,
        args.hub_model_id,
        public=args.public,
        revision=args.revision,
        commit_message=args.commit_message,
    )
    where = f"{done.commit.repo_url} ({'private' if done.is_private else 'public'})"
    print(
        f"Pushed {len(done.files)} files to {where}." if done.is_new else f"Nothing has changed: {where} has it all."
    )
    if args.public and done.is_private:
        print("The repository existed and stays private: change that in its settings.")
    if done.has_own_card:
        print(
            "README.md was edited by hand, or not written by this program, and went as it is. Remove it to get ours."
        )
    if done.kept_back:
        print(f"Kept here: {', '.join(done.kept_back)}.")
