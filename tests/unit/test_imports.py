"""Dependencies go one way, and importing the library stays cheap."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import import_stages
import pytest
from import_stages import IN_THIS_PROCESS

import hf_distill

ROOT = Path(hf_distill.__file__).parent
# A room may import rooms of lower layers only; rooms of one layer do not know each other.
LAYERS = [
    {"functional", "utils"},
    {"classifiers"},
    {"objectives", "teachers", "students"},
    {"training_args"},
    {"record"},
    {"cache", "data"},
    {"export"},
    {"reporting"},
    {"hub"},
    {"training"},
    {"trainer"},
    {"pipeline"},
    {"search"},
    {"cli"},
    {"__main__"},
]
LAYER = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
HEAVY = ["evaluate", "matplotlib", "optuna", "onnx", "onnxruntime", "tensorboard", "wandb", "mlflow", "trackio"]

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def imported_modules(path, own):
    """Yield the modules of ours that a file imports anywhere, lazily or for types alone, without `hf_distill.`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{own} imports relatively in line {node.lineno}; house style is absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "hf_distill" or name.startswith("hf_distill."):
                parts = name.split(".")[1:]
                while parts and ".".join(parts) not in MODULES:  # the last part may be a function
                    parts.pop()
                yield ".".join(parts)


def room_of(module):
    return module.split(".")[0]


def test_the_reader_of_imports_sees_all_their_forms(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from hf_distill import functional\n"
        "from hf_distill.objectives.base import Objective\n"
        "import hf_distill.classifiers.label_maps\n"
        "if TYPE_CHECKING:\n    from hf_distill.classifiers.outputs import Batch\n"
        "def f():\n    from hf_distill.trainer import DistillationTrainer\n    import torch\n"
    )
    expected = {"functional", "objectives.base", "classifiers.label_maps", "classifiers.outputs", "trainer"}
    assert set(imported_modules(path, "module")) == expected


def test_every_module_has_a_layer():
    assert {room_of(module) for module in MODULES} <= LAYER.keys()


@pytest.fixture(scope="module")
def imports():
    """From the name of each module of ours to the modules of ours that it imports."""
    return {module: list(imported_modules(path, module)) for module, path in MODULES.items()}


def test_a_module_imports_from_lower_layers_alone(imports):
    assert any(imports.values())
    for module, imported_ones in imports.items():
        assert all(imported_ones), f"{module} imports the package itself, which imports nothing; name the module"
        rooms = {imported: room_of(imported) for imported in imported_ones}
        bad = {
            imported
            for imported, room in rooms.items()
            if room != room_of(module) and LAYER[room] >= LAYER[room_of(module)]
        }
        assert not bad, f"{module} imports {', '.join(sorted(bad))}"


def test_the_rooms_of_the_report_do_not_know_each_other(imports):
    in_rooms = [module for module in MODULES if module.count(".") > 1]
    assert in_rooms
    for module in in_rooms:
        _, own, _ = module.split(".")
        rooms = {imported.split(".")[1] for imported in imports[module] if imported.count(".") > 1}
        assert rooms <= {own}, f"{module} imports {', '.join(sorted(imports[module]))}"


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) == "functional"])
def test_the_mathematics_needs_nothing_but_torch(module):
    tree = ast.parse(MODULES[module].read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= {"math", "torch", "hf_distill"}


@pytest.fixture(scope="module")
def imported():
    """What is in memory after each of the stages, which one process goes through in order."""
    modules = IN_THIS_PROCESS
    if not modules:  # this process imported the library in another order
        environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
        command = [sys.executable, import_stages.__file__]
        modules = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    return {stage: set(names) for stage, names in modules.items()}


@pytest.mark.parametrize(
    ("stage", "absent"),
    [
        ("the package", ["torch", "transformers", "datasets", "numpy", *HEAVY]),
        ("the mathematics", ["transformers", "datasets", *HEAVY]),
        ("the reader of data", ["scipy", "sklearn", *HEAVY]),
        ("flags", ["transformers.trainer", *HEAVY]),
        ("reports", HEAVY),
        ("every public name", HEAVY),
    ],
)
def test_only_what_is_needed_is_imported(imported, stage, absent):
    assert not imported["before"] & {*absent, "hf_distill"}, "or the test would be vacuous"
    assert not imported[stage] & set(absent)


def test_the_stages_import_what_they_are_about(imported):
    expected = {"the mathematics": "torch", "the reader of data": "datasets", "every public name": "transformers"}
    assert all(module in imported[stage] for stage, module in expected.items())


def test_every_public_name_exists_and_is_listed_once():
    assert len(set(hf_distill.__all__)) == len(hf_distill.__all__)
    assert set(hf_distill.__all__) == hf_distill._PUBLIC.keys()
    for name in hf_distill.__all__:
        assert getattr(hf_distill, name) is not None
    for name, module in hf_distill._PUBLIC.items():
        assert module.removeprefix("hf_distill.") in MODULES, name


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hf_distill' has no attribute 'DistilationTrainer'"):
        _ = hf_distill.DistilationTrainer
    assert not hasattr(hf_distill, "alpha")
