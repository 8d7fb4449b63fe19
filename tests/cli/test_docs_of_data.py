"""The page "Your data": every example is run on the files that it shows."""

import re
import shlex
from pathlib import Path

import pytest
from tiny import tiny_model, tiny_tokenizer

from hf_distill.cli import main
from hf_distill.data.reading import COMPRESSED, READERS

PAGE = (Path(__file__).parents[2] / "docs" / "your_data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:`([\w.]+)`:\n\n)?```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files of the page, a teacher of two classes, and a file that the page only names."""
    monkeypatch.chdir(tmp_path)
    for name, _, content in BLOCKS:
        if name:
            (tmp_path / name).write_text(content, encoding="utf-8")
    rows = [f"text {i} of {i * i},{('negative', 'positive')[i % 2]}" for i in range(40)]
    (tmp_path / "banking.csv").write_text("\n".join(["text,label", *rows]))
    tiny_model(2, seed=1).save_pretrained(tmp_path / "teacher")
    tiny_tokenizer().save_pretrained(tmp_path / "teacher")
    return tmp_path


def commands(language):
    return [content for _, kind, content in BLOCKS if kind == language]


def test_every_command_runs_and_prints_what_the_page_shows(folder, capsys):
    outputs = []
    for block in commands("shell"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            assert words[0] == "hf-distill"
            main([*words[1:], *(["--use_cpu", "True"] if words[1] == "train" else [])])
            outputs.append(capsys.readouterr().out)
    assert outputs[0] == commands("text")[0]
    assert "validation  banking.csv" in outputs[-3]
    for output in outputs[-2:]:
        assert "4 of 40 rows, 4 labelled; 10 % of the labelled rows of train" in output


def test_every_python_example_runs(folder):
    for code in commands("python"):
        exec(compile(code, "docs/your_data.md", "exec"), {})


def test_every_format_that_is_read_is_in_the_table():
    table = PAGE.split("## Layouts")[1].split("##")[0]
    assert [suffix for suffix in (*READERS, *COMPRESSED) if f"`{suffix}`" not in table] == []
