"""Hinton's claim on real text: a small model learns more from an ensemble than from one of its teachers.

    python examples/distil_an_ensemble.py --output_dir ensemble_output

The texts and the pretrained encoder are those of `make demo`: 1,500 movie-review sentences with a label, 7,400
without. The encoder is fine-tuned several times, from different seeds: the teachers. Each gives layers of its own to a
student, which learns three times from the same initial weights: from labels alone, from its own teacher, and from all
teachers together. The table compares the means; its standard error is that of one accuracy on the test sentences.
Each teacher reads every sentence once, whoever learns from it.
"""

import argparse
import copy
from pathlib import Path
from statistics import mean

from datasets import concatenate_datasets
from demo import find_weights, has_bf16, prepare
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherEnsemble, create_student
from hf_distill.data import load_text_dataset, load_transfer_text
from hf_distill.teachers import load_teacher


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("ensemble_output"))
    parser.add_argument("--model_name_or_path", help="pretrained encoder; unset, the one of `make demo`")
    parser.add_argument("--num_teachers", type=int, default=3)
    parser.add_argument("--num_hidden_layers", type=int, default=3)
    parser.add_argument("--mean_of", choices=("probabilities", "logits"), default="probabilities")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="a few rows and steps, to see that it runs")
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
    everything = concatenate_datasets([labelled, unlabelled])

    def trainer_of(model, teacher, dataset, seed, **settings) -> DistillationTrainer:
        args = DistillationTrainingArguments(
            str(options.output_dir / "runs"), seed=seed, per_device_train_batch_size=32, per_device_eval_batch_size=64,
            warmup_steps=0.1, train_sampling_strategy="group_by_length", save_strategy="no", report_to="none",
            logging_steps=100, use_cpu=True, bf16=has_bf16(), cache_teacher_outputs=teacher is not None,
            teacher_cache_dir=str(options.output_dir / "teacher_outputs"), **settings,
        )  # fmt: skip
        return DistillationTrainer(
            model, teacher, args, train_dataset=dataset, eval_dataset=test, processing_class=tokenizer,
            compute_metrics=task.compute_metrics,
        )  # fmt: skip

    def fine_tune(seed: int):
        folder = options.output_dir / f"teacher_{seed}"
        if not (folder / "model.safetensors").exists():
            set_seed(seed)  # the head, and the order of the rows
            names = dict(enumerate(task.label_names))
            model = AutoModelForSequenceClassification.from_pretrained(
                encoder, dtype="float32", id2label=names, label2id={name: i for i, name in names.items()}
            )
            epochs = 1 if options.quick else 4
            trainer = trainer_of(
                model, None, labelled, seed, objectives={"ce": 1.0}, learning_rate=5e-5, num_train_epochs=epochs
            )
            trainer.train()
            trainer.save_model(str(folder))
        return load_teacher(folder)

    teachers = [fine_tune(seed) for seed in range(options.num_teachers)]
    ensemble = TeacherEnsemble(teachers, mean_of=options.mean_of)

    # The teachers by themselves: every Trainer evaluates its teacher beside its student.
    scores: dict[str, list[float]] = {"one teacher": [], "ensemble of the teachers": []}
    for name, given in [*(("one teacher", teacher) for teacher in teachers), ("ensemble of the teachers", ensemble)]:
        trainer = trainer_of(create_student(teachers[0], options.num_hidden_layers), given, labelled, 0)
        scores[name].append(trainer.evaluate()["eval_teacher_accuracy"])

    soft = {"temperature": options.temperature, "hard_label_weight": 0.1}
    for seed, teacher in enumerate(teachers):
        student = create_student(teacher, options.num_hidden_layers)
        steps = -(-len(everything) // 32) * (1 if options.quick else 2)
        for name, given, dataset, loss in (
            ("student of labels alone", None, labelled, {"objectives": {"ce": 1.0}}),
            ("student of one teacher", teacher, everything, soft),
            ("student of the ensemble", ensemble, everything, soft),
        ):
            trainer = trainer_of(
                copy.deepcopy(student), given, dataset, seed, learning_rate=1e-4, max_steps=steps, **loss
            )
            trainer.train()
            scores.setdefault(name, []).append(trainer.evaluate()["eval_accuracy"])

    print(f"\n{'':26}{'accuracy':>10}   of each")
    for name, values in scores.items():
        print(f"{name:26}{mean(values):10.1%}   {', '.join(f'{value:.1%}' for value in values)}")
    gain = mean(scores["student of the ensemble"]) - mean(scores["student of one teacher"])
    error = (
        mean(scores["student of the ensemble"]) * (1 - mean(scores["student of the ensemble"])) / len(test)
    ) ** 0.5
    print(f"\nThe ensemble was worth {gain:+.1%} to the student; the standard error of one accuracy is {error:.1%}.")


if __name__ == "__main__":
    main()
