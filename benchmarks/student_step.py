"""Measure the parts of a student's training step, and how much time frozen word embeddings save.

    python benchmarks/student_step.py [--quick]
    python benchmarks/student_step.py --metric

`--metric` measures how much accuracy frozen embeddings cost, on the demo's text with three seeds.
"""

import argparse
import copy
import statistics
import time

import torch
from step_cost import BATCH_SIZE, collate, make_models, make_rows
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from hf_distill import DistillationTrainer, DistillationTrainingArguments, create_student
from hf_distill.data import as_compute_metrics

PARTS = ("forward", "backward", "clip", "optimizer", "zero_grad")


def time_parts(freeze: bool, bf16: bool, num_steps: int) -> dict[str, float]:
    """Return the median seconds of each part of a step, without the first three steps."""
    student = copy.deepcopy(make_models()[1]).train()
    student.get_input_embeddings().requires_grad_(not freeze)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, fused=True)
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    rows = make_rows(BATCH_SIZE * num_steps).remove_columns("teacher_logits")
    for batch in DataLoader(rows, BATCH_SIZE, collate_fn=collate):
        times = [time.perf_counter()]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = student(**batch).loss
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        optimizer.zero_grad()
        times.append(time.perf_counter())
        for part, start, end in zip(PARTS, times, times[1:], strict=False):
            seconds[part].append(end - start)
    return {part: statistics.median(values[3:]) for part, values in seconds.items()}


def profile(rounds: int, num_steps: int) -> None:
    """Print the parts of a step, with trained and with frozen embeddings in turn."""
    student = make_models()[1]
    num_embeddings, num_parameters = student.get_input_embeddings().weight.numel(), student.num_parameters()
    print(f"{num_embeddings / 1e6:.1f}M of the student's {num_parameters / 1e6:.1f}M parameters are word embeddings\n")
    print(f"{'ms per step':30}" + "".join(f"{part:>11}" for part in PARTS) + f"{'total':>9}  / trained")
    for bf16 in (False, True):
        by_freeze: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(rounds):
            for freeze in by_freeze:
                by_freeze[freeze].append(time_parts(freeze, bf16, num_steps))
        totals = {freeze: [sum(parts.values()) for parts in runs] for freeze, runs in by_freeze.items()}
        for freeze, runs in by_freeze.items():
            name = f"{'bfloat16' if bf16 else 'float32'}, embeddings {'frozen' if freeze else 'trained'}"
            medians = [1000 * statistics.median(parts[part] for parts in runs) for part in PARTS]
            ratio = statistics.median(a / b for a, b in zip(totals[freeze], totals[False], strict=True))
            print(f"{name:30}" + "".join(f"{m:11.1f}" for m in medians) + f"{sum(medians):9.1f}  {ratio:.2f}")


def measure_metric(num_rows: int, num_test: int, seeds: int) -> None:
    """Distill on real sentences with trained and with frozen word embeddings; print accuracies and times."""
    import material

    teacher_sentences, sentences = material.read_sentences()
    folder = material.make_teacher(material.find_minilm(), material.WORK / "teacher", teacher_sentences)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, test = (material.tokenize(part, tokenizer) for part in (sentences[:num_rows], sentences[-num_test:]))
    accuracy = as_compute_metrics("accuracy", "single_label_classification")
    by_freeze: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(seeds):
        for freeze, accuracies in by_freeze.items():
            args = DistillationTrainingArguments(
                str(material.WORK / "student_step"), seed=seed, temperature=2.0, hard_label_weight=0.0,
                learning_rate=1e-4, num_train_epochs=2, per_device_train_batch_size=32, per_device_eval_batch_size=64,
                cache_teacher_outputs=True, teacher_cache_dir=str(material.WORK / "teacher_outputs"), bf16=True,
                use_cpu=True, save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
            )  # fmt: skip
            student = create_student(folder, num_hidden_layers=2, freeze_embeddings=freeze)
            trainer = DistillationTrainer(
                student, str(folder), args, train_dataset=rows.remove_columns("labels"), eval_dataset=test,
                processing_class=tokenizer, compute_metrics=accuracy,
            )  # fmt: skip
            start = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - start
            metrics = trainer.evaluate()
            accuracies.append(metrics["eval_accuracy"])
            kind, agreement = "frozen " if freeze else "trained", metrics["eval_agreement"]
            teacher = metrics["eval_teacher_accuracy"]
            print(f"seed {seed}, {kind}: accuracy {accuracies[-1]:.4f}, agreement {agreement:.4f}, {seconds:.0f} s")
    print(f"teacher: accuracy {teacher:.4f} on {num_test:,} sentences")
    differences = [b - a for a, b in zip(*by_freeze.values(), strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5 if seeds > 1 else float("nan")
    print(f"frozen - trained: {statistics.mean(differences):+.4f}, standard error over seeds {error:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--metric", action="store_true")
    options = parser.parse_args()
    if options.metric:
        measure_metric(*(320, 160, 1) if options.quick else (3000, 1500, 3))
    else:
        profile(*(2, 13) if options.quick else (7, 23))


if __name__ == "__main__":
    main()
