"""Test Hinton's claim on real text: a student learns more from an ensemble than from one of its teachers.

    python examples/distill_an_ensemble.py --output_dir ensemble_output

The texts and the pretrained encoder are the ones of `make demo`: 1,500 labelled and 7,400 unlabelled movie-review
sentences. The teachers are the encoder, fine-tuned several times with different seeds. Each teacher gives some of its
layers to a student. The student is trained three times from the same initial weights: on labels without a teacher, on
the outputs of its own teacher, and on the outputs of all teachers together. The table compares the mean accuracies;
the standard error is the one of a single accuracy on the test sentences. Each teacher runs once over every sentence;
all students read its outputs from a store.
"""

import argparse
import copy
from pathlib import Path
from statistics import mean

from datasets import concatenate_datasets
from demo import find_weights, has_bf16, prepare
from transformers import AutoTokenizer

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherEnsemble, create_student
from hf_distill.data import load_text_dataset, load_transfer_text
from hf_distill.pipeline import fine_tune
from hf_distill.teachers import load_teacher


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("ensemble_output"))
    parser.add_argument("--model_name_or_path", help="pretrained encoder; unset: the one of `make demo`")
    parser.add_argument("--num_teachers", type=int, default=3)
    parser.add_argument("--num_hidden_layers", type=int, default=3, help="number of layers of the students")
    parser.add_argument("--mean_of", choices=("probabilities", "logits"), default="probabilities")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="use few rows and steps, to check that the script runs")
    return parser.parse_args()


def main() -> None:
    options = parse()
    files = prepare(options.output_dir / "data")
    encoder = options.model_name_or_path or find_weights()
    tokenizer = AutoTokenizer.from_pretrained(encoder)

    task = load_text_dataset(train_file=str(files["labelled.csv"]), validation_file=str(files["test.csv"]))
    rows = task.tokenize(tokenizer, max_length=64)
    texts = load_transfer_text(str(files["unlabelled.txt"]), text_column_names=task.text_columns)
    unlabelled = task.tokenize_dataset(texts, tokenizer, max_length=64).cast(rows["train"].features)
    labelled, test = rows["train"], rows["validation"]
    if options.quick:
        labelled, unlabelled, test = (d.select(range(min(len(d), 64))) for d in (labelled, unlabelled, test))
    all_rows = concatenate_datasets([labelled, unlabelled])

    def make_args(seed: int, **settings) -> DistillationTrainingArguments:
        return DistillationTrainingArguments(
            str(options.output_dir / "runs"), seed=seed, per_device_train_batch_size=32, per_device_eval_batch_size=64,
            warmup_steps=0.1, train_sampling_strategy="group_by_length", save_strategy="no", report_to="none",
            logging_steps=100, use_cpu=True, bf16=has_bf16(),
            teacher_cache_dir=str(options.output_dir / "teacher_outputs"), **settings,
        )  # fmt: skip

    def make_trainer(student, teacher, dataset, args) -> DistillationTrainer:
        return DistillationTrainer(
            student, teacher, args, train_dataset=dataset, eval_dataset=test, processing_class=tokenizer,
            compute_metrics=task.compute_metrics,
        )  # fmt: skip

    def fine_tuned_teacher(seed: int):
        folder = options.output_dir / f"teacher_{seed}"
        if not (folder / "model.safetensors").exists():
            args = make_args(seed, learning_rate=5e-5, num_train_epochs=1 if options.quick else 4)
            fine_tune(
                encoder, task, args, folder, tokenizer=tokenizer, train_dataset=labelled, eval_dataset=test
            )  # the seed decides the new head and the order of the rows
        return load_teacher(folder)

    teachers = [fine_tuned_teacher(seed) for seed in range(options.num_teachers)]
    ensemble = TeacherEnsemble(teachers, mean_of=options.mean_of)

    # A Trainer evaluates its teacher together with its student, here before any training.
    scores: dict[str, list[float]] = {"one teacher": [], "ensemble of the teachers": []}
    for name, teacher in [*(("one teacher", t) for t in teachers), ("ensemble of the teachers", ensemble)]:
        student = create_student(teachers[0], options.num_hidden_layers)
        trainer = make_trainer(student, teacher, labelled, make_args(0, cache_teacher_outputs=True))
        scores[name].append(trainer.evaluate()["eval_teacher_accuracy"])

    num_steps = -(-len(all_rows) // 32) * (1 if options.quick else 2)
    distilling = {"temperature": options.temperature, "hard_label_weight": 0.1, "cache_teacher_outputs": True}
    for seed, own_teacher in enumerate(teachers):
        student = create_student(own_teacher, options.num_hidden_layers)
        for name, teacher, dataset, settings in (
            ("student without a teacher", None, labelled, {"objectives": {"ce": 1.0}}),
            ("student of one teacher", own_teacher, all_rows, distilling),
            ("student of the ensemble", ensemble, all_rows, distilling),
        ):
            args = make_args(seed, learning_rate=1e-4, max_steps=num_steps, **settings)
            trainer = make_trainer(copy.deepcopy(student), teacher, dataset, args)
            trainer.train()
            scores.setdefault(name, []).append(trainer.evaluate()["eval_accuracy"])

    print(f"\n{'':26}{'accuracy':>10}   for each seed")
    for name, values in scores.items():
        print(f"{name:26}{mean(values):10.1%}   {', '.join(f'{value:.1%}' for value in values)}")
    accuracy, accuracy_of_one = mean(scores["student of the ensemble"]), mean(scores["student of one teacher"])
    error = (accuracy * (1 - accuracy) / len(test)) ** 0.5
    gain = f"{accuracy - accuracy_of_one:+.1%}"
    print(f"\nStudent of the ensemble against student of one teacher: {gain}. Standard error: {error:.1%}.")


if __name__ == "__main__":
    main()
