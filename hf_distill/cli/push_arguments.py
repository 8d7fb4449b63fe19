"""Flags of `hf-distill push`."""

from dataclasses import dataclass, field


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
    commit_message: str = field(
        default="Student, exports, report, record and card", metadata={"help": "Commit message."}
    )
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead of a commit to the branch."})
    license: str | None = field(
        default=None,
        metadata={
            "help": "License of the student, as an identifier of the Hub, e.g. apache-2.0. Unset: the license of "
            "initial weights and teacher, if it is known and the same."
        },
    )
    language: str | None = field(
        default=None, metadata={"help": "Languages of the texts as ISO 639-1 codes, separated by commas, e.g. en,de."}
    )
    tags: str | None = field(default=None, metadata={"help": "More tags for the card, separated by commas."})
