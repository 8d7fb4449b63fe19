"""Measure how much faster a bfloat16 teacher is, and how much it changes the student's gradient.

    python benchmarks/teacher_precision.py [--quick]

The teacher is a fine-tuned MiniLM. The student has 2 of its layers and computes in float32. The sentences are real.
Only the teacher's precision differs between the two gradients.
"""

import argparse
import statistics
import time

import material
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, PreTrainedModel

from hf_distill.functional import kl_divergence
from hf_distill.teachers import Teacher

Batch = dict[str, Tensor]


def time_forward(teacher: Teacher, batches: list[Batch]) -> float:
    """Return the seconds that the teacher takes for the batches."""
    start = time.perf_counter()
    for batch in batches:
        teacher(batch)
    return time.perf_counter() - start


def gradient(student: PreTrainedModel, teacher: Teacher, batches: list[Batch], temperature: float) -> Tensor:
    """Return the gradient of the mean soft loss over the batches as one vector."""
    student.zero_grad()
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        loss = kl_divergence(student(**inputs).logits, teacher(batch).logits, temperature).mean() / len(batches)
        loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds, num_rows = (3, 96) if options.quick else (9, 320)
    teacher_sentences, sentences = material.read_sentences()
    folder = material.make_teacher(material.find_minilm(), material.WORK / "teacher", teacher_sentences)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = material.tokenize(sentences[:num_rows], tokenizer)
    batches = list(DataLoader(rows, 32, collate_fn=DataCollatorWithPadding(tokenizer)))
    device = torch.device("cpu")
    teachers = {
        dtype: Teacher(AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32), device, dtype)
        for dtype in ("float32", "bfloat16")
    }
    seconds: dict[str, list[float]] = {dtype: [] for dtype in teachers}
    for _ in range(rounds):
        for dtype, teacher in teachers.items():
            seconds[dtype].append(time_forward(teacher, batches))
    ratios = [a / b for a, b in zip(seconds["float32"], seconds["bfloat16"], strict=True)]
    print(
        f"forward: bfloat16 is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    student = AutoModelForSequenceClassification.from_pretrained(
        material.make_student(folder, material.WORK / "student")
    )
    for temperature in (1.0, 2.0, 4.0):
        float32, bfloat16 = (gradient(student.eval(), teacher, batches, temperature) for teacher in teachers.values())
        error = ((bfloat16 - float32).norm() / float32.norm()).item()
        print(f"gradient at temperature {temperature:g}: relative difference {error:.1e}")


if __name__ == "__main__":
    main()
