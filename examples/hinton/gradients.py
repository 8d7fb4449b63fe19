"""Why soft targets are multiplied by T², and why a high T is the same as matching logits: measured gradients.

    python examples/hinton/gradients.py

Hinton, Vinyals and Dean (2015), section 2.1, https://huggingface.co/papers/1503.02531. The gradient of the soft
loss with respect to a logit of the student is, in the paper's equations,

    (2)  (q_i - p_i) / T                                exact
    (3)  ((1 + z_i/T) / (N + sum z/T) - (1 + v_i/T) / (N + sum v/T)) / T
    (4)  (z_i - v_i) / (N T²)

(3) is for a high T, and equals (4) for logits with mean zero. The script draws such logits z (student) and v
(teacher), measures the gradient by autograd, and writes how far each equation is from it, and how the size of
the gradient changes with T, without and with the factor T².
"""

import matplotlib
import torch
from common import Results, parse_options
from torch import Tensor

from hf_distill.functional import kl_divergence

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TEMPERATURES = (0.5, 1, 2, 4, 8, 16, 32, 64)
NUM_ROWS, NUM_CLASSES = 1000, 10


def draw_logits(seed: int) -> tuple[Tensor, Tensor]:
    """Return zero-mean logits of student and teacher, with the deviations 1 and 3."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (s * torch.randn(NUM_ROWS, NUM_CLASSES, generator=generator) for s in (1.0, 3.0))
    return student - student.mean(dim=1, keepdim=True), teacher - teacher.mean(dim=1, keepdim=True)


def measure(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the gradient of each row's soft loss without the factor T², by autograd."""
    student = student.clone().requires_grad_(True)
    loss = kl_divergence(student, teacher, temperature).sum() / temperature**2  # the library's loss has the factor
    return torch.autograd.grad(loss, student)[0]


def equations(z: Tensor, v: Tensor, temperature: float) -> dict[str, Tensor]:
    """Return what equations 2 to 4 say."""
    n = z.shape[1]

    def linear(x: Tensor) -> Tensor:
        return (1 + x / temperature) / (n + (x / temperature).sum(dim=1, keepdim=True))

    return {
        "2": ((z / temperature).softmax(dim=1) - (v / temperature).softmax(dim=1)) / temperature,
        "3": (linear(z) - linear(v)) / temperature,
        "4": (z - v) / (n * temperature**2),
    }


def run(temperature: float, seed: int) -> dict[str, float]:
    """Return the size of the gradient, and the relative error of each equation."""
    student, teacher = draw_logits(seed)
    gradient = measure(student, teacher, temperature)
    size = gradient.norm(dim=1).mean().item()
    row = {"temperature": temperature, "seed": seed, "size": size, "size_times_t2": size * temperature**2}
    for name, expected in equations(student, teacher, temperature).items():
        row[f"error_{name}"] = ((expected - gradient).norm() / gradient.norm()).item()
    return row


def plot(results: Results) -> None:
    """Draw sizes and errors of the first seed."""
    rows = [row for row in results.rows if row["seed"] == "0"]
    temperatures = [float(row["temperature"]) for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.loglog(temperatures, [float(row["size"]) for row in rows], "o-", label="without the factor")
    left.loglog(temperatures, [float(row["size_times_t2"]) for row in rows], "s-", label="times T²")
    left.set(xlabel="T", ylabel="size of the gradient")
    for name in ("3", "4"):
        right.loglog(temperatures, [float(row[f"error_{name}"]) for row in rows], "o-", label=f"equation {name}")
    right.set(xlabel="T", ylabel="relative error")
    left.legend()
    right.legend()
    figure.savefig(results.path.with_suffix(".png"), dpi=120)


def main() -> None:
    options = parse_options(__doc__.splitlines()[0])
    results = Results(options.output_dir / "gradients.csv", ("temperature", "seed"))
    for temperature in TEMPERATURES:
        for seed in range(options.num_seeds):
            if not results.has(temperature, seed):
                results.add(run(temperature, seed))
    plot(results)
    print("| T | size | times T² | error of (2) | of (3) | of (4) |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
    for temperature in TEMPERATURES:
        rows = [row for row in results.rows if row["temperature"] == str(temperature)]
        names = ("size", "size_times_t2", "error_2", "error_3", "error_4")
        means = [sum(float(row[name]) for row in rows) / len(rows) for name in names]
        print(f"| {temperature} | {' | '.join(f'{mean:.2g}' for mean in means)} |")


if __name__ == "__main__":
    main()
