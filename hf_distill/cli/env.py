"""`hf-distill env`: print the versions and the machine, for a bug report."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from hf_distill.record import describe_machine, describe_versions

# Optional packages that results or exports depend on.
_OPTIONAL = ("evaluate", "peft", "onnx", "onnxruntime", "onnxscript", "optuna", "matplotlib", "jinja2", "deepspeed")


def run(arguments: Sequence[str]) -> None:
    """Print one line for each package, and for what is known of the machine."""
    if arguments:
        raise ValueError(f"`hf-distill env` takes no flags, got {arguments[0].split('=')[0]}.")
    versions = describe_versions() | {name: _version_or(name, "not installed") for name in _OPTIONAL}
    machine = {name: "unknown" if value is None else value for name, value in describe_machine().items()}
    if machine["gpu"] == "unknown":
        machine["gpu"] = "none"
    for name, value in (versions | machine).items():
        print(f"{name + ':':16}{value}")


def _version_or(name: str, otherwise: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return otherwise
