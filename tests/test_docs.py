"""What the docs say is what the code does."""

from pathlib import Path

from hf_distill.objectives import OBJECTIVES
from hf_distill.reporting.objectives_table import objectives_table

DOCS = Path(__file__).parent.parent / "docs"


def test_the_table_of_objectives_is_that_of_the_registry():
    # After a change: python -m hf_distill.reporting.objectives_table
    assert objectives_table() in (DOCS / "objectives.md").read_text(encoding="utf-8")


def test_every_objective_names_its_paper():
    assert all("https://huggingface.co/papers/" in objective.paper for objective in OBJECTIVES.values())
