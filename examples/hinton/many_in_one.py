"""Many models in one: how much of an ensemble's gain over one model a single student keeps.

    python examples/hinton/many_in_one.py

Hinton, Vinyals and Dean (2015), section 4 and table 1, https://huggingface.co/papers/1503.02531: a speech model
has an accuracy of 58.9 %, an ensemble of 10 such models 61.1 %, and a model of the same size that learns from
the ensemble 60.8 %, which is 86 % of the gain. Here with scikit-learn's digits under noise and networks of 8
and 16 units: with 64 units, ten networks gained less than a point over one. The members of an ensemble differ
by their initial weights and batches ("seeds"), or also by their digits ("bags": each draws as many digits as
there are, with replacement). All students have the size of a member. For comparison, one learns from one member.
"""

import statistics

import matplotlib
import torch
from common import Results, accuracy, make_network, parse_options, predict, train_on_labels, train_on_logits
from tasks import Task, add_noise, load_task
from torch import Tensor, nn

from hf_distill.functional import mean_of_softmax

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NUM_MEMBERS = 10
SETTINGS = ((16, "seeds"), (16, "bags"), (8, "seeds"))  # units, and what members differ by
NOISE = 0.2
TEMPERATURES = (1, 2, 4)
MODELS = ("member", "student_of_member", *(f"student_{temperature}" for temperature in TEMPERATURES), "ensemble")


def train_member(num_units: int, ensemble: str, task: Task) -> nn.Sequential:
    """Return a network that was trained on all rows, or on a bag of them."""
    num_rows = len(task.train_labels)
    rows = torch.arange(num_rows) if ensemble == "seeds" else torch.randint(num_rows, (num_rows,))
    return train_on_labels(make_network(task, num_units), task.train_inputs[rows], task.train_labels[rows])


def ensemble_logits(members: list[nn.Sequential], inputs: Tensor) -> Tensor:
    """Return the logarithm of the mean of the members' probabilities."""
    logits = torch.stack([predict(member, inputs) for member in members])
    return mean_of_softmax(logits, torch.full((len(members),), 1 / len(members)))


def run(num_units: int, ensemble: str, seed: int, digits: Task) -> dict[str, object]:
    """Train an ensemble and its students, and return the accuracies; for the members, their mean accuracy."""

    def score(logits: Tensor) -> float:
        return accuracy(logits, task.test_labels)

    def score_student(teachers: list[nn.Sequential], temperature: float) -> float:
        targets = ensemble_logits(teachers, task.train_inputs)
        student = train_on_logits(make_network(task, num_units), task.train_inputs, targets, temperature)
        return score(predict(student, task.test_inputs))

    torch.manual_seed(seed)
    task = add_noise(digits, NOISE)
    members = [train_member(num_units, ensemble, task) for _ in range(NUM_MEMBERS)]
    return {
        "num_units": num_units,
        "ensemble_kind": ensemble,
        "seed": seed,
        "member": statistics.mean(score(predict(member, task.test_inputs)) for member in members),
        "student_of_member": score_student(members[:1], 1),
        **{f"student_{temperature}": score_student(members, temperature) for temperature in TEMPERATURES},
        "ensemble": score(ensemble_logits(members, task.test_inputs)),
    }


def plot(results: Results, means: dict[tuple[int, str], dict[str, float]]) -> None:
    """Draw the accuracies as bars."""
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    width = 0.8 / len(means)
    for number, ((num_units, ensemble), scores) in enumerate(means.items()):
        places = [place + width * number for place in range(len(MODELS))]
        axes.bar(places, scores.values(), width, label=f"{num_units} units, {ensemble}")
    labels = [name.replace("student_of_", "student of\n").replace("student_", "student\nT = ") for name in MODELS]
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(MODELS))], labels)
    low, high = (edge(score for scores in means.values() for score in scores.values()) for edge in (min, max))
    axes.set(ylabel="test accuracy, %", ylim=(low - 2, high + 2))
    axes.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


def main() -> None:
    options = parse_options(__doc__.splitlines()[0])
    results = Results(options.output_dir / "many_in_one.csv", ("num_units", "ensemble_kind", "seed"))
    means: dict[tuple[int, str], dict[str, float]] = {}
    students = " | ".join(f"student, T = {temperature}" for temperature in TEMPERATURES)
    print(f"| units | members differ by | one member | its student, T = 1 | {students} | ensemble |")
    print(f"| ---: | --- |{' ---: |' * len(MODELS)}")
    for num_units, ensemble in SETTINGS:
        for seed in range(options.num_seeds):
            if not results.has(num_units, ensemble, seed):
                results.add(run(num_units, ensemble, seed, load_task("digits", None)))
        key = {"num_units": num_units, "ensemble_kind": ensemble}
        scores = {name: 100 * statistics.mean(results.column(name, **key)) for name in MODELS}
        means[num_units, ensemble] = scores
        # A member of a bagged ensemble saw fewer digits than a student: the gain is over a network that saw them all.
        single = means[num_units, "seeds"]["member"]
        kept = {name: (scores[name] - single) / (scores["ensemble"] - single) for name in MODELS[2:-1]}
        cells = [f"{scores[name]:.1f}" + (f" ({kept[name]:.0%})" if name in kept else "") for name in MODELS]
        print(f"| {num_units} | {ensemble} | {' | '.join(cells)} |")
    plot(results, means)


if __name__ == "__main__":
    main()
