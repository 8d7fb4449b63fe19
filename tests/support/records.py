"""The record of a run and the report of a comparison, as they are on disk."""

import copy
import json

from hf_distill.record import read_record

RECORD = {
    "format": 1,
    "hf_distill_version": "0.1.0",
    "versions": {"transformers": "5.23.0", "torch": "2.13.0", "python": "3.11.9"},
    "created": "2026-11-23",
    "command": ["hf-distill", "train", "--task_name", "sst2"],
    "problem_type": "single_label_classification",
    "student": {
        "name": "distil-sst2",
        "origin": "google-bert/bert-base-uncased",
        "model_type": "bert",
        "num_hidden_layers": 3,
        "num_parameters": 45_000_000,
    },
    "teacher": {
        "name_or_path": "user/teacher",
        "revision": "0a1b2c",
        "model_type": "bert",
        "num_hidden_layers": 12,
        "num_parameters": 109_000_000,
        "dtype": "bfloat16",
    },
    "dataset": {
        "id": "nyu-mll/glue",
        "config": "sst2",
        "train_rows": 67349,
        "unlabelled_rows": 0,
        "eval_rows": 872,
        "eval_split": "validation",
    },
    "objectives": {"kl": {"weight": 1.0, "temperature": 2.0}, "ce": {"weight": 0.1, "label_smoothing": 0.0}},
    "training": {"learning_rate": 2e-05, "num_train_epochs": 3.0, "seed": 42, "precision": "float32"},
    "metric_name": "accuracy",
    "metrics": {
        "teacher": {"accuracy": 0.95, "loss": 0.21},
        "student": {"accuracy": 0.90, "loss": 0.25, "agreement": 0.95},
        "baseline": {"accuracy": 0.85},
    },
    "latency": {"teacher": {"p50_ms": 30.0}, "student": {"p50_ms": 10.0}},
}
HOSTILE = 'x|y\n---\n# <script>alert(1)</script> `code` *b* [u](http://v) "q" \u202e: {{ }}'
TOKEN = "hf_" + "Ab1" * 12


def changed(**parts):
    """The record with values replaced. A dict changes some keys of a part."""
    record = copy.deepcopy(RECORD)
    for name, part in parts.items():
        record[name] = {**record[name], **part} if isinstance(part, dict) else part
    return record


def read_back(record, folder):
    """Write the record unchanged, like a file from somebody else, and read it again."""
    (folder / "distillation.json").write_text(json.dumps(record), encoding="utf-8")
    return read_record(folder)


def minimal():
    needed = ("format", "hf_distill_version", "versions", "created", "problem_type", "student", "objectives")
    record = {name: copy.deepcopy(RECORD[name]) for name in needed}
    record["student"]["origin"] = None
    return {**record, "teacher": None, "training": {"seed": 42}, "metrics": {}}


def hostile(value, skip=("problem_type", "command")):
    """The value with every string replaced."""
    if isinstance(value, dict):
        return {name: item if name in skip else hostile(item) for name, item in value.items()}
    return HOSTILE if isinstance(value, str) else value


def scores(value, std=None, runs=1):
    """A metric of the report, with an interval of 0.02 around it."""
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "runs": [value] * runs, "std": std}


def model_of_report(role, accuracy, num_parameters, num_runs=1, **parts):
    """A model of the report with everything that a card reads."""
    return {
        "role": role,
        "num_runs": num_runs,
        "origin": None,
        "format": "pytorch",
        "metrics": {"accuracy": scores(accuracy, 0.005 if num_runs > 1 else None, num_runs)},
        "retention": None,
        "gap_closed": None,
        "versus_teacher": None,
        "versus_baseline": None,
        "fidelity": None,
        "calibration": None,
        "shifted": None,
        "cost": {
            "num_parameters": num_parameters,
            "bytes_on_disk": 4 * num_parameters,
            "latency": [{"device": "cpu", "tokens": 16, "batch_size": 1, "p50_ms": 10.0, "p95_ms": 12.5}],
            "throughput": [{"device": "cpu", "tokens": 16, "batch_size": 32, "examples_per_second": 250.0}],
            "speedup": 3.0,
        },
        **parts,
    }


REPORT = {
    "format": 1,
    "created": "2026-11-24",
    "versions": {"torch": "2.13.0"},
    "machine": {"cores": 2, "cpu": "AMD EPYC", "memory_gb": 24.0, "gpu": None},
    "task": {
        "name": "sst2",
        "problem_type": "single_label_classification",
        "metric_name": "accuracy",
        "metrics": ["accuracy"],
        "rows": 872,
        "text_columns": ["sentence"],
        "labels": ["negative", "positive"],
        "confidence_level": 0.95,
        "num_resamples": 2000,
    },
    "verdict": {"sentence": "Yes, the student can replace the teacher.", "replace": True, "model": "student"},
    "models": {
        "teacher": model_of_report("teacher", 0.95, 109_000_000),
        "student": model_of_report(
            "student",
            0.90,
            45_000_000,
            num_runs=3,
            retention={"value": 0.947, "low": 0.93, "high": 0.96},
            gap_closed={"value": 0.5, "low": 0.2, "high": 0.8},
            versus_teacher={
                "difference": -0.05, "low": -0.07, "high": -0.03, "test": "McNemar exact", "p_value": 0.0001,
                "margin": 0.01, "non_inferior": False,
            },
            fidelity={"agreement": {"value": 0.92, "low": 0.9, "high": 0.94}, "kl": 0.1, "by_class": []},
            calibration={
                "ece": 0.08, "brier": 0.2, "nll": 0.4, "temperature": 1.3, "ece_scaled": 0.02, "brier_scaled": 0.18,
                "nll_scaled": 0.35, "note": "", "bins": [], "bins_scaled": [],
            },
            shifted={"rows": 100, "metrics": {"accuracy": scores(0.8)}, "retention": None},
        ),
        "baseline": model_of_report("baseline", 0.85, 45_000_000),
        "int8": model_of_report("export", 0.89, 45_000_000, cost=None),
    },
    "disagreements": [],
    "notes": ["The shifted dataset has only 100 rows."],
}  # fmt: skip
PARITY = {
    "max_abs_difference": 0.0123456,
    "agreement": 0.99,
    "metrics": {"model": {"accuracy": 0.91}, "export": {"accuracy": 0.9}},
}
EXPORT = {
    "format": "onnx",
    "max_length": 128,
    "variants": {"int8": {"file": "onnx/model_quantized.onnx", "opset": 18, "parity": PARITY}},
}
FLAT_EXPORT = {"format": "onnx", "quantize": "int8", "parity": PARITY, "max_length": 128}  # of an earlier version
