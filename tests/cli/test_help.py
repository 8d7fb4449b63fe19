"""Help and parser read the source of the dataclasses; both must say and do what the dataclasses say."""

import dataclasses
import importlib
import json
import subprocess
import sys

import pytest
from transformers import HfArgumentParser

from hf_distill.cli import main
from hf_distill.cli.commands import COMMANDS
from hf_distill.cli.flags import FILES, TRAINER, flags_of, read_flags
from hf_distill.cli.help import help_text, ungrouped_flags
from hf_distill.cli.model_arguments import LAYER_CHOICES
from hf_distill.cli.parsing import _make_parser, _to_bool
from hf_distill.data.metrics import METRICS
from hf_distill.hub.publish import COMMIT_MESSAGE
from hf_distill.objectives import LOGIT_OBJECTIVES
from hf_distill.search.need import MINIMIZED
from hf_distill.students.layers import LAYER_CHOICES as CHOICES_OF_LAYERS
from hf_distill.teachers.prior_correction import PRIOR_CORRECTIONS
from hf_distill.training_args import TEACHER_DTYPES

SLOW = ("torch", "transformers", "datasets", "numpy")


def dataclass_of(class_name):
    if class_name == TRAINER:
        return importlib.import_module("transformers").TrainingArguments
    module = FILES[class_name].removesuffix(".py").replace("/", ".")
    return getattr(importlib.import_module(f"hf_distill.{module}"), class_name)


@pytest.mark.parametrize("class_name", [*FILES, TRAINER])
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
        for class_name in FILES
        for field in dataclasses.fields(dataclass_of(class_name))
        for flag in read_flags(class_name)
        if flag.name == field.name and flag.owner == class_name
        and flag.default is None and field.default not in (None, dataclasses.MISSING)
    }  # fmt: skip
    assert unread == set()


def test_choices_and_defaults_that_flags_repeat_are_those_of_the_library():
    flags = {flag.name: flag for command in COMMANDS.values() for flag in flags_of(command.classes)}
    assert flags["problem_type"].choices == tuple(METRICS)
    assert flags["minimize"].choices == tuple(MINIMIZED)
    assert flags["prior_correction"].choices == PRIOR_CORRECTIONS
    assert flags["soft_loss"].choices == LOGIT_OBJECTIVES
    training_flags = {flag.name: flag for flag in read_flags("DistillationTrainingArguments")}
    assert training_flags["teacher_dtype"].choices == TEACHER_DTYPES
    assert flags["commit_message"].default == COMMIT_MESSAGE
    assert LAYER_CHOICES == CHOICES_OF_LAYERS


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.classes])
def test_the_parser_takes_what_the_parser_of_transformers_takes(command):
    classes = COMMANDS[command].classes
    ours = _make_parser(flags_of(classes))
    reference = HfArgumentParser([dataclass_of(name) for name in classes], add_help=False)
    # An object cannot be written as a word, and a flag without a value also sets a `bool | None` here.
    unreadable = {"--parallelism_config", "--parallelism-config"}
    assert ours._option_string_actions.keys() == reference._option_string_actions.keys() - unreadable
    for name, action in ours._option_string_actions.items():
        expected = reference._option_string_actions[name]
        assert (action.required, type(action)) == (expected.required, type(expected)), name
        choices = None if expected.choices is None else tuple(expected.choices)
        assert (None if action.choices is None else tuple(action.choices)) == choices, name
        if action.type in (int, float):
            assert expected.type is action.type, name
        is_bool = action.type is _to_bool
        if not is_bool and action.dest != "debug":  # which transformers splits at blanks
            assert action.nargs == expected.nargs, name
        assert is_bool == (getattr(expected.type, "__name__", "") == "string_to_bool"), name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_ours_has_a_heading_and_a_sentence(command):
    assert ungrouped_flags(command) == []
    ours = [flag for flag in flags_of(COMMANDS[command].classes) if flag.owner != TRAINER]
    assert [flag.name for flag in ours if not flag.help] == []


def test_a_flag_stands_once_and_only_help_all_lists_all_of_trainer():
    for command in COMMANDS:
        names = [line.split()[0] for line in help_text(command, True).splitlines() if line.startswith("  --")]
        assert len(names) == len(set(names))
    assert "--adam_beta2" not in help_text("train")
    assert "--adam_beta2 NUMBER" in help_text("train", True)
    assert "--label_names" not in help_text("train")
    assert "--label_names" in help_text("train", True)
    assert "--do_train" not in help_text("train", True)


def test_the_help_of_resuming_says_what_true_means_and_that_a_flag_alone_is_true():
    text = " ".join(help_text("train").split())
    assert "True: continue from the newest complete checkpoint of this run in output_dir" in text
    assert "A True|False flag without a value means True." in text


def test_defaults_are_said_once():
    text = help_text("train")
    assert "--learning_rate NUMBER" in text
    assert "--eval_strategy no|steps|epoch" in text
    assert "--text_column_names TEXT ..." in text
    assert "(default: 5e-05)" in text
    assert "(default: None)" not in text
    assert not [line for line in text.splitlines() if "Unset:" in line and "(default:" in line]


def test_the_help_of_the_soft_loss_names_all():
    (flag,) = (flag for flag in read_flags("DistillationTrainingArguments") if flag.name == "soft_loss")
    assert f": {', '.join(LOGIT_OBJECTIVES)}." in flag.help


TEACHER = "--teacher_model_name_or_path t --train_file rows.csv"
# A command line -> its exit status, and what it prints.
WITHOUT_SLOW_IMPORTS = {
    "train --help": (0, "usage: hf-distill train"),
    "compare --help-all": (0, "usage: hf-distill compare"),
    "--help": (0, "usage: hf-distill COMMAND"),
    "env -h": (0, "Print versions and machine for a bug report."),
    "--version": (None, "hf_distill "),
    "trian": (2, "Did you mean train?"),
    "train --lerning_rate 1": (2, "Unknown flag: --lerning_rate. Did you mean --learning_rate?"),
    "train --temprature=1": (2, "Unknown flag: --temprature. Did you mean --temperature?"),
    "train --config {recipe}": (2, "has 'temprature', which is not a flag. Did you mean temperature?"),
    "train --num_train_epochs many": (2, "argument --num_train_epochs: invalid float value: 'many'"),
    "train --bf16 perhaps": (2, "argument --bf16: expected True or False, got 'perhaps'"),
    "train --eval_strategy often": (2, "argument --eval_strategy: invalid choice: 'often'"),
    "train": (2, "No student given."),
    "train --student_num_hidden_layers 2": (2, "Without --teacher_model_name_or_path"),
    "train --student_num_hidden_layers 2 --teacher_model_name_or_path t": (2, "No labelled rows given."),
    f"train --student_num_hidden_layers 2 --student_static_dim 8 {TEACHER}": (2, "name different students"),
    f"train --student_num_hidden_layers 2 {TEACHER} --task_name sst2": (2, "all name labelled rows"),
    f"train --student_num_hidden_layers 2 {TEACHER} --objectives {{}} --temperature 2": (2, "`temperature` is also"),
    f"train --student_num_hidden_layers 2 {TEACHER} --cache_teacher_outputs --shard_teacher": (2, "Set only one"),
    f"train --student_num_hidden_layers 2 {TEACHER} --candidate_labels a,b": (2, "so leave out --train_file"),
    "compare": (2, "required: --teacher_model_name_or_path"),
    "compare --teacher_model_name_or_path t": (2, "No student given."),
    "cache --teacher_dtype int4": (2, "invalid choice: 'int4'"),
    f"search {TEACHER}": (2, "No requirement on quality given."),
    "search --require accuracy>0 --train_file rows.csv": (2, "A search needs a teacher."),
    "export --model_name_or_path m --output_dir o --max_eval_samples 2": (2, "--max_eval_samples needs --text_file."),
    "data rows.csv --encodin x": (2, "Unknown flag: --encodin. Did you mean --encoding?"),
    "push --folder out": (2, "required: --hub_model_id"),
}


@pytest.fixture(scope="module")
def without_slow_imports(tmp_path_factory):
    """Run the command lines in one process; return its last line, and status and output of each."""
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write_text("temprature: 2\n")
    lines = [line.replace("{recipe}", str(recipe)).split() for line in WITHOUT_SLOW_IMPORTS]
    code = (
        "import contextlib, io, json, sys\nimport hf_distill\nfrom hf_distill.cli import main\n"
        "results = []\n"
        f"for words in {lines!r}:\n"
        "    status, output = None, io.StringIO()\n"
        "    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):\n"
        "        try:\n            main(words)\n"
        "        except SystemExit as end:\n            status = end.code\n"
        f"    slow = [name for name in {SLOW!r} if name in sys.modules]\n"
        "    results.append([status, output.getvalue(), slow])\n"
        "print(json.dumps(results))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(WITHOUT_SLOW_IMPORTS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", WITHOUT_SLOW_IMPORTS)
def test_help_and_errors_of_flags_import_nothing_slow(without_slow_imports, line):
    status, text = WITHOUT_SLOW_IMPORTS[line]
    assert without_slow_imports[line][0] == status
    assert text in without_slow_imports[line][1]
    assert without_slow_imports[line][2] == []


def test_the_help_names_its_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["export", "--help"])
    assert capsys.readouterr().out.startswith("usage: hf-distill export [flags]\n\nExport a classifier to ONNX,")
