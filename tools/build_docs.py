"""Build the documentation site strictly: a broken link, anchor or API name fails.

The pages stay where a reader of the repository looks for them, and their links are relative to that place. So they are
copied to `build/docs` with their folders, and a page with the Python API is written beside them.
"""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "docs"
PATTERNS = (
    "*.md", "docs/**/*", "benchmarks/README.md", "benchmarks/results/*", "examples/two_stages/*",
    "examples/hinton/*.md", "examples/hinton/results/*.png", "recipes/*",
    "examples/*.ipynb",
)  # fmt: skip
# Modules whose public names are the Python API, with the heading of each.
MODULES = {
    "hf_distill": "The main names",
    "hf_distill.data": "Data: `hf_distill.data`",
    "hf_distill.students": "Students: `hf_distill.students`",
    "hf_distill.teachers": "Teachers: `hf_distill.teachers`",
    "hf_distill.functional": "Losses as functions: `hf_distill.functional`",
    "hf_distill.objectives": "Objectives: `hf_distill.objectives`",
    "hf_distill.reporting": "Reports: `hf_distill.reporting`",
    "hf_distill.pipeline": "Pieces of the commands: `hf_distill.pipeline`",
}


def main() -> None:
    """Copy the pages, write the API page, and build."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for pattern in PATTERNS:
        for path in filter(Path.is_file, ROOT.glob(pattern)):
            copy = SOURCE / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    (SOURCE / "docs" / "api.md").write_text(api_page(), encoding="utf-8")
    sys.exit(subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet"], cwd=ROOT, check=False).returncode)


def api_page() -> str:
    """Return a page with a directive for each public class and function."""
    lines = ["# Python API", ""]
    shown: set[str] = set()
    for module_name, heading in MODULES.items():
        module = importlib.import_module(module_name)
        lines += [f"## {heading}", ""]
        for name in module.__all__:
            value = getattr(module, name)
            full_name = f"{getattr(value, '__module__', module_name)}.{name}"
            if callable(value) and full_name not in shown:
                shown.add(full_name)
                lines += [f"::: {full_name}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
