"""The cells of the example notebook are run in order, and what a cell ends with can be shown."""

import ast
import gc
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run_cell(code, number, values):
    """Run a cell; return the value of its last line if that is an expression, as a notebook does."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), values)
    return None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), values)


def test_the_notebook_runs_and_shows_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gc.freeze()
    values, shown = {}, []
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code":
            shown.append(run_cell("".join(cell["source"]), number, values))
    accuracy, table, report, answers = (value for value in shown if value is not None)
    assert accuracy > 0.8
    assert table._repr_html_().count("<table>") == 1
    assert report._repr_html_().startswith(("<p>Yes, the student", "<p>No, the student", "<p>It is not shown"))
    assert [answer["label"] for answer in answers] == ["positive", "negative"]


def test_the_notebook_has_no_outputs_of_somebodys_machine():
    assert [cell["outputs"] for cell in CELLS if cell["cell_type"] == "code" and cell["outputs"]] == []
