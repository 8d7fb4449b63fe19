"""`hf-distill` itself: version, environment, unknown commands, a reader that stops reading."""

import subprocess
import sys

import pytest

import hf_distill
from hf_distill.cli import main


def test_the_version_is_printed_without_slow_imports():
    code = "import sys; from hf_distill.cli import main; main(['--version']); print('torch' in sys.modules)"
    lines = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines == [f"hf_distill {hf_distill.__version__}", "False"]


def test_the_environment_has_a_line_for_each_package_and_the_machine(capsys):
    main(["env"])
    values = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert values["hf_distill"].strip() == hf_distill.__version__
    assert values["python"].strip() == sys.version.split()[0]
    assert {"transformers", "torch", "onnxruntime", "cores", "cpu", "gpu"} <= values.keys()


def test_the_environment_takes_no_flags(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["env", "--token=abc"])
    assert "takes no flags, got --token." in capsys.readouterr().err


def test_a_mistyped_command_is_told_its_neighbor(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    assert "unknown command 'trian'. Did you mean train?" in capsys.readouterr().err


def test_a_reader_that_stops_is_no_error():
    script = f"set -o pipefail; {sys.executable} -m hf_distill train --help | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert run.stderr == ""
