"""The best temperature against the student's size.

    python examples/hinton/temperature.py

Hinton, Vinyals and Dean (2015), section 3, https://huggingface.co/papers/1503.02531: students with 300 or more
units in each of two layers learn equally well at any temperature above 8; with 30 units, temperatures from 2.5
to 4 work better than higher and lower ones. Here with scikit-learn's digits and students of two layers of
8 to 300 units, which see the soft targets of a teacher with two layers of 512, and no labels.
"""

import statistics

import matplotlib
import torch
from common import (
    Results,
    accuracy,
    format_gain,
    make_network,
    parse_options,
    predict,
    train_on_labels,
    train_on_logits,
    train_teacher,
)
from tasks import load_task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIZES = (8, 16, 30, 300)
TEMPERATURES = (1, 2, 4, 8, 16)


def run(size: int, targets: str, temperature: float, seed: int) -> dict[str, object]:
    """Train a student, and return its accuracy on the test digits."""
    task = load_task("digits", None)
    teacher = train_teacher(task, seed)
    torch.manual_seed(seed)
    student = make_network(task, size, 2)
    if targets == "hard":
        train_on_labels(student, task.train_inputs, task.train_labels)
    else:
        train_on_logits(student, task.train_inputs, predict(teacher, task.train_inputs), temperature)
    score = accuracy(predict(student, task.test_inputs), task.test_labels)
    return {"size": size, "targets": targets, "temperature": temperature, "seed": seed, "accuracy": score}


def compare_temperatures(results: Results, size: int, temperature: float, other_temperature: float) -> str:
    """Return by how many points the first temperature is better."""
    scores, other_scores = (
        results.column("accuracy", size=size, targets="soft", temperature=value)
        for value in (temperature, other_temperature)
    )
    return format_gain(scores, other_scores)


def main() -> None:
    options = parse_options(__doc__.splitlines()[0])
    results = Results(options.output_dir / "temperature.csv", ("size", "targets", "temperature", "seed"))
    settings = [("hard", 1), *(("soft", temperature) for temperature in TEMPERATURES)]
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    print(f"| units | hard | {' | '.join(f'T = {t}' for t in TEMPERATURES)} | 4 over 1 | 4 over 16 |")
    print(f"| ---: |{' ---: |' * (len(settings) + 2)}")
    for size in SIZES:
        for targets, temperature in settings:
            for seed in range(options.num_seeds):
                if not results.has(size, targets, temperature, seed):
                    results.add(run(size, targets, temperature, seed))
        means = [
            100 * statistics.mean(results.column("accuracy", size=size, targets=targets, temperature=temperature))
            for targets, temperature in settings
        ]
        gains = [compare_temperatures(results, size, 4, other) for other in (1, 16)]
        print(f"| {size} | {' | '.join([*(f'{mean:.1f}' for mean in means), *gains])} |")
        axes.semilogx(TEMPERATURES, means[1:], "o-", label=f"{size} units")
    axes.set(xlabel="T", ylabel="test accuracy, %")
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
