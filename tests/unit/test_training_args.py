"""The training arguments: defaults, errors, and round trips through flags, JSON and YAML."""

import dataclasses
import inspect
import json

import pytest
import yaml
from tiny import visible_to_caplog
from transformers import HfArgumentParser, TrainingArguments
from transformers.utils import logging

from hf_distill import DistillationTrainingArguments
from hf_distill.classifiers.problem_types import PROBLEM_TYPES
from hf_distill.objectives import LOGIT_OBJECTIVES, DistillationLoss, build_objectives

ADDED_FIELDS = [
    field
    for field in dataclasses.fields(DistillationTrainingArguments)
    if field.name not in {inherited.name for inherited in dataclasses.fields(TrainingArguments)}
]
SPEC = {"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}


@pytest.fixture
def make_args(tmp_path):
    def make(**arguments):
        return DistillationTrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **arguments)

    return make


@pytest.fixture
def parser():
    return HfArgumentParser(DistillationTrainingArguments)


# ---- Defaults ----


def test_arguments_are_unset_by_default():
    assert {field.name: field.default for field in ADDED_FIELDS} == {
        "temperature": None,
        "soft_label_weight": None,
        "hard_label_weight": None,
        "soft_loss": None,
        "objectives": None,
        "teacher_dtype": "auto",
        "cache_teacher_outputs": False,
        "teacher_cache_dir": None,
        "calibrate_teacher": False,
        "shard_teacher": False,
    }


def test_unset_arguments_resolve_to_hintons_loss(make_args):
    args = make_args()
    loss = DistillationLoss(build_objectives(args.objective_spec())).bind(PROBLEM_TYPES["single_label_classification"])
    assert loss.spec() == {
        "kl": {"temperature": 2.0, "weight": 1.0},
        "ce": {"label_smoothing": 0.0, "weight": 0.1},
    }
    assert (args.temperature, args.soft_label_weight, args.hard_label_weight, args.soft_loss) == (None,) * 4


def test_the_four_loss_arguments_are_part_of_the_spec(make_args):
    args = make_args(temperature=4, soft_label_weight=0.7, hard_label_weight=0.3, soft_loss="jsd")
    assert args.objective_spec() == {
        "jsd": {"weight": 0.7, "temperature": 4},
        "ce": {"weight": 0.3, "label_smoothing": 0.0},
    }


@pytest.mark.parametrize("name", LOGIT_OBJECTIVES)
def test_every_logit_objective_is_a_soft_loss(make_args, name):
    assert list(make_args(soft_loss=name).objective_spec()) == [name, "ce"]


def test_a_weight_of_zero_drops_its_loss(make_args):
    for arguments, weights in (({"soft_label_weight": 0}, {"ce": 0.1}), ({"hard_label_weight": 0.0}, {"kl": 1.0})):
        objectives = build_objectives(make_args(**arguments).objective_spec())
        loss = DistillationLoss(objectives).bind(PROBLEM_TYPES["single_label_classification"])
        assert loss.weights == weights


def test_several_trackers_can_be_given_with_commas(tmp_path):
    args = DistillationTrainingArguments(str(tmp_path), report_to="tensorboard,trackio", use_cpu=True)
    assert args.report_to == ["tensorboard", "trackio"]


def test_label_smoothing_is_part_of_the_hard_loss(make_args):
    smoothed = {"weight": 0.1, "label_smoothing": 0.2}
    assert make_args(label_smoothing_factor=0.2).objective_spec()["ce"] == smoothed
    assert make_args(label_smoothing_factor=0.2, objectives={"ce": 0.1}).objective_spec()["ce"] == smoothed
    with pytest.raises(ValueError, match="`label_smoothing` must be >= 0 and < 1, got 1.5"):
        make_args(label_smoothing_factor=1.5)


def test_the_spec_is_a_copy(make_args):
    args = make_args(objectives={"ce": {"weight": 1.0}})
    args.objective_spec()["ce"]["weight"] = 5.0
    assert args.objectives == {"ce": {"weight": 1.0}}


# ---- Errors ----


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "4"], ids=repr)
@pytest.mark.parametrize(
    ("name", "bound"), [("temperature", ">= 0.001"), ("soft_label_weight", ">= 0"), ("hard_label_weight", ">= 0")]
)
def test_a_number_out_of_range_is_rejected_with_value_and_range(make_args, name, bound, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number {bound}, got {value!r}"):
        make_args(**{name: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "`temperature` must be a finite number >= 0.001, got 0"),
        ({"temperature": 9e-4}, "`temperature` must be a finite number >= 0.001, got 0.0009"),
        ({"max_steps": 0}, "`max_steps` must be at least 1, or -1 to train `num_train_epochs`, got 0"),
        ({"max_steps": -2}, "`max_steps` must be at least 1, or -1 .* got -2"),
        ({"num_train_epochs": 0}, "`num_train_epochs` must be a finite number > 0, got 0"),
        ({"num_train_epochs": float("nan")}, "`num_train_epochs` must be a finite number > 0, got nan"),
        ({"learning_rate": -1e-5}, "`learning_rate` must be a finite number >= 0, got -1e-05"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number >= 0, got nan"),
        (
            {"objectives": '{"kl": 1, "ce": 0.1, "kl": 2}'},
            "`objectives` cannot be read as JSON .the name 'kl' is there twice",
        ),
        (
            {"objectives": '{"kl": {"weight": 1, "weight": 1}}'},
            "`objectives` cannot be read as JSON .the name 'weight' is there twice",
        ),
        ({"objectives": '{"kl": ' + "[" * 100_000}, "`objectives` cannot be read as JSON .it is nested too deeply"),
        ({"soft_loss": "ce"}, f"`soft_loss` must be one of {', '.join(LOGIT_OBJECTIVES)}; got 'ce'"),
        ({"soft_loss": "KL"}, "`soft_loss` must be one of kl, .*; got 'KL'"),
        ({"teacher_dtype": "fp16"}, "`teacher_dtype` must be one of auto, float32, bfloat16, float16; got 'fp16'"),
        ({"soft_label_weight": 0, "hard_label_weight": 0.0}, "`soft_label_weight` and `hard_label_weight` are both 0"),
        ({"soft_loss": "logit_mse", "temperature": 3.0}, "`temperature` is 3.0, but `logit_mse` has no temperature"),
        ({"objectives": "kl"}, "`objectives` cannot be read as JSON .*: 'kl'"),
        ({"objectives": "[1.0]"}, r"`objectives` must be a JSON object from names to weights, got '\[1.0\]'"),
        ({"objectives": {"nll": 1.0}}, "no objective 'nll'"),
        ({"gradient_accumulation_steps": 0}, "`gradient_accumulation_steps` must be at least 1, got 0"),
        ({"objectives": {"kl": -1.0}}, "`weight` of `kl` must be a finite number >= 0, got -1.0"),
        (
            {"objectives": '{"kl": {"temprature": 1}}'},
            "`kl` has no hyperparameter 'temprature'; its hyperparameters are temperature",
        ),
        ({"objectives": {"kl": {"temperature": 0}}}, "`temperature` of `kl` must be a finite number >= 0.001, got 0"),
        ({"objectives": {"dkd": {"temperature": 1e-4}}}, "`temperature` of `dkd` must be a finite number >= 0.001"),
        (
            {"objectives": {"kl": {"temperature": {"schedule": "linear", "start": 4.0, "end": 1e-9}}}},
            "`temperature` of `kl` must be a finite number >= 0.001, got 1e-09",
        ),
        ({"objectives": {"jsd": {"beta": 1}}}, "`beta` of jsd must be > 0 and < 1, got 1"),
    ],
    ids=str,
)
def test_a_wrong_value_is_rejected_at_construction(make_args, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_args(**arguments)


@pytest.mark.parametrize(
    "argument",
    [{"temperature": 2.0}, {"soft_label_weight": 1.0}, {"hard_label_weight": 0.0}, {"soft_loss": "kl"}],
    ids=lambda argument: next(iter(argument)),
)
def test_objectives_exclude_each_of_the_four_loss_arguments(make_args, argument):
    name = next(iter(argument))
    with pytest.raises(ValueError, match=f"`objectives` defines the whole loss, but `{name}` is also set"):
        make_args(objectives=SPEC, **argument)


@pytest.mark.parametrize("objectives", [["kl", "ce"], 0.5], ids=repr)
def test_objectives_of_another_type_are_rejected_by_name(make_args, objectives):
    # A recipe with `objectives: [kl, ce]`.
    with pytest.raises((TypeError, ValueError), match="`objectives`"):
        make_args(objectives=objectives)


@pytest.mark.parametrize("objectives", [{}, {"kl": 0.0, "ce": 0}], ids=repr)
def test_objectives_without_any_weight_are_rejected_before_a_model_is_loaded(make_args, objectives):
    with pytest.raises(ValueError, match="weight > 0"):
        make_args(objectives=objectives)


# ---- Round trips ----


def test_the_command_line_sets_every_argument(parser, tmp_path):
    flags = (
        f"--output_dir {tmp_path} --use_cpu --temperature 4 --soft_label_weight 0.7 --hard_label_weight 0.3 "
        "--soft_loss reverse_kl --teacher_dtype bfloat16 --cache_teacher_outputs "
        "--teacher_cache_dir cache --calibrate_teacher"
    )
    (args,) = parser.parse_args_into_dataclasses(flags.split())
    assert {field.name: getattr(args, field.name) for field in ADDED_FIELDS} == {
        "temperature": 4.0,
        "soft_label_weight": 0.7,
        "hard_label_weight": 0.3,
        "soft_loss": "reverse_kl",
        "objectives": None,
        "teacher_dtype": "bfloat16",
        "cache_teacher_outputs": True,
        "teacher_cache_dir": "cache",
        "calibrate_teacher": True,
        "shard_teacher": False,  # excludes the cache
    }
    (args,) = parser.parse_args_into_dataclasses(["--output_dir", str(tmp_path), "--use_cpu"])
    assert [getattr(args, field.name) for field in ADDED_FIELDS] == [field.default for field in ADDED_FIELDS]


@pytest.mark.parametrize("source", ["flags", "python", "json", "yaml"])
def test_objectives_are_equal_from_flags_python_json_and_yaml(parser, make_args, tmp_path, source):
    if source == "flags":
        text = '{"ce": 0.1, "kl": {"weight": 0.9, "temperature": 4.0}}'
        (args,) = parser.parse_args_into_dataclasses(
            ["--output_dir", str(tmp_path), "--use_cpu", "--objectives", text]
        )
    elif source == "python":
        args = make_args(objectives=SPEC)
    else:
        given = {"output_dir": str(tmp_path), "use_cpu": True, "objectives": SPEC}
        path = tmp_path / f"recipe.{source}"
        path.write_text(json.dumps(given) if source == "json" else yaml.safe_dump(given))
        (args,) = parser.parse_json_file(path) if source == "json" else parser.parse_yaml_file(path)
    assert args.objectives == SPEC
    assert args.objective_spec() == {
        "ce": {"weight": 0.1, "label_smoothing": 0.0},
        "kl": {"weight": 0.9, "temperature": 4.0},
    }


@pytest.mark.parametrize(
    "given",
    [{}, {"temperature": 3.0, "hard_label_weight": 0.0}, {"objectives": SPEC}, {"soft_loss": "dkd"}],
    ids=["nothing set", "two set", "objectives", "soft_loss"],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["dict", "json"])
def test_arguments_survive_a_round_trip_and_unset_stays_unset(parser, make_args, given, as_json):
    args = make_args(**given)
    written = json.loads(args.to_json_string()) if as_json else args.to_dict()
    (again,) = parser.parse_dict(written)
    assert {field.name: getattr(again, field.name) for field in ADDED_FIELDS} == {
        field.name: given.get(field.name, field.default) for field in ADDED_FIELDS
    }
    assert again.to_dict() == args.to_dict()
    assert again.objective_spec() == args.objective_spec()


def test_the_help_contains_every_argument(parser):
    text = "".join(parser.format_help().split())  # argparse breaks lines at hyphens too
    for field in ADDED_FIELDS:
        choices = field.metadata.get("choices")
        value = field.name.upper() if choices is None else f"{{{','.join(choices)}}}"
        assert f"--{field.name}{value}" in text or f"--{field.name}[{value}]" in text
        assert len(field.metadata["help"]) > 20
        assert "".join(field.metadata["help"].split()) in text


@pytest.mark.parametrize("field", ADDED_FIELDS, ids=lambda field: field.name)
def test_docstring_and_help_name_the_same_default(field):
    section = inspect.getdoc(DistillationTrainingArguments).split(f"\n    {field.name} (")[1].split("): ")[0]
    resolved = {"temperature": "2.0", "soft_label_weight": "1.0", "hard_label_weight": "0.1", "soft_loss": "kl"}
    if field.name in resolved:
        assert f"{resolved[field.name]}" in section.replace('"', "")
        assert "when unset" in section
        assert field.metadata["help"].endswith(f"Unset: {resolved[field.name]}.")


# ---- Without a teacher, and pickles ----


def test_fine_tuning_without_a_teacher_only_changes_the_loss_and_the_hub(make_args, tmp_path):
    args = make_args(
        temperature=4.0,
        soft_label_weight=0.5,
        hard_label_weight=0.2,
        soft_loss="jsd",
        learning_rate=3e-4,
        label_smoothing_factor=0.1,
        push_to_hub=True,
        hub_token="hf_canary",
    )
    fine_tuning = args.without_teacher(str(tmp_path / "baseline"), max_steps=7)
    changed = {k: v for k, v in fine_tuning.to_dict().items() if args.to_dict()[k] != v}
    assert changed == {
        "output_dir": str(tmp_path / "baseline"),
        "max_steps": 7,
        "push_to_hub": False,
        "temperature": None,
        "soft_label_weight": None,
        "hard_label_weight": None,
        "soft_loss": None,
        "objectives": {"ce": 1.0},
    }
    assert fine_tuning.objective_spec() == {"ce": {"weight": 1.0, "label_smoothing": 0.1}}
    assert not DistillationLoss(build_objectives(fine_tuning.objective_spec())).teacher_reads
    assert args.temperature == 4.0
    assert args.push_to_hub


def test_fine_tuning_without_a_teacher_replaces_objectives(make_args, tmp_path):
    fine_tuning = make_args(objectives=SPEC).without_teacher(str(tmp_path))
    assert fine_tuning.objective_spec() == {"ce": {"weight": 1.0, "label_smoothing": 0.0}}


@pytest.mark.parametrize(("has_accelerator", "given", "expected"), [
    (True, {}, True), (True, {"dataloader_pin_memory": False}, False), (False, {}, False),
])  # fmt: skip
def test_memory_is_pinned_only_for_an_accelerator(tmp_path, monkeypatch, has_accelerator, given, expected):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: has_accelerator)
    args = DistillationTrainingArguments(str(tmp_path), report_to="none", **given)
    assert args.dataloader_pin_memory is expected


def test_auto_dtype_is_float16_for_fp16(make_args):
    assert make_args(teacher_dtype="float16").resolved_teacher_dtype() == "float16"
    args = make_args()
    args.fp16 = True  # rejected at construction on a CPU
    assert args.resolved_teacher_dtype() == "float16"


def test_a_learning_rate_of_zero_warns_once(make_args, caplog):
    logging.get_logger("hf_distill").warning_once.__func__.cache_clear()
    with visible_to_caplog("hf_distill.training_args"):
        for _ in range(2):
            make_args(learning_rate=0)
    assert caplog.text.count("`learning_rate` is 0, so the student does not learn") == 1
