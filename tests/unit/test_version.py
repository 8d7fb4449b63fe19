"""The version is written in `hf_distill/__init__.py`; other files that need it agree."""

from importlib.metadata import version
from pathlib import Path

import hf_distill

ROOT = Path(__file__).parents[2]


def test_the_package_the_citation_and_the_changelog_have_one_version():
    assert version("hf_distill") == hf_distill.__version__
    assert f"\nversion: {hf_distill.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {hf_distill.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
