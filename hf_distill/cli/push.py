"""`hf-distill push`: publish a student with its exports and its report on the Hub."""

from collections.abc import Sequence

from hf_distill.cli.parsing import parse
from hf_distill.cli.push_arguments import PushArguments
from hf_distill.hub.publish import Published, publish


def run(arguments: Sequence[str]) -> None:
    """Publish the folder, and print what was pushed and what was not."""
    (args,) = parse((PushArguments,), arguments)
    languages = _split(args.language)
    published = publish(
        args.folder,
        args.hub_model_id,
        public=args.public,
        revision=args.revision,
        commit_message=args.commit_message,
        create_pr=args.create_pr,
        license=args.license,
        language=languages[0] if len(languages) == 1 else languages,
        tags=_split(args.tags),
    )
    print(_describe(published))
    if args.public and published.is_private:
        print("The repository already exists and stays private. Make it public in its settings on the Hub.")
    if published.removed:
        print(
            f"Removed from the repository, because they belong to an earlier student: {', '.join(published.removed)}."
        )
    for note in published.notes:
        print(note)
    if published.kept_back:
        print(f"Not pushed: {', '.join(published.kept_back)}.")


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _describe(published: Published) -> str:
    where = f"{published.commit.repo_url} ({'private' if published.is_private else 'public'})"
    if not published.is_new:
        return f"Nothing to push: {where} already has all files."
    if published.commit.pr_url:
        return f"Opened the pull request {published.commit.pr_url} with {len(published.files)} files."
    return f"Pushed {len(published.files)} files to {where}."
