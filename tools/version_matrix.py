"""Run the tests with the oldest and with the newest versions that setup.cfg allows, each in a new environment.

    python tools/version_matrix.py [--only oldest|newest] [--folder FOLDER] [pytest arguments]

The script prints one row for each set, with its versions and the result of the tests. It needs a package index. An
environment takes about 2 GB and some minutes. It stays in FOLDER until the next run, which creates it again.
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
    """Return a requirement for the oldest minor release that a requirement such as `torch>=2.13,<3` allows."""
    name, bound = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
    major, minor = [*bound.split("."), "0"][:2]
    return f"{name}=={major}.{minor}.*"


def requirements(which: str) -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line for line in config["options"]["install_requires"].split("\n") if line]
    return [oldest_of(line) for line in lines] if which == "oldest" else lines


def run_in(folder: Path, which: str, pytest_arguments: list[str]) -> list[str]:
    """Create an environment, run the tests in it, and return the cells of its row."""
    venv.create(folder, clear=True, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    installed = subprocess.run([*install, "--editable", f"{ROOT}[dev]", *requirements(which)], check=False)
    if installed.returncode:
        return [which, *["-"] * len(SHOWN), f"pip ended with {installed.returncode}"]
    program = f"from importlib.metadata import version\nfor name in {SHOWN}: print(version(name))"
    versions = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    tests = subprocess.Popen(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *pytest_arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    last_line = ""
    for line in tests.stdout:
        sys.stderr.write(line)
        last_line = line.strip() or last_line
    return [which, *versions, last_line if tests.wait() == 0 else f"FAILED: {last_line}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["oldest", "newest"], help="run only this set")
    parser.add_argument("--folder", type=Path, help="folder for the environments; unset: a temporary folder")
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
