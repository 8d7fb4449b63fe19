"""The docs agree with the code."""

import re
from pathlib import Path

import pytest
from datasets import Dataset
from objectives_table import objectives_table
from tiny import tiny_model, tiny_rows, tiny_tokenizer

from hf_distill import compare_models
from hf_distill.data.reading import COMPRESSED, READERS
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES

pytestmark = pytest.mark.docs

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_objectives_is_up_to_date():
    # After a change: python tools/objectives_table.py
    assert objectives_table() in (DOCS / "objectives.md").read_text(encoding="utf-8")


def test_the_docs_explain_every_soft_loss():
    explained, _ = (DOCS / "objectives.md").read_text(encoding="utf-8").split("## Objectives\n")
    assert set(LOGIT_OBJECTIVES) <= set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE))


def test_every_objective_names_its_paper():
    assert all("https://huggingface.co/papers/" in objective.paper for objective in OBJECTIVES.values())


def test_the_schema_of_a_report_names_every_key():
    models = {"teacher": tiny_model(3, seed=1), "student": tiny_model(2, seed=2), "baseline": tiny_model(2, seed=3)}
    rows = Dataset.from_list([{"text": row["text"], "label": row["label"]} for row in tiny_rows(24)])
    report = compare_models(models, rows, tiny_tokenizer(), shifted_dataset=rows, latency_rounds=1).to_dict()
    code = re.findall(r"`([^`\n]+)`", (DOCS / "report_figures.md").read_text(encoding="utf-8"))
    parts = [report, report["task"], report["machine"], report["verdict"], report["disagreements"][0]]
    student = report["models"]["student"]
    parts += [student, *(student[name] for name in ("cost", "calibration", "deferral", "fidelity", "shifted"))]
    keys = {key.removesuffix("_scaled") for part in parts for key in part}
    assert keys - {word for words in code for word in re.findall(r"\w+", words)} == set()


def test_every_format_that_is_read_is_in_the_table():
    table = (DOCS / "your_data.md").read_text(encoding="utf-8").split("## Layouts")[1].split("##")[0]
    assert [suffix for suffix in (*READERS, *COMPRESSED) if f"`{suffix}`" not in table] == []
