"""Compare one optimizer step of every contender with a reference, to check that it optimizes the stated loss."""

from dataclasses import replace
from pathlib import Path
from textwrap import shorten

import material
import torch
from contenders.job import Job
from contenders.processes import CONTENDERS, Contender, flatten, read_result, read_weights, run
from safetensors.torch import load_file
from tables import Row
from torch import Tensor

CHECK_ROWS, CHECK_RATE = 16, 64.0  # with such a large rate, the rounding of the weights does not matter


def one_step(job: Job, rows: str) -> Job:
    """Return a job of one step, from whose result the gradient can be computed."""
    return replace(
        job,
        rows=rows,
        num_epochs=1,
        batch_size=CHECK_ROWS,
        learning_rate=CHECK_RATE,
        max_grad_norm=0.0,
        is_check=True,
    )


def reference(job: Job, hard: float, soft: float) -> tuple[float, Tensor]:
    """Return hard * CE + soft * KL on the job's rows and its gradient, computed by hand in float64."""
    student, teacher = (model.double() for model in job.load_models())
    batch = job.collate()(list(job.load_rows()))
    labels = batch.pop("labels")
    logits = student(**batch).logits
    with torch.no_grad():
        teacher_logits = teacher(**batch).logits
    p_student, p_teacher = (torch.exp(z / job.temperature) for z in (logits, teacher_logits))
    p_student, p_teacher = (p / p.sum(dim=-1, keepdim=True) for p in (p_student, p_teacher))
    kl = (p_teacher * torch.log(p_teacher / p_student)).sum(dim=-1)
    probabilities = torch.exp(logits) / torch.exp(logits).sum(dim=-1, keepdim=True)
    ce = -torch.log(probabilities[torch.arange(len(labels)), labels])
    loss = (hard * ce + soft * kl).mean()
    loss.backward()
    return loss.item(), flatten({name: p.grad for name, p in student.named_parameters()})


def stated_weights(job: Job, contender: Contender) -> tuple[float, float]:
    """Return the weights of CE and KL that a contender is asked to use."""
    return (job.alpha, (1 - job.alpha) * job.temperature**2) if contender.learns_from_teacher else (1.0, 0.0)


def check(contender: Contender, job: Job) -> Row:
    """Compare one step of a contender with the reference, and with its steps in 4 micro-batches and in 2 processes."""
    folder = material.WORK / "checks" / contender.script
    one_batch = replace(job, folder=str(folder / "1x16"))
    accumulated = replace(job, folder=str(folder / "4x4"), batch_size=job.batch_size // 4, accumulation_steps=4)
    shared = replace(job, folder=str(folder / "2_processes"), batch_size=job.batch_size // 2)
    run(contender, [one_batch, accumulated], OMP_NUM_THREADS="1")
    run(contender, [shared], num_processes=2, OMP_NUM_THREADS="1")

    start = flatten(load_file(Path(job.student, "model.safetensors")))
    results = [read_result(each) for each in (one_batch, accumulated, shared)]
    row: Row = {"contender": contender.name}
    if "error" in results[0]:
        return row | {"error": results[0]["error"]}
    loss, expected_gradient = reference(job, *stated_weights(job, contender))
    gradient = (start - read_weights(one_batch)) / job.learning_rate
    row["gradient error"] = ((gradient - expected_gradient).norm() / expected_gradient.norm()).item()
    row["loss error"] = results[0]["first_loss"] / loss - 1
    for name, each, result in (("4 steps", accumulated, results[1]), ("2 processes", shared, results[2])):
        if "error" in result:
            row[f"{name} error"] = result["error"]
            continue
        split_gradient = (start - read_weights(each)) / job.learning_rate
        row[f"{name} ratio"] = (split_gradient.norm() / gradient.norm()).item()
        row[f"{name} cosine"] = (split_gradient @ gradient / split_gradient.norm() / gradient.norm()).item()
    if "error" not in results[2]:
        ranks = [read_weights(shared, rank) for rank in (0, 1)]
        row["ranks differ by"] = ((ranks[0] - ranks[1]).norm() / (ranks[0] - start).norm()).item()
    return row


def view(row: Row) -> Row:
    """Return the columns of a check that the report shows."""

    def split(name: str) -> str:
        if f"{name} ratio" not in row:
            return shorten(f"n/a: {row.get(f'{name} error', '')}", 100) if "error" not in row else ""
        cosine = row[f"{name} cosine"]
        direction = "" if cosine > 0.9999 else f", other direction (cosine {cosine:.3f})"
        drift = ", processes drift apart" if name == "2 processes" and row["ranks differ by"] > 1e-4 else ""
        return f"{row[f'{name} ratio']:.3f}{direction}{drift}"

    return {
        "contender": row["contender"],
        "gradient, relative error": row.get("gradient error"),
        "logged loss, relative error": row.get("loss error"),
        "gradient, 4 accumulation steps / 1": split("4 steps"),
        "gradient, 2 processes / 1": split("2 processes"),
        "error": row.get("error"),
    }


def describe_checks(job: Job) -> str:
    """Describe what the checks compare, and which gradient error a wrong loss has."""
    hard, soft = stated_weights(job, CONTENDERS[1])
    loss, gradient = reference(job, hard, soft)
    _, gradient_without = reference(job, hard, 1 - job.alpha)
    error_without = ((gradient_without - gradient).norm() / gradient.norm()).item()
    return (
        f"One step of plain SGD on {CHECK_ROWS} rows, without dropout; the gradient is (before - after) / learning "
        f"rate. The reference is written by hand in float64: its loss is {loss:.4f}. A loss without T² would have a "
        f"gradient error of {error_without:.2f}. Then the same rows are split into 4 accumulated batches of 4 "
        "rows, and over 2 processes with 8 rows each: both ratios of norms should be 1."
    )
