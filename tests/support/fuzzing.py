"""What is fuzzed: strategies for inputs of all shapes, and for each kind what must hold of the result.

An input must give a result that is right, or an error of the library that says what is wrong: `test_fuzzing.py` tries
a few inputs of each kind, `benchmarks/fuzz.py` thousands.
"""

import copy
import csv
import dataclasses
import json
import math
import shutil
import tempfile
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from datasets import Dataset
from hypothesis import reject
from hypothesis import strategies as st
from tiny import TINY, tiny_dataset, tiny_model, tiny_tokenizer
from transformers import BertConfig, BertForTokenClassification, TrainingArguments

import hf_distill
from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherCache
from hf_distill.classifiers.label_maps import align_labels, are_placeholders
from hf_distill.cli.arguments import DataArguments
from hf_distill.cli.model_arguments import ModelArguments
from hf_distill.cli.parsing import parse
from hf_distill.data import load_text_dataset, load_transfer_text, soft_labels
from hf_distill.objectives import LOGIT_OBJECTIVES, OBJECTIVES

HOME = str(Path(hf_distill.__file__).parent)
# These modules check what a user wrote, and raise clear messages themselves.
CHECKS_OF_OTHERS = ("transformers/training_args.py", "transformers/hf_argparser.py")
TOKENIZER = tiny_tokenizer()


class Unclear(AssertionError):
    """An error from deep inside a dependency, or an error without a message."""


def outcome(run: Callable[[Any, Path], None], case: Any) -> str:
    """Return "result" or "refused".

    Raises:
        AssertionError: for a result that is wrong.
        Unclear: for an error that is not the library's.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(case, Path(folder))
        except (ValueError, TypeError, OSError, FloatingPointError, OverflowError) as error:
            if not _is_clear(error):
                raise Unclear(f"{type(error).__name__}: {error}") from error
            return "refused"
    return "result"


def _is_clear(error: Exception) -> bool:
    if isinstance(error, OSError) and error.filename:
        return True  # which names the file
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    is_ours = raised_in.startswith(HOME) or raised_in.endswith(CHECKS_OF_OTHERS)
    return is_ours and len(str(error)) > 20


# ---------------------------------------------------------------------------------------------------- label maps

NAMES = st.sampled_from(
    ["LABEL_0", "LABEL_1", "positive", "Positive", "straße", "STRASSE", "İ", "i̇", "", "O", "B-PER"]
)


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[dict[int, str], dict[int, str]]:
    is_strange = draw(st.integers(0, 2)) == 0
    some = NAMES | st.text(max_size=4) if is_strange else st.text("abcXYZé-", min_size=1, max_size=4)
    names = draw(st.lists(some, min_size=1, max_size=6, unique_by=None if is_strange else str.casefold))
    changed = [draw(st.sampled_from([str, str.upper, str.casefold]))(name) for name in draw(st.permutations(names))]
    if draw(st.integers(0, 3)) == 0:
        changed = draw(st.lists(NAMES, max_size=6))
    start = draw(st.sampled_from([0, 0, 0, 0, 1]))
    return dict(enumerate(names, start)), dict(enumerate(changed))


def run_label_maps(case: tuple[dict[int, str], dict[int, str]], folder: Path) -> None:
    source, target = case
    order = align_labels(source, target)
    if are_placeholders(source) or are_placeholders(target):
        assert order is None
        return
    assert order is None or sorted(order) == list(range(len(target)))
    for place, wanted in target.items():
        found = source[place if order is None else order[place]]
        assert found.casefold() == wanted.casefold()
        assert found == wanted or wanted not in source.values()


# ---------------------------------------------------------------------------------------------------- arguments

NUMBERS = st.sampled_from([0, 1, 2.0, 0.5, 1e-3, 100.0, 1e-30, 1e30, -1.0, math.nan, math.inf, True, "1.0", None])
USUAL = st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.0])
SCHEDULES = st.fixed_dictionaries(
    {"schedule": st.sampled_from(["constant", "linear", "cosine", "step"]), "start": NUMBERS | USUAL, "end": USUAL}
)
HYPER_PARAMETERS = st.dictionaries(
    st.sampled_from(["weight", "temperature", "layer_mapping", "normalize", "alpha", "beta", "label_smoothing", "x"]),
    USUAL | NUMBERS | SCHEDULES | st.sampled_from(["uniform", "last", "skip", {1: 2}, {"1": 1}, {0: 9}, [1]]),
    max_size=3,
)
OBJECTIVE_SPECS = st.dictionaries(
    st.sampled_from([*OBJECTIVES, *OBJECTIVES, "nll"]), USUAL | NUMBERS | HYPER_PARAMETERS, max_size=3
)
LOSS_ARGUMENTS = {
    "temperature": USUAL | NUMBERS,
    "soft_label_weight": USUAL | NUMBERS,
    "hard_label_weight": USUAL | NUMBERS,
    "soft_loss": st.sampled_from([*LOGIT_OBJECTIVES, "mse", ""]),
    "objectives": OBJECTIVE_SPECS | OBJECTIVE_SPECS.map(json.dumps) | st.sampled_from(["", "[]", "{", "kl", [], 1]),
    "label_smoothing_factor": st.sampled_from([0.0, 0.1, 1.0, 2.0, -0.1]),
    "cache_teacher_outputs": st.booleans(),
    "calibrate_teacher": st.booleans(),
    "shard_teacher": st.booleans(),
    "teacher_dtype": st.sampled_from(["auto", "float32", "bfloat16", "float64", ""]),
    "gradient_accumulation_steps": st.sampled_from([1, 2, 0]),
    "per_device_train_batch_size": st.sampled_from([1, 3, 8]),
}
ARGUMENTS = st.fixed_dictionaries({}, optional=LOSS_ARGUMENTS).filter(
    lambda chosen: len(chosen) < 6  # with more of them, most inputs exclude each other
)


def _arguments(folder: Path, **changes: Any) -> DistillationTrainingArguments:
    settings = {
        "max_steps": 1, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no",
        "per_device_train_batch_size": 4, "teacher_cache_dir": str(folder / "store"), "logging_steps": 1,
    }  # fmt: skip
    return DistillationTrainingArguments(str(folder / "out"), **{**settings, **changes})


def _start_of(value: Any) -> float:
    return float(value["start"] if isinstance(value, dict) else value)


def run_arguments(case: dict[str, Any], folder: Path) -> None:
    args = _arguments(folder, **copy.deepcopy(case))
    rows = tiny_dataset(TOKENIZER, 8)
    student = tiny_model(1, seed=1)
    trainer = DistillationTrainer(
        student, tiny_model(2, seed=2), args, train_dataset=rows, eval_dataset=rows, processing_class=TOKENIZER
    )
    found = trainer.evaluate()
    weights = {name: _start_of(of_term.get("weight", 1.0)) for name, of_term in args.objective_spec().items()}
    terms = [weight * found[f"eval_loss_{name}"] for name, weight in weights.items() if weight]
    if math.isfinite(sum(terms)) and abs(sum(terms)) < 1e30:
        np.testing.assert_allclose(found["eval_loss"], sum(terms), rtol=1e-3, atol=1e-5)
    trainer.train()
    assert all(parameter.isfinite().all() for parameter in student.parameters())


# ---------------------------------------------------------------------------------------------------- datasets

ODD_TEXTS = [
    "",
    " ",
    "good",
    "a bad film",
    "007",
    "1.5",
    "nan",
    "null",
    "\u2028",
    "e\u0301",
    "👩‍👩‍👧",
    "a\x00b",
    '"',
    "a,b",
]
TEXTS = st.sampled_from([*ODD_TEXTS, "good film " * 1000]) | st.text(max_size=12)
LABELS = {
    "names": st.sampled_from(["good", "bad", "1", "01", "nan", "", "é"]),
    "one": st.just("good"),
    "integers": st.integers(-2, 3),
    "numbers": st.floats(width=32) | st.integers(-3, 3),
    "lists": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
    "hot": st.lists(st.sampled_from([0, 1]), min_size=3, max_size=3),
    "vectors": st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2),
    "ragged": st.lists(st.floats(-2, 2, width=32), max_size=2),
    "mixed": st.sampled_from(["a", 1, 0.5, True, ["a"]]),
    "nothing": st.none(),
    "dicts": st.just({"a": 1}),
}
WORD = st.sampled_from(["good", "film", "a", "B", "\u00ad", "👩‍👧", "don't"])
TAG = st.sampled_from(["O", "B-x", "I-x", "O", None])


@dataclasses.dataclass
class File:
    """Rows, the format of their file, and whether they are pairs of texts."""

    kind: str
    suffix: str
    rows: list[dict[str, Any]]

    def write(self, folder: Path) -> Path:
        path = folder / f"rows.{self.suffix}"
        names = list(self.rows[0])
        if self.suffix == "jsonl":
            path.write_text("\n".join(map(json.dumps, self.rows)), encoding="utf-8")
        elif self.suffix == "parquet":
            try:
                Dataset.from_list(self.rows).to_parquet(path)
            except (ValueError, TypeError, OverflowError):  # such a file cannot be written
                reject()
        else:
            table = [names, *(["" if row[name] is None else row[name] for name in names] for row in self.rows)]
            with path.open("w", encoding="utf-8", newline="") as file:
                if self.suffix == "csv":
                    csv.writer(file).writerows(table)
                else:  # a format in which quotes are plain characters
                    file.writelines("\t".join(map(str, cells)) + "\n" for cells in table)
        return path


@st.composite
def files(draw: st.DrawFn) -> File:
    suffix = draw(st.sampled_from(["jsonl", "parquet", "csv", "tsv"]))

    if suffix in ("jsonl", "parquet") and draw(st.integers(0, 4)) == 0:
        lengths = draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
        rows = [
            {
                "tokens": [draw(WORD) for _ in range(length)],
                "tags": draw(st.none() | st.lists(TAG, min_size=length, max_size=length)),
            }
            for length in lengths
        ]
        return File("tags", suffix, rows)
    if draw(st.integers(0, 99)) == 0:
        many = draw(st.sampled_from([300, 1500]))
        return File("many", suffix, [{"text": f"good {i}", "label": f"class {i}"} for i in range(many)])
    kind = draw(st.sampled_from(["names", "names", "integers", "numbers", "lists", "hot", "vectors", *LABELS]))
    if suffix in ("csv", "tsv") and kind in ("lists", "hot", "vectors", "ragged", "dicts", "mixed"):
        kind = "names"
    texts = TEXTS
    if suffix == "tsv":
        texts = texts.map(lambda text: "".join(c for c in text if c not in "\t\r\n"))
    if draw(st.integers(0, 9)) == 0:
        texts = texts | st.none()
    elif suffix in ("csv", "tsv"):
        texts = texts.filter(bool)  # an empty text is refused there
    columns = {"text": texts, "label": LABELS[kind] | st.none()}
    if draw(st.booleans()):
        columns["pair"] = texts
    rows = st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=6)
    return File(kind, suffix, draw(rows))


def run_files(case: File, folder: Path) -> None:
    path = case.write(folder)
    task = load_text_dataset(train_file=path, validation_file=path)
    rows = task.datasets["train"]
    assert len(rows) == len(case.rows)
    for column in task.text_columns:
        assert rows[column][:] == [row[column] for row in case.rows]
    for label, row in zip(rows["label"], case.rows, strict=True):
        _assert_label(task, label, row["tags" if task.has_words else "label"])
    if case.kind != "tags":
        transfer = load_transfer_text(path, text_column_names=task.text_columns)
        assert [transfer[name][:] for name in task.text_columns] == [rows[name][:] for name in task.text_columns]
    tokens = task.tokenize(TOKENIZER, max_length=16)
    student, teacher = (_model_for(task, seed) for seed in (1, 2))
    trainer = DistillationTrainer(
        student, teacher, _arguments(folder), train_dataset=tokens["train"], eval_dataset=tokens["validation"],
        processing_class=TOKENIZER, compute_metrics=task.compute_metrics,
    )  # fmt: skip
    trainer.train()
    assert all(parameter.isfinite().all() for parameter in student.parameters())
    found = trainer.evaluate()
    assert math.isfinite(found["eval_loss"])
    assert 0 <= found.get("eval_agreement", 0) <= 1


def _assert_label(task: Any, label: Any, given: Any) -> None:
    """Compare the rows that were read with the file. An empty cell means unlabelled, and a number can be a text."""
    if given in (None, "") or (isinstance(given, float) and math.isnan(given)):
        assert label is None or (isinstance(label, int) and label < 0) or np.isnan(label).all()
    elif task.problem_type == "regression":
        np.testing.assert_allclose(label, np.array(given, dtype=np.float32), rtol=1e-6)
    elif task.problem_type == "multi_label_classification":
        chosen = {name for name, is_right in zip(task.label_names, label, strict=True) if is_right}
        wanted = given if not given or isinstance(given[0], str) else [f"LABEL_{i}" for i, y in enumerate(given) if y]
        assert chosen == set(wanted)
    elif task.has_words:
        assert [None if i < 0 else task.label_names[i] for i in label] == given
    else:
        assert task.label_names[label] == str(given)


def _model_for(task: Any, seed: int) -> torch.nn.Module:
    names = task.label_names or ["score"]
    if task.has_words:
        torch.manual_seed(seed)
        return BertForTokenClassification(BertConfig(**TINY, num_hidden_layers=1, id2label=dict(enumerate(names))))
    return tiny_model(1, seed=seed, id2label=dict(enumerate(names)), problem_type=task.problem_type)


# ---------------------------------------------------------------------------------------------------- recipes

OUR_FIELDS = {
    field.name
    for cls in (ModelArguments, DataArguments, DistillationTrainingArguments)
    for field in dataclasses.fields(cls)
} - {field.name for field in dataclasses.fields(TrainingArguments)}
THEIR_FIELDS = (
    "learning_rate num_train_epochs per_device_train_batch_size warmup_steps seed eval_strategy save_strategy "
    "max_steps weight_decay lr_scheduler_type label_smoothing_factor logging_steps gradient_accumulation_steps"
).split()
FLAGS = st.sampled_from([*sorted(OUR_FIELDS), *THEIR_FIELDS, "learnin_rate", "a b", "1", ""]) | st.text(max_size=5)
SCALARS = st.sampled_from(
    ["a", "a,b", "sst2", "kl", "no", "off", "~", "--seed", "1e-4", "0x10", "é", "a: b", "{}", ""]
)
VALUES = (
    SCALARS
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.floats()
    | st.none()
    | st.lists(st.integers(0, 9) | SCALARS, max_size=3)
    | OBJECTIVE_SPECS
    | st.text(max_size=8)
)
PLAUSIBLE = {
    "temperature": st.floats(0.5, 9),
    "soft_label_weight": st.floats(0, 1, exclude_min=True) | st.just(1),
    "hard_label_weight": st.floats(0, 1),
    "soft_loss": st.sampled_from(["kl", "reverse_kl", "jsd", "dist"]),
    "label_column_name": st.text(max_size=8),
    "text_column_names": st.sampled_from(["a", "a,b", ["a", "b"]]),
    "max_seq_length": st.integers(3, 512),
    "max_train_samples": st.integers(1, 2**40),
    "student_layers": st.sampled_from(["0,2", [0, 2]]),
    "student_num_hidden_layers": st.integers(1, 12),
    "teacher_revision": st.text(max_size=8),
    "baseline": st.booleans(),
    "fine_tune_teacher": st.booleans(),
    "cache_teacher_outputs": st.booleans(),
    "teacher_dtype": st.sampled_from(["auto", "float32", "bfloat16"]),
    "learning_rate": st.floats(1e-6, 1e-2),
    "num_train_epochs": st.integers(1, 9) | st.floats(0.1, 9),
    "seed": st.integers(0, 2**31),
    "eval_strategy": st.sampled_from(["epoch", "steps", "no", False]),
    "save_strategy": st.sampled_from(["epoch", "no", False]),
}
STUDENT = {"teacher_model_name_or_path": "teacher", "student_num_hidden_layers": 2, "train_file": "rows.csv"}


@st.composite
def recipes(draw: st.DrawFn) -> str:
    shape = draw(st.integers(0, 9))
    if shape == 0:
        return draw(st.text(max_size=40))
    if shape == 1:
        return f"{draw(FLAGS)}: !!python/object/apply:pathlib.Path.touch ['canary']"
    if shape < 5:
        recipe = {**(STUDENT if shape > 2 else {}), **draw(st.dictionaries(FLAGS, VALUES, max_size=3))}
    else:
        recipe = {**STUDENT, **draw(st.fixed_dictionaries({}, optional=PLAUSIBLE))}
    return yaml.safe_dump(recipe, allow_unicode=True)


def run_recipes(case: str, folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(case, encoding="utf-8", newline="")
    types = (ModelArguments, DataArguments, DistillationTrainingArguments)
    try:
        parsed = parse(types, ["--config", str(path), "--output_dir", str(folder / "out"), "--use_cpu", "True"])
    finally:
        assert not Path("canary").exists()
    written = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        (holder,) = (of_type for of_type in parsed if hasattr(of_type, name))
        found = getattr(holder, name)
        if type(found) is type(value) or {type(found), type(value)} == {int, float}:
            assert found == value or (found != found and value != value), name
        elif value is not None and isinstance(found, str):
            assert found in (
                str(value),
                written[name],
                "no" if value is False else str(value),
                ",".join(map(str, _items(value))),
            )


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---------------------------------------------------------------------------------------------------- cache files

OPERATIONS = st.tuples(
    st.sampled_from(["cut", "flip", "delete", "append", "fill", "overwrite", "swap", "folder", "stray"]),
    st.integers(0, 99),
    st.integers(0, 10_000),
)


class CacheFiles:
    """A store of two shards, copied and damaged for each input, and the outputs that it must return."""

    def __init__(self) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.rows, self.teacher = tiny_dataset(TOKENIZER, 12), tiny_model(1, seed=3)
        self._label(Path(self.home.name), self.rows.select(range(5)))
        self.logits = self._label(Path(self.home.name), self.rows)

    def _label(self, folder: Path, rows: Dataset) -> np.ndarray:
        cache = TeacherCache(folder, self.teacher, TOKENIZER)
        return np.array(cache.label(rows)["teacher_logits"], dtype=np.float32)

    def __call__(self, case: list[tuple[str, int, int]], folder: Path) -> None:
        shutil.copytree(self.home.name, folder, dirs_exist_ok=True)
        for operation in case:
            _damage(sorted(path for path in folder.rglob("*") if path.is_file()), *operation)
        # A row that is computed again may have been in another batch: equal to rounding, not to the bit.
        np.testing.assert_allclose(self._label(folder, self.rows), self.logits, rtol=1e-5, atol=1e-5)


def _damage(paths: list[Path], operation: str, which: int, where: int) -> None:
    if not paths:
        return
    path, other = paths[which % len(paths)], paths[where % len(paths)]
    content = path.read_bytes()
    if operation == "cut":
        path.write_bytes(content[: where % (len(content) + 1)])
    elif operation == "flip" and content:
        place = where % len(content)
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 + which % 255)]) + content[place + 1 :])
    elif operation == "append":
        path.write_bytes(content + bytes([which]) * (1 + where % 100))
    elif operation == "fill":
        path.write_bytes(bytes([which]) * (where % 2000))
    elif operation == "overwrite":
        path.write_bytes(other.read_bytes())
    elif operation == "swap":
        theirs = other.read_bytes()
        other.write_bytes(content)
        path.write_bytes(theirs)
    elif operation in ("delete", "folder"):
        path.unlink()
        if operation == "folder":
            path.mkdir()
    elif operation == "stray":
        (path.parent / f"{where}.arrow").write_bytes(content)


# ---------------------------------------------------------------------------------------------------- soft labels

PROBABILITIES = st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.3, 1e-9, -0.1, 1.5, math.nan, math.inf, None])
CLASS_NAMES = ["negative", "neutral", "positive"]


@st.composite
def soft_label_rows(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any]]:
    kind = draw(st.sampled_from(["probabilities", "probabilities", "logits", "odds"]))
    settings = {"kind": kind, "is_multi_label": draw(st.booleans()), "floor": draw(st.sampled_from([1e-4, 0.01, 0.5]))}

    def row() -> Any:
        if draw(st.integers(0, 3)):  # a right one
            raw = [draw(st.floats(0.01, 1)) for _ in CLASS_NAMES]
            return [value / sum(raw) for value in raw]
        return draw(st.none() | st.lists(PROBABILITIES, max_size=4))

    rows = [row() for _ in range(draw(st.integers(1, 3)))]
    if draw(st.integers(0, 2)) == 0:
        names = draw(st.sampled_from([CLASS_NAMES, ["POSITIVE", "Neutral", "negative"], ["positive", "neutral", "x"]]))
        rows = [None if row is None else dict(zip(names, row, strict=False)) for row in rows]
    return rows, settings


def run_soft_labels(case: tuple[list[Any], dict[str, Any]], folder: Path) -> None:
    rows, settings = case
    try:
        dataset = Dataset.from_list([{"soft": row} for row in rows])
    except (ValueError, TypeError):  # such a dataset cannot be made
        reject()
    found = np.array(soft_labels(dataset, "soft", CLASS_NAMES, **settings)["teacher_logits"], dtype=np.float64)
    floor = settings["floor"]
    for logits, given in zip(found, rows, strict=True):
        if isinstance(given, dict):
            by_name = {name.casefold(): value for name, value in given.items()}
            given = [by_name.get(name) or 0.0 for name in CLASS_NAMES]
        if settings["kind"] == "logits":
            np.testing.assert_allclose(logits, given, rtol=1e-6)
        elif settings["is_multi_label"]:
            np.testing.assert_allclose(1 / (1 + np.exp(-logits)), np.clip(given, floor, 1 - floor), rtol=1e-4)
        else:
            assert abs(sum(given) - 1) < 0.011
            np.testing.assert_allclose(np.exp(logits), np.maximum(given, floor), rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of input."""

    inputs: st.SearchStrategy
    run: Callable[[Any, Path], None]


@contextmanager
def targets() -> Any:
    """Yield the targets by name."""
    cache_files = CacheFiles()
    yield {
        "label maps": Target(label_maps(), run_label_maps),
        "argument combinations": Target(ARGUMENTS, run_arguments),
        "data set shapes": Target(files(), run_files),
        "recipes": Target(recipes(), run_recipes),
        "cache files": Target(st.lists(OPERATIONS, min_size=1, max_size=3), cache_files),
        "soft labels": Target(soft_label_rows(), run_soft_labels),
    }
    cache_files.home.cleanup()
