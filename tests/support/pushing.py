"""Push to the local Hub by the command line."""

import pytest
from hub_server import TOKEN

from hf_distill.cli import main

REPO = "tester/student"


def push(out, *flags):
    main(["push", "--folder", str(out), "--hub_model_id", REPO, *flags])


def failed_push(out, capsys, *flags):
    """Push, and return the message of the error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        push(out, *flags)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err
    assert "Traceback" not in printed.err
    return printed.err
