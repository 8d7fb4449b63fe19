"""The tests on the oldest and on the newest versions that setup.cfg allows, each in a fresh virtual environment.

    python tools/version_matrix.py [--only oldest|newest] [--folder FOLDER] [pytest arguments]

Prints one row a set: its versions, and how the tests ended. Needs a package index; an environment takes about 2 GB and
some minutes, and is kept in FOLDER for a look, but made anew by the next run.
"""

import argparse
import configparser
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHOWN = ("transformers", "accelerate", "datasets", "torch", "numpy")


def oldest_of(requirement: str) -> str:
    """Return the requirement of the oldest minor release that one like `numpy>=2` or `torch>=2.13,<3` allows."""
    name, bound = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    major, minor = [*bound.split("."), "0"][:2]
    return f"{name}=={major}.{minor}.*"


def requirements(which: str) -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    given = config["options"]["install_requires"].split("\n")
    return [oldest_of(line) for line in given if line] if which == "oldest" else [line for line in given if line]


def run_in(folder: Path, which: str, pytest_arguments: list[str]) -> list[str]:
    """Set an environment up, run the tests there, and return the cells of its row."""
    venv.create(folder, clear=True, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    installed = subprocess.run([*install, "--editable", f"{ROOT}[dev]", *requirements(which)], check=False)
    if installed.returncode:
        return [which, *["-"] * len(SHOWN), f"pip ended with {installed.returncode}"]
    ask = f"from importlib.metadata import version\nfor name in {SHOWN}: print(version(name))"
    versions = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    tests = subprocess.Popen(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *pytest_arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    last = ""
    for line in tests.stdout:
        sys.stderr.write(line)
        last = line.strip() or last
    return [which, *versions, last if tests.wait() == 0 else f"FAILED: {last}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["oldest", "newest"], help="one of the two sets")
    parser.add_argument("--folder", type=Path, help="for the environments; unset, a temporary one that goes")
    args, pytest_arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        sets = [args.only] if args.only else ["oldest", "newest"]
        rows = [run_in(folder / which, which, pytest_arguments) for which in sets]
    for cells in [["set", *SHOWN, "tests"], ["---"] * (len(SHOWN) + 2), *rows]:
        print("| " + " | ".join(cells) + " |")
    return int(any("passed" not in row[-1] or "FAILED" in row[-1] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
