"""The help is read from the source of the dataclasses; it must say what the parser does."""

import dataclasses
import importlib
import subprocess
import sys

import pytest

from hf_distill.cli import COMMANDS, main
from hf_distill.cli.flags import _FILES, CLASSES, TRAINER, command_flags, read_flags
from hf_distill.cli.help import DESCRIPTIONS, help_text, ungrouped_flags
from hf_distill.objectives import LOGIT_OBJECTIVES

SLOW = ("torch", "transformers", "datasets", "numpy")


def dataclass_of(class_name):
    if class_name == TRAINER:
        return importlib.import_module("transformers").TrainingArguments
    module = _FILES[class_name].removesuffix(".py").replace("/", ".")
    return getattr(importlib.import_module(f"hf_distill.{module}"), class_name)


@pytest.mark.parametrize("class_name", [*_FILES, TRAINER])
def test_the_flags_of_the_source_are_the_fields_of_the_dataclass(class_name):
    flags = {flag.name: flag for flag in read_flags(class_name)}
    fields = {field.name: field for field in dataclasses.fields(dataclass_of(class_name)) if field.init}
    assert flags.keys() == fields.keys()
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        assert flags[name].is_required == (not has_default)
        if flags[name].default is not None:
            assert flags[name].default == field.default
        assert flags[name].help == " ".join(field.metadata.get("help", "").split())


def test_defaults_that_the_source_computes_are_few():
    unread = {
        f"{class_name}.{field.name}"
        for class_name in _FILES
        for field in dataclasses.fields(dataclass_of(class_name))
        for flag in read_flags(class_name)
        if flag.name == field.name and flag.owner == class_name
        and flag.default is None and field.default not in (None, dataclasses.MISSING)
    }  # fmt: skip
    assert unread == {"PushArguments.commit_message"}


@pytest.mark.parametrize("command", DESCRIPTIONS)
def test_every_flag_of_ours_has_a_heading_and_a_sentence(command):
    assert ungrouped_flags(command) == []
    ours = [flag for flag in command_flags(command) if flag.owner != TRAINER]
    assert [flag.name for flag in ours if not flag.help] == []


def test_every_command_with_flags_has_a_help():
    assert DESCRIPTIONS.keys() == CLASSES.keys() == COMMANDS.keys() - {"env"}


def test_a_flag_stands_once_and_only_help_all_lists_all_of_trainer():
    for command in DESCRIPTIONS:
        names = [line.split()[0] for line in help_text(command, True).splitlines() if line.startswith("  --")]
        assert len(names) == len(set(names))
    assert "--adam_beta2" not in help_text("train")
    assert "--adam_beta2 NUMBER" in help_text("train", True)
    assert "--do_train" not in help_text("train", True)


def test_the_help_of_resuming_says_what_true_means_and_that_a_flag_alone_is_true():
    text = " ".join(help_text("train").split())
    assert "True: continue from the newest complete checkpoint of this run in output_dir" in text
    assert "A True|False flag without a value means True." in text


def test_defaults_are_said_once():
    text = help_text("train")
    assert "--learning_rate NUMBER" in text
    assert "(default: 5e-05)" in text
    assert "(default: None)" not in text
    assert not [line for line in text.splitlines() if "Unset:" in line and "(default:" in line]


def test_the_help_of_the_soft_loss_names_all():
    (flag,) = (flag for flag in read_flags("DistillationTrainingArguments") if flag.name == "soft_loss")
    assert f": {', '.join(LOGIT_OBJECTIVES)}." in flag.help


def test_help_imports_nothing_slow():
    code = (
        "import sys\nfrom hf_distill.cli import main\n"
        "for words in (['train', '--help'], ['compare', '--help-all'], ['--help'], ['env', '-h']):\n"
        "    try:\n        main(words)\n    except SystemExit as end:\n        assert not end.code\n"
        f"print([name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_names_its_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["export", "--help"])
    assert capsys.readouterr().out.startswith("usage: hf-distill export [flags]\n\nExport a classifier to ONNX.")
