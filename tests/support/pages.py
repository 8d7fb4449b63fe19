"""The code blocks of the Markdown pages, and how they are run.

Every block names its language. What a block is:

- `python` and `bash` blocks are run, in the order of the page, in one folder and with one set of Python variables.
- After a line "`name`:", a block is the file of that name.
- A `text` block is output. Directly after a command, it is everything that the command prints.
- After `<!-- no-run: hub -->`, a block is not run because it needs the Hub; after `<!-- no-run: minutes -->`, because
  it takes minutes, or needs data, several machines or a new environment. `<!-- no-run on this page: minutes -->` marks
  all blocks of a page. The flags of `hf-distill` are parsed all the same.
"""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_distill.cli import main
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.parsing import read_command_line

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "*/README.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)
LANGUAGES = ("bash", "python", "text", "js", "yaml", "csv", "tsv", "txt")
# Flags that make a command cheap on tiny models; a later flag wins.
_CHEAP = {"train": ["--use_cpu", "True", "--overwrite_output_dir"], "compare": ["--latency_rounds", "0"]}
_SHORT = ["--teacher_num_train_epochs", "1"]
_STATUS_OF_UNMET_REQUIREMENT = 3


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        line: Number of its first line of code.
        language: As the fence names it.
        code: Its content.
        file_name: The file that it is; None if it is none.
        reason: Why it is not run, `hub` or `minutes`; None if it is run.
        is_printed: Whether it is what the command in the block before it prints.
    """

    line: int
    language: str
    code: str
    file_name: str | None
    reason: str | None
    is_printed: bool


def read_blocks(page: str) -> list[Block]:
    """Return the blocks of a page; the path is relative to the repository."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    reason_of_page = next(
        (m[1] for line in lines if (m := re.fullmatch(r"<!-- no-run on this page: (\w+) -->", line))), None
    )
    blocks, before, start = [], "", None
    for number, line in enumerate(lines, start=1):
        if start is None and line.lstrip().startswith("```"):
            start, language, indent = number + 1, line.strip().removeprefix("```"), len(line) - len(line.lstrip())
        elif start is not None and line.strip() == "```":
            code = "".join(f"{text[indent:]}\n" for text in lines[start - 1 : number - 1])
            name = re.fullmatch(r"`([\w.]+)`:", before)
            reason = re.fullmatch(r"<!-- no-run: (\w+) -->", before)
            blocks.append(
                Block(
                    start, language, code, name and name[1], reason[1] if reason else reason_of_page,
                    language == "text" and before == "```" and blocks[-1].language == "bash",
                )
            )  # fmt: skip
            start, before = None, "```"
        elif start is None and line.strip():
            before = line.strip()
    assert start is None, f"{page}: the block of line {start} does not end"
    return blocks


def indented_code(page: str) -> list[str]:
    """Return the lines that Markdown shows as code because they are indented, outside of fences and lists."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"(?:\A|\n\n)(    .*)", text)


def run_page(page: str, values: dict[str, Any]) -> list[str]:
    """Run a page in the current folder.

    Args:
        page: Path, relative to the repository.
        values: Variables that the Python code can use; it adds its own.

    Returns:
        What each command printed.
    """
    blocks, outputs = read_blocks(page), []
    for block in blocks:
        if block.file_name is not None:
            Path(block.file_name).write_text(block.code, encoding="utf-8")
    for block in blocks:
        if block.reason is not None or block.file_name is not None:
            continue
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), values)
        elif block.language == "bash":
            outputs += [_run(words) for words in commands_of(block)]
        elif block.is_printed:
            assert outputs[-1] == block.code, f"{page}, line {block.line}: the command prints something else"
    return outputs


def commands_of(block: Block) -> list[list[str]]:
    """Return the words of each command."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _run(words: list[str]) -> str:
    assert words[0] == "hf-distill", f"Only hf-distill can be run, not {words[0]}: mark the block with no-run."
    if words[1] == "train":
        _remove_untrained_models(Path(words[words.index("--output_dir") + 1]))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            main([*words[1:], *_CHEAP.get(words[1], []), *(_SHORT if "--fine_tune_teacher" in words else [])])
        except SystemExit as error:
            if error.code != _STATUS_OF_UNMET_REQUIREMENT or "--require" not in words:
                raise AssertionError(f"{' '.join(words)}: exit status {error.code}") from error
    return printed.getvalue()


def _remove_untrained_models(output_dir: Path) -> None:
    """Remove models that the folder of the tests has and no run wrote, which a training would not overwrite."""
    for folder in (output_dir, output_dir / "baseline"):
        if not (folder / "distillation.json").exists():
            (folder / "model.safetensors").unlink(missing_ok=True)


def check_flags(words: list[str]) -> None:
    """Parse the flags of a command of `hf-distill`, without running it."""
    read_command_line(COMMANDS[words[1]].classes, words[2:])
