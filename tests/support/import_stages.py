"""What is in memory after each of the stages in which a process imports the library."""

import json
import sys

IN_THIS_PROCESS: dict[str, list[str]] = {}  # what `import_in_stages` returned
STAGES = {
    "the package": "import hf_distill",
    "the mathematics": "import hf_distill; hf_distill.soft_loss",
    "the reader of data": "import hf_distill.data",
    "flags": "import hf_distill.cli.arguments",
    "reports": "import hf_distill.reporting",
    "every public name": "import hf_distill; [getattr(hf_distill, name) for name in hf_distill.__all__]",
}


def import_in_stages() -> dict[str, list[str]]:
    """Go through the stages in order.

    Returns:
        The names of the modules in memory after each stage, and as "before" those that were there before the first.
    """
    modules = {"before": list(sys.modules)}
    for stage, code in STAGES.items():
        exec(code, {})
        modules[stage] = list(sys.modules)
    return modules


if __name__ == "__main__":
    sys.stdout.write(json.dumps(import_in_stages()))
