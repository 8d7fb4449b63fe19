"""A class that the student never sees: recall with hard and with soft targets, and with its bias adjusted.

    python examples/hinton/omitted_class.py

Hinton, Vinyals and Dean (2015), section 3, https://huggingface.co/papers/1503.02531: a student whose transfer
set has no 3 learns what a 3 is from the teacher's probabilities of 3 for other digits. Its bias for the 3 is
too low, and raising the bias repairs most of what is left. Here with scikit-learn's digits. The bias is raised
by the value from 0 to 10 with the best accuracy on all training digits, of which the 3s are new to the student.
"""

import statistics

import matplotlib
import torch
from common import (
    Results,
    make_network,
    parse_options,
    predict,
    results_path,
    train_on_labels,
    train_on_logits,
    train_teacher,
)
from tasks import Task, load_task
from torch import nn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OMITTED_CLASSES = {"digits": "3", "banking77": "card_arrival"}
TEMPERATURES = (1, 2, 4, 8, 16)
BIASES = [step / 4 for step in range(41)]


def best_bias(network: nn.Sequential, task: Task, omitted: int) -> float:
    """Return what to add to the bias of the omitted class for the best accuracy on the training rows."""
    logits = predict(network, task.train_inputs)
    one_hot = nn.functional.one_hot(torch.tensor(omitted), logits.shape[1])
    right = [((logits + bias * one_hot).argmax(dim=1) == task.train_labels).sum().item() for bias in BIASES]
    return BIASES[right.index(max(right))]


def evaluate(network: nn.Module, task: Task, omitted: int) -> dict[str, float]:
    """Return the recall of the omitted class and the accuracy on the test rows."""
    is_right = predict(network, task.test_inputs).argmax(dim=1) == task.test_labels
    return {
        "recall": is_right[task.test_labels == omitted].float().mean().item(),
        "accuracy": is_right.float().mean().item(),
    }


def run(targets: str, temperature: float, seed: int, task: Task, omitted: int) -> dict[str, object]:
    """Train a teacher on all rows and a student on the other classes, and evaluate the student before and after."""
    teacher = train_teacher(task, seed)
    kept = task.train_labels != omitted
    inputs, student = task.train_inputs[kept], make_network(task, 64)
    if targets == "hard":
        train_on_labels(student, inputs, task.train_labels[kept])
    else:
        train_on_logits(student, inputs, predict(teacher, inputs), temperature)
    row: dict[str, object] = {"targets": targets, "temperature": temperature, "seed": seed}
    row |= evaluate(student, task, omitted)
    bias = best_bias(student, task, omitted)
    with torch.no_grad():
        student[-1].bias[omitted] += bias
    row |= {"bias": bias, **{f"{name}_adjusted": value for name, value in evaluate(student, task, omitted).items()}}
    return row | {"teacher_recall": evaluate(teacher, task, omitted)["recall"]}


def plot(results: Results, means: dict[tuple[str, str], dict[str, float]], omitted_class: str) -> None:
    """Draw the recall against the temperature."""
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for name, label in (("recall", "soft targets"), ("recall_adjusted", "soft targets, bias adjusted")):
        axes.semilogx(TEMPERATURES, [100 * means["soft", str(t)][name] for t in TEMPERATURES], "o-", label=label)
        axes.axhline(100 * means["hard", "1"][name], linestyle=":", color="grey")
    axes.set(xlabel="T", ylabel=f"recall of {omitted_class}, %", title="dotted: hard targets, before and after")
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


def main() -> None:
    options = parse_options(__doc__.splitlines()[0], ("digits", "banking77"))
    omitted_class = OMITTED_CLASSES[options.task]
    results = Results(results_path(options, "omitted_class"), ("targets", "temperature", "seed"))
    settings = [("hard", 1), *(("soft", temperature) for temperature in TEMPERATURES)]
    for targets, temperature in settings:
        for seed in range(options.num_seeds):
            if not results.has(targets, temperature, seed):
                task = load_task(options.task, options.data_dir)
                results.add(run(targets, temperature, seed, task, task.class_names.index(omitted_class)))
    names = ("recall", "accuracy", "bias", "recall_adjusted", "accuracy_adjusted", "teacher_recall")
    means: dict[tuple[str, str], dict[str, float]] = {}
    print("| targets | T | recall | accuracy | bias | recall, adjusted | accuracy, adjusted |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for targets, temperature in settings:
        key = {"targets": targets, "temperature": temperature}
        mean = {name: statistics.mean(results.column(name, **key)) for name in names}
        means[targets, str(temperature)] = mean
        recall, accuracy, recall_adjusted, accuracy_adjusted = (
            f"{100 * mean[name]:.1f}" for name in ("recall", "accuracy", "recall_adjusted", "accuracy_adjusted")
        )
        cells = [targets, temperature, recall, accuracy, f"{mean['bias']:.1f}", recall_adjusted, accuracy_adjusted]
        print(f"| {' | '.join(map(str, cells))} |")
    plot(results, means, omitted_class)


if __name__ == "__main__":
    main()
