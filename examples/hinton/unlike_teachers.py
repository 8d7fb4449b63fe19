"""Many models in one, with transformers: a student of two teachers of different origin.

    python examples/hinton/unlike_teachers.py --data_dir BANKING77 --bf16

Hinton, Vinyals and Dean (2015), section 4, https://huggingface.co/papers/1503.02531. `BANKING77` is the folder with
`train.csv` and `test.csv` of https://github.com/PolyAI-LDN/task-specific-datasets. For each seed, 1,000 labelled
texts are drawn, on which a MiniLM of 6 layers and an MPNet of 12 layers are fine-tuned. The students have two layers
of this MiniLM. They learn from the labels alone, or also from all other training texts without their labels: from
each of the teachers, or from the mean of their probabilities. Each teacher reads each text once.
"""

import argparse
import copy
import math
import os
import statistics
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from common import Results, format_gain
from datasets import Dataset, concatenate_datasets
from transformers import AutoTokenizer, PreTrainedModel, PrinterCallback, set_seed

from hf_distill import DistillationTrainer, DistillationTrainingArguments, TeacherEnsemble, create_student
from hf_distill.data import drop_near_duplicates, load_text_dataset
from hf_distill.pipeline import fine_tune
from hf_distill.teachers import load_teacher

MAX_LENGTH = 64
NUM_STEPS = 1000
NUM_QUICK_ROWS = 8
# Name -> epochs and learning rate of the fine-tuning.
TEACHERS = {"MiniLM": (20, 3e-4), "MPNet": (15, 2e-4)}
STUDENTS = {"no teacher": (), "MiniLM": ("MiniLM",), "MPNet": ("MPNet",), "both": ("MiniLM", "MPNet")}


class Bench:
    """The rows, teachers and students of one seed.

    Args:
        options: The flags.
        seed: Seed of the labelled rows, of the fine-tunings and of the students.
    """

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self.options, self.seed, self.folder = options, seed, options.work_dir / str(seed)
        self.encoders = {"MiniLM": options.encoder, "MPNet": options.second_encoder}
        self.tokenizers = {name: AutoTokenizer.from_pretrained(encoder) for name, encoder in self.encoders.items()}
        self.task = load_text_dataset(
            train_file=options.data_dir / "train.csv",
            validation_file=options.data_dir / "test.csv",
            label_column_name="category",
        )
        rows = self.task.datasets["train"].shuffle(seed=seed)
        self.labelled, rest = rows.select(range(options.num_labels)), rows.select(range(options.num_labels, len(rows)))
        self.test = self.task.datasets["validation"]
        if options.quick:
            rest, self.test = (part.take(min(NUM_QUICK_ROWS, len(part))) for part in (rest, self.test))
        self.unlabelled, _ = drop_near_duplicates(
            rest.remove_columns("label"),
            self.task.text_columns,
            against={"a test text": self.test, "a labelled text": self.labelled},
        )

    def _tokenize(self, rows: Dataset, name: str = "MiniLM") -> Dataset:
        return self.task.tokenize_dataset(rows, self.tokenizers[name], MAX_LENGTH, keep_text=True)

    def _args(self, **settings) -> DistillationTrainingArguments:
        return DistillationTrainingArguments(
            str(self.folder / "runs"), seed=self.seed, per_device_train_batch_size=32, warmup_steps=0.1,
            per_device_eval_batch_size=64, train_sampling_strategy="group_by_length", save_strategy="no",
            report_to="none", logging_strategy="no", disable_tqdm=True, bf16=self.options.bf16,
            use_cpu=self.options.use_cpu, teacher_cache_dir=str(self.folder / "store"), **settings,
        )  # fmt: skip

    def teacher(self, name: str) -> PreTrainedModel:
        """Fine-tune an encoder on the labelled rows, or load what an earlier run saved."""
        folder, (num_epochs, learning_rate) = self.folder / name, TEACHERS[name]
        if not (folder / "model.safetensors").exists():
            labelled, test = (self._tokenize(rows, name) for rows in (self.labelled, self.test))
            num_epochs = 1 if self.options.quick else num_epochs
            args = self._args(num_train_epochs=num_epochs, learning_rate=learning_rate)
            fine_tune(
                self.encoders[name], self.task, args, folder, tokenizer=self.tokenizers[name],
                train_dataset=labelled, eval_dataset=test,
            )  # fmt: skip
        return load_teacher(folder)

    def run(self, members: tuple[str, ...]) -> dict[str, float]:
        """Train a student of these teachers, and return their accuracy and its own."""
        set_seed(self.seed)
        student = create_student(self.teacher("MiniLM"), 2)
        rows, test = self._tokenize(self.labelled), self._tokenize(self.test)
        teacher, settings = None, {"objectives": {"ce": 1.0}}
        if members:
            rows = concatenate_datasets([rows, self._tokenize(self.unlabelled).cast(rows.features)])
            tokenizers = [None if name == "MiniLM" else copy.deepcopy(self.tokenizers[name]) for name in members]
            for tokenizer in filter(None, tokenizers):
                tokenizer.model_max_length = MAX_LENGTH
            teacher = TeacherEnsemble([self.teacher(name) for name in members], processing_classes=tokenizers)
            settings = {"temperature": 1.0, "hard_label_weight": 0.1, "cache_teacher_outputs": True}
        num_steps = 2 if self.options.quick else NUM_STEPS
        trainer = DistillationTrainer(
            student, teacher, self._args(max_steps=num_steps, learning_rate=1e-4, **settings),
            train_dataset=rows, eval_dataset=test, processing_class=self.tokenizers["MiniLM"],
            compute_metrics=self.task.compute_metrics, teacher_text_columns=self.task.text_columns,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        metrics = trainer.evaluate()
        return {
            "teacher_accuracy": metrics.get("eval_teacher_accuracy", math.nan),
            "student_accuracy": metrics["eval_accuracy"],
        }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder that holds train.csv and test.csv")
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2", help="MiniLM")
    parser.add_argument("--second_encoder", default="sentence-transformers/all-mpnet-base-v2", help="MPNet")
    parser.add_argument("--num_labels", type=int, default=1000, help="number of labelled texts")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--quick", action="store_true", help="use few rows and steps, to check that the script runs")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--use_cpu", action="store_true")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work_dir", type=Path, default=Path("unlike_teachers_output"), help="teachers and stores")
    return parser.parse_args()


def main() -> None:
    options = parse()
    results = Results(options.output_dir / "unlike_teachers.csv", ("teachers", "seed"))
    seeds = options.seeds.split(",")
    for seed in seeds:
        if all(results.has(name, seed) for name in STUDENTS):
            continue
        bench = Bench(options, int(seed))
        for name, members in STUDENTS.items():
            if not results.has(name, seed):
                results.add({"teachers": name, "seed": seed, **bench.run(members)})
    print("| teachers | their accuracy | over MPNet | accuracy of the student | over the student of MPNet |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in STUDENTS:
        cells = []
        for column in ("teacher_accuracy", "student_accuracy"):
            scores, others = (
                [score for seed in seeds for score in results.column(column, teachers=teachers, seed=seed)]
                for teachers in (name, "MPNet")
            )
            is_known = not any(map(math.isnan, scores))
            cells += [f"{100 * statistics.mean(scores):.1f}", format_gain(scores, others)] if is_known else ["", ""]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
