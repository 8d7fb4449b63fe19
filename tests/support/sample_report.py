"""Reports with made-up numbers, in the format of `report.json`, for tests of the page, the card and the tables."""

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&$\\alpha$\u2028\u202etfel\x00" + "W" * 150
METRICS = {
    "single_label_classification": ["accuracy", "f1"],
    "multi_label_classification": ["f1", "accuracy"],
    "regression": ["pearson", "spearmanr"],
    "token_classification": ["entity_f1", "accuracy"],
}
# Score of each model, spread over seeds, speed-up, bytes, parameters.
MODELS = {
    "teacher": ("teacher", 0.912, 0.0, 1.0, 91_000_000, 22_700_000),
    "student": ("student", 0.9025, 0.004, 2.0, 69_500_000, 17_400_000),
    "student int8": ("export", 0.9005, 0.004, 5.2, 17_800_000, 17_400_000),
    "baseline": ("baseline", 0.881, 0.006, 2.0, 69_500_000, 17_400_000),
}
TEXTS = [
    "It is not that the film lacks ideas; it is that it has had the same one for two hours.",
    "You will not be bored, which is more than the poster dared to promise.",
    "Hardly a disaster.",
    "A comedy in the sense that somebody, somewhere, was paid to call it one.",
]


def estimate(value, width=0.02):
    return {"value": value, "low": value - width, "high": value + width * 0.9}


def sample_report(problem_type="single_label_classification", labels=("negative", "positive"), models=MODELS):
    """A report on teacher, student over three seeds, its int8 export, and the baseline.

    Args:
        problem_type: What does not apply to it is null.
        labels: Names of the classes, any number.
        models: Name -> a line of MODELS.
    """
    metrics = METRICS[problem_type]
    labels = None if problem_type == "regression" else list(labels)
    columns = {name: model_column(name, line, problem_type, metrics, labels) for name, line in models.items()}
    student = next(name for name, line in models.items() if line[0] == "student")
    return {
        "format": 1,
        "created": "2026-11-24",
        "versions": {"hf_distill": "0.1.0", "transformers": "5.23.0", "torch": "2.13.0", "onnxruntime": "1.32.0"},
        "machine": {"cores": 2, "threads": 2, "cpu": "AMD EPYC", "memory_gb": 24.0, "gpu": None, "is_busy": False},
        "task": {
            "name": "movie reviews",
            "problem_type": problem_type,
            "metric_name": metrics[0],
            "metrics": metrics,
            "rows": 872,
            "unlabelled_rows": 0,
            "repeated_rows": 0,
            "groups": None,
            "text_columns": ["sentence"],
            "labels": labels,
            "confidence_level": 0.95,
            "num_resamples": 2000,
            "num_resamples_by_metric": dict.fromkeys(metrics, 2000),
        },
        "verdict": {
            "sentence": "Yes, the student can replace the teacher: on 872 rows its accuracy is 90.2 %, and the "
            "teacher's is 91.2 %. With 95 % confidence the student is less than 1 point worse.",
            "by_model": {student: "Yes, the student can replace the teacher: it is less than 1 point worse."},
            "replace": True,
            "model": student,
            "reason": "score",
            "more_rows": None,
        },
        "leaderboard": leaderboard(columns, metrics[0]),
        "models": columns,
        "slices": slices(columns, metrics[0]),
        "changes": changes(labels) if problem_type == "single_label_classification" else None,
        "disagreements": disagreements(student, labels, problem_type),
        "warnings": [],
        "notes": [
            "With 872 rows the difference to the teacher is known to within 1.5 points.",
            "The teacher was trained once, so it is unknown how much its score varies with the seed.",
        ],
    }


def model_column(name, line, problem_type, metrics, labels):
    role, score, std, speed, num_bytes, num_parameters = line
    is_teacher, has_classes = role == "teacher", labels is not None
    num_runs = 1 if is_teacher else 3
    runs = [score] if is_teacher else [score - 1.2 * std, score + 0.2 * std, score + std]
    return {
        "role": role,
        "pairing": None,
        "confusions": confusions(labels) if has_classes else None,
        "num_runs": num_runs,
        "shipped_run": 0,
        "shipped_reason": "the only run" if num_runs == 1 else "the first one passed",
        "origin": f"models/{name}",
        "format": "onnx-int8" if role == "export" else "pytorch",
        "metrics": {
            m: {**estimate(score - 0.01 * i), "runs": runs, "std": std or None} for i, m in enumerate(metrics)
        },
        "retention": None if is_teacher else estimate(score / 0.912, 0.012),
        "gap_closed": None if role in ("teacher", "baseline") else estimate((score - 0.881) / 0.031, 0.3),
        "gap_closed_note": None,
        "versus_teacher": None if is_teacher else versus(score - 0.912, margin=0.01, non_inferior=role != "baseline"),
        "versus_baseline": versus(score - 0.881) if role in ("student", "export") else None,
        "fidelity": None if is_teacher else fidelity(score, labels),
        "calibration": calibration(score) if has_classes else None,
        "by_length": by_length(score),
        "by_class": by_class(score, labels) if has_classes else None,
        "lost_classes": None,
        "shifted": shifted(score, metrics, is_teacher),
        "cost": cost(speed, num_bytes, num_parameters),
        "deferral": None if is_teacher or problem_type != "single_label_classification" else deferral(score),
    }


def leaderboard(columns, metric):
    return [
        {
            "model": name,
            **{key: column["metrics"][metric][key] for key in ("value", "low", "high")},
            "answer": None if column["role"] in ("teacher", "baseline") else "yes",
            "p50_ms": column["cost"]["latency"][0]["p50_ms"],
            "bytes_on_disk": column["cost"]["bytes_on_disk"],
            "num_parameters": column["cost"]["num_parameters"],
        }
        for name, column in columns.items()
    ]


def slices(columns, metric):
    return [
        {
            "column": "language",
            "value": value,
            "rows": rows,
            "num_values": 1,
            "models": {
                name: {
                    **{key: column["metrics"][metric][key] for key in ("value", "low", "high")},
                    **(
                        {}
                        if name == "teacher"
                        else {"difference": -0.02, "difference_low": -0.03, "difference_high": -0.01, "p_value": 0.004}
                    ),
                }
                for name, column in columns.items()
            },
        }
        for value, rows in (("en", 700), ("other values", 172))
    ]


def changes(labels):
    answers = {"label": labels[0], "teacher": labels[-1], "model": labels[0]}
    example = {"row": 17, "text": TEXTS[0], **answers}
    return {"fixed": {"rows": 1, "examples": [example]}, "broken": {"rows": 0, "examples": []}}


def confusions(labels):
    largest = [{"label": labels[0], "prediction": labels[-1], "model": 9, "teacher": 4}]
    return {"matrix": [[400] * len(labels)] * len(labels) if len(labels) <= 20 else None, "largest": largest}


def versus(difference, **others):
    interval = {"difference": difference, "low": difference - 0.009, "high": difference + 0.008}
    return {**interval, "test": "McNemar exact", "p_value": 0.0004 if difference < -0.02 else 0.21, **others}


def fidelity(score, labels):
    if labels is None:
        return {"agreement": None, "kl": None, "rmse": 0.31, "pearson": 0.97, "by_class": None}
    shift = [(i * 37 % 11) / 60 for i in range(len(labels))]
    by_class = [
        {
            "label": label,
            "rows": 400 // len(labels) + i % 5,
            "teacher": 0.92 - x / 2,
            "model": score - x,
            "agreement": 0.06 + score - x,
        }
        for i, (label, x) in enumerate(zip(labels, shift, strict=True))
    ]
    return {"agreement": estimate(score + 0.045, 0.013), "kl": 0.35 * (1 - score), "by_class": by_class}


def calibration(score):
    edges = [i / 10 for i in range(11)]
    bins, scaled = [], []
    for low, high in zip(edges, edges[1:], strict=False):
        rows = 0 if low < 0.5 else int(10 + 600 * low**12)
        confidence = (low + high) / 2 if rows else None
        over = {"low": low, "high": high, "rows": rows, "confidence": confidence}
        bins.append({**over, "accuracy": None if not rows else 0.45 + (confidence - 0.5) * (score - 0.45) / 0.45})
        scaled.append({**over, "accuracy": None if not rows else confidence + 0.02 * (-1) ** round(10 * low)})
    error = {"ece": 0.067, "ece_low": 0.041, "ece_high": 0.084, "ece_if_calibrated": 0.019}
    before = {**error, "brier": 0.171, "nll": 0.352}
    after = {
        "temperature": 1.61,
        **{f"{key}_scaled": 0.3 * value for key, value in error.items()},
        "brier_scaled": 0.152,
        "nll_scaled": 0.263,
    }
    return {**before, **after, "note": "fitted by 2-fold cross-fitting", "bins": bins, "bins_scaled": scaled}


def by_length(score):
    buckets = [(1, 8, 190, 0.02), (9, 16, 260, 0.008), (17, 24, 230, -0.006), (25, 47, 192, -0.03)]
    return [
        {
            "low": low,
            "high": high,
            "unit": "words",
            "rows": rows,
            "value": score + d,
            "ci_low": score + d - 0.04,
            "ci_high": score + d + 0.035,
        }
        for low, high, rows, d in buckets
    ]


def by_class(score, labels):
    return [
        {
            "label": label,
            "rows": 872 // len(labels),
            "precision": score - 0.01,
            "recall": score + 0.01 - i % 7 / 50,
            "f1": score - i % 7 / 60,
        }
        for i, label in enumerate(labels)
    ]


def shifted(score, metrics, is_teacher):
    values = {name: {**estimate(score - 0.06, 0.03), "runs": [score - 0.06], "std": None} for name in metrics}
    return {
        "rows": 400,
        "metrics": values,
        "retention": None if is_teacher else estimate((score - 0.06) / 0.852, 0.02),
    }


def cost(speed, num_bytes, num_parameters):
    short, long = 21.4 / speed, 96.0 / speed
    latency = [(16, short), (128, long)]
    return {
        "num_parameters": num_parameters,
        "num_parameters_without_embeddings": num_parameters - 11_900_000,
        "bytes_on_disk": num_bytes,
        "flops_per_example": None if num_bytes < 20_000_000 else 2.0 * 16 * (num_parameters - 11_900_000),
        "peak_memory_bytes": 3 * num_bytes + 400_000_000,
        "latency": [
            {
                "device": "cpu",
                "tokens": tokens,
                "batch_size": 1,
                "calls": calls,
                "p50_ms": ms,
                "p95_ms": 1.3 * ms,
                "p99_ms": p99,
            }
            for tokens, calls, ms, p99 in [
                (None, 150, short, 3.1 * short),
                (16, 30, short, None),
                (128, 30, long, None),
            ]
        ],
        "throughput": [
            {"device": "cpu", "tokens": tokens, "batch_size": 32, "examples_per_second": 2400 / ms}
            for tokens, ms in latency
        ],
        "speedup": speed,
    }


def deferral(score):
    shares = [i / 20 for i in range(21)]
    points = [{"share": x, "value": score + (0.918 - score) * (1 - (1 - x) ** 4) - 0.006 * x**3} for x in shares]
    thresholds = [(0.005, 0.93, 0.18), (0.01, 0.83, 0.09), (0.02, 0.62, 0.03)]
    guarantees = [
        {"threshold": threshold, "share": share, "loss": loss, "confidence": 0.95}
        for loss, threshold, share in thresholds
    ]
    return {"points": points, **guarantees[1], "temperature": 1.0, "smallest_loss": 0.0034, "guarantees": guarantees}


def disagreements(student, labels, problem_type):
    if problem_type != "single_label_classification":
        return []
    first, last = labels[0], labels[-1]
    return [
        {
            "text": text,
            "label": None if i == 3 else first,
            "teacher": first if i % 2 == 0 else last,
            "teacher_confidence": 0.991 - 0.02 * i,
            "model": student,
            "prediction": last if i % 2 == 0 else first,
            "confidence": 0.984 - 0.03 * i,
        }
        for i, text in enumerate(TEXTS)
    ]


def hostile_report():
    """A report whose names, labels and texts all contain markup."""
    lines = {f"{name} {HOSTILE}": line for name, line in MODELS.items() if name != "teacher"}
    report = sample_report(labels=(HOSTILE, f"positive {HOSTILE}"), models={"teacher": MODELS["teacher"], **lines})
    report["task"].update(name=HOSTILE, text_columns=[HOSTILE])
    report["verdict"]["sentence"] = report["created"] = HOSTILE
    report["machine"]["cpu"] = report["machine"]["gpu"] = HOSTILE
    report["versions"] = {HOSTILE: HOSTILE}
    report["notes"] = [HOSTILE]
    report["slices"][0].update(column=HOSTILE, value=HOSTILE)
    if report["changes"]:
        report["changes"]["fixed"]["examples"][0]["text"] = HOSTILE
    report["disagreements"][0]["text"] = HOSTILE
    for model in report["models"].values():
        model["origin"] = model["format"] = model["gap_closed_note"] = HOSTILE
        model["calibration"]["note"] = HOSTILE
        if model["versus_teacher"]:
            model["versus_teacher"]["test"] = HOSTILE
        for length in model["by_length"]:
            length["unit"] = HOSTILE
    return report
