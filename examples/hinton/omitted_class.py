"""A class that the student never sees: recall with hard and with soft targets, and with its bias adjusted.

    python examples/hinton/omitted_class.py

Hinton, Vinyals and Dean (2015), section 3, https://huggingface.co/papers/1503.02531: a student whose transfer
set has no 3 learns what a 3 is from the teacher's probabilities of 3 for other digits. Its bias for the 3 is
too low, and raising the bias repairs most of what is left. Here with scikit-learn's digits. The bias is raised
by the value from 0 to 10 with the best accuracy on all training digits, of which the 3s are new to the student.
"""

import matplotlib
import torch
from common import Digits, Results, answers, make_loss, make_network, parse_options, train, train_teacher
from torch import nn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OMITTED = 3
TEMPERATURES = (1, 2, 4, 8, 16)
BIASES = [step / 4 for step in range(41)]


@torch.no_grad()
def best_bias(network: nn.Sequential, digits: Digits) -> float:
    """Return what to add to the bias of the omitted class for the best accuracy on the training digits."""
    logits = network(digits.train_pixels)
    one_hot = nn.functional.one_hot(torch.tensor(OMITTED), logits.shape[1])
    right = [((logits + bias * one_hot).argmax(dim=1) == digits.train_labels).sum().item() for bias in BIASES]
    return BIASES[right.index(max(right))]


def evaluate(network: nn.Module, digits: Digits) -> dict[str, float]:
    """Return the recall of the omitted class and the accuracy on the test digits."""
    is_right = answers(network, digits.test_pixels) == digits.test_labels
    return {
        "recall": is_right[digits.test_labels == OMITTED].float().mean().item(),
        "accuracy": is_right.float().mean().item(),
    }


def run(targets: str, temperature: float, seed: int, digits: Digits) -> dict[str, object]:
    """Train a teacher on all digits and a student on the others, and evaluate the student before and after."""
    torch.manual_seed(seed)
    teacher = train_teacher(digits)
    kept = digits.train_labels != OMITTED
    pixels, labels = digits.train_pixels[kept], digits.train_labels[kept]
    loss = make_loss(targets, labels, teacher, pixels, temperature)
    student = train(make_network(64), pixels, loss)
    row: dict[str, object] = {"targets": targets, "temperature": temperature, "seed": seed}
    row |= evaluate(student, digits)
    bias = best_bias(student, digits)
    with torch.no_grad():
        student[-1].bias[OMITTED] += bias
    row |= {"bias": bias, **{f"{name}_adjusted": value for name, value in evaluate(student, digits).items()}}
    return row | {"teacher_recall": evaluate(teacher, digits)["recall"]}


def plot(results: Results, means: dict[tuple[str, str], dict[str, float]]) -> None:
    """Draw the recall against the temperature."""
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for name, label in (("recall", "soft targets"), ("recall_adjusted", "soft targets, bias adjusted")):
        axes.semilogx(TEMPERATURES, [100 * means["soft", str(t)][name] for t in TEMPERATURES], "o-", label=label)
        axes.axhline(100 * means["hard", "1"][name], linestyle=":", color="grey")
    axes.set(xlabel="T", ylabel=f"recall of the {OMITTED}, %", title="dotted: hard targets, before and after")
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


def main() -> None:
    options = parse_options(__doc__.splitlines()[0])
    results = Results(options.output_dir / "omitted_class.csv", ("targets", "temperature", "seed"))
    digits = Digits()
    settings = [("hard", 1), *(("soft", temperature) for temperature in TEMPERATURES)]
    for targets, temperature in settings:
        for seed in range(options.num_seeds):
            if not results.has(targets, temperature, seed):
                results.add(run(targets, temperature, seed, digits))
    names = ("recall", "accuracy", "bias", "recall_adjusted", "accuracy_adjusted", "teacher_recall")
    means: dict[tuple[str, str], dict[str, float]] = {}
    print("| targets | T | recall | accuracy | bias | recall, adjusted | accuracy, adjusted |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for targets, temperature in settings:
        key = (targets, str(temperature))
        rows = [row for row in results.rows if (row["targets"], row["temperature"]) == key]
        mean = {name: sum(float(row[name]) for row in rows) / len(rows) for name in names}
        means[key] = mean
        recall, accuracy, recall_adjusted, accuracy_adjusted = (
            f"{100 * mean[name]:.1f}" for name in ("recall", "accuracy", "recall_adjusted", "accuracy_adjusted")
        )
        cells = [targets, temperature, recall, accuracy, f"{mean['bias']:.1f}", recall_adjusted, accuracy_adjusted]
        print(f"| {' | '.join(map(str, cells))} |")
    plot(results, means)


if __name__ == "__main__":
    main()
