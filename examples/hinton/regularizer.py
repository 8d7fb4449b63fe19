"""Soft targets as regularizers: few digits with hard and with soft targets.

    python examples/hinton/regularizer.py

Hinton, Vinyals and Dean (2015), section 6 and table 5, https://huggingface.co/papers/1503.02531: with 3 % of
the data, a network overfits hard targets, and with the soft targets of a model that saw all data it learns
almost as much as that model. Here with scikit-learn's digits: the same network, the same digits and the same
steps, with labels, and with the probabilities of a teacher that was trained on all training digits.
"""

import matplotlib
import torch
from common import Digits, Results, answers, make_loss, make_network, parse_options, train, train_teacher

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHARES = (0.03, 0.1, 1.0)
TEMPERATURE = 4.0


def run(targets: str, share: float, seed: int, digits: Digits) -> dict[str, object]:
    """Train a student on a share of the digits, and return its accuracies."""
    torch.manual_seed(seed)
    teacher = train_teacher(digits)
    chosen = torch.randperm(len(digits.train_labels))[: round(share * len(digits.train_labels))]
    pixels, labels = digits.train_pixels[chosen], digits.train_labels[chosen]
    loss = make_loss(targets, labels, teacher, pixels, TEMPERATURE)
    student = train(make_network(512, 2), pixels, loss)
    return {
        "targets": targets,
        "share": share,
        "seed": seed,
        "train_accuracy": (answers(student, pixels) == labels).float().mean().item(),
        "test_accuracy": (answers(student, digits.test_pixels) == digits.test_labels).float().mean().item(),
        "teacher_accuracy": (answers(teacher, digits.test_pixels) == digits.test_labels).float().mean().item(),
    }


def main() -> None:
    options = parse_options(__doc__.splitlines()[0])
    results = Results(options.output_dir / "regularizer.csv", ("targets", "share", "seed"))
    digits = Digits()
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    print("| share of the digits | targets | training accuracy | test accuracy | of the seeds |")
    print("| ---: | --- | ---: | ---: | --- |")
    means: dict[str, list[float]] = {"hard": [], "soft": []}
    for share in SHARES:
        for targets in ("hard", "soft"):
            for seed in range(options.num_seeds):
                if not results.has(targets, share, seed):
                    results.add(run(targets, share, seed, digits))
            rows = [row for row in results.rows if (row["targets"], row["share"]) == (targets, str(share))]
            train_mean, test_mean = (
                100 * sum(float(row[f"{split}_accuracy"]) for row in rows) / len(rows) for split in ("train", "test")
            )
            seeds = ", ".join(f"{100 * float(row['test_accuracy']):.1f}" for row in rows)
            print(f"| {share:.0%} | {targets} | {train_mean:.1f} | {test_mean:.1f} | {seeds} |")
            means[targets].append(test_mean)
    for targets, values in means.items():
        axes.semilogx([100 * share for share in SHARES], values, "o-", label=f"{targets} targets")
    axes.set(xlabel="share of the training digits, %", ylabel="test accuracy, %")
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
