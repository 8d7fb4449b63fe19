"""Soft targets as regularizers: few digits with hard and with soft targets.

    python examples/hinton/regularizer.py

Hinton, Vinyals and Dean (2015), section 6 and table 5, https://huggingface.co/papers/1503.02531: with 3 % of
the data, a network overfits hard targets, and with the soft targets of a model that saw all data it learns
almost as much as that model. Here with scikit-learn's digits: the same network, the same digits and the same
steps, with labels, and with the probabilities of a teacher that was trained on all training digits.
"""

import statistics

import matplotlib
import torch
from common import (
    Results,
    accuracy,
    make_network,
    parse_options,
    predict,
    results_path,
    train_on_labels,
    train_on_logits,
    train_teacher,
)
from tasks import Task, load_task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHARES = (0.03, 0.1, 1.0)
TEMPERATURE = 4.0


def run(targets: str, share: float, seed: int, task: Task) -> dict[str, object]:
    """Train a student on a share of the training rows, and return its accuracies."""
    teacher = train_teacher(task, seed)
    chosen = torch.randperm(len(task.train_labels))[: round(share * len(task.train_labels))]
    inputs, labels = task.train_inputs[chosen], task.train_labels[chosen]
    student = make_network(task, 512, 2)
    if targets == "hard":
        train_on_labels(student, inputs, labels)
    else:
        train_on_logits(student, inputs, predict(teacher, inputs), TEMPERATURE)
    return {
        "targets": targets,
        "share": share,
        "seed": seed,
        "train_accuracy": accuracy(predict(student, inputs), labels),
        "test_accuracy": accuracy(predict(student, task.test_inputs), task.test_labels),
        "teacher_accuracy": accuracy(predict(teacher, task.test_inputs), task.test_labels),
    }


def main() -> None:
    options = parse_options(__doc__.splitlines()[0], ("digits", "banking77"))
    results = Results(results_path(options, "regularizer"), ("targets", "share", "seed"))
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    print("| share of the rows | targets | training accuracy | test accuracy | of the seeds |")
    print("| ---: | --- | ---: | ---: | --- |")
    means: dict[str, list[float]] = {"hard": [], "soft": []}
    for share in SHARES:
        for targets in ("hard", "soft"):
            for seed in range(options.num_seeds):
                if not results.has(targets, share, seed):
                    results.add(run(targets, share, seed, load_task(options.task, options.data_dir)))
            train_scores, test_scores = (
                results.column(f"{split}_accuracy", targets=targets, share=share) for split in ("train", "test")
            )
            train_mean, test_mean = 100 * statistics.mean(train_scores), 100 * statistics.mean(test_scores)
            seeds = ", ".join(f"{100 * score:.1f}" for score in test_scores)
            print(f"| {share:.0%} | {targets} | {train_mean:.1f} | {test_mean:.1f} | {seeds} |")
            means[targets].append(test_mean)
    for targets, values in means.items():
        axes.semilogx([100 * share for share in SHARES], values, "o-", label=f"{targets} targets")
    axes.set(xlabel="share of the training rows, %", ylabel="test accuracy, %")
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
