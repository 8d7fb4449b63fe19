"""What every process of `test_distributed.py` runs. The first process saves what all find as `results.pt`."""

import copy
import gc
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import concatenate_datasets
from invariance import GradientRecorder, make_args, make_trainer
from letters import letters_tokenizer, roberta
from process_counts import run_cases, run_sharded, weights_of, written_by_each
from tiny import tiny_dataset, tiny_model, tiny_tokenizer
from torch.utils.data import Dataset
from transformers import BertForSequenceClassification, TrainerCallback

from hf_distill import DistillationTrainer, TeacherCache, TeacherEnsemble
from hf_distill.utils.main_process import on_main_process

INNER = {
    "hidden_mse": 1.0, "pkd": {"layer_mapping": "last"}, "attention_mse": 10.0,
    "minilm_relation": {"weight": {"schedule": "linear", "start": 1.0, "end": 0.0}},
}  # fmt: skip


def rows_of(tokenizer, num_rows):
    rows = tiny_dataset(tokenizer, num_rows, seed=3)
    return rows.map(lambda row, i: {"labels": -100 if i in (1, 9) else row["labels"]}, with_indices=True)


def train_inner(teacher, rows, tokenizer, output_dir, batch_size):
    """Train a narrow student; return the gradients of student and projections of every step."""
    gradients = []

    class Recorder(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            parameters = [*model.parameters(), *trainer.distillation_loss.parameters()]
            found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
            gradients.append(torch.cat([gradient.flatten().double() for gradient in found]))

    trainer = make_trainer(
        tiny_model(num_hidden_layers=2, hidden_size=8, seed=2), teacher, rows, tokenizer, output_dir,
        callbacks=[Recorder()], objectives=INNER, temperature=None, soft_label_weight=None, hard_label_weight=None,
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=2, num_train_epochs=2,
        ddp_find_unused_parameters=False,  # as Trainer sets it under gradient checkpointing
    )  # fmt: skip
    trainer.train()
    return trainer, gradients


def run_special_cases(student, teacher, tokenizer, output_dir: Path) -> dict:
    """A resume in the middle of an epoch that does not divide, and the other samplers."""
    folder = output_dir / "resumed"
    settings = {"per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 1}
    whole = make_trainer(student, teacher, rows_of(tokenizer, 14), tokenizer, folder, **settings)
    whole.train()
    resumed = make_trainer(student, teacher, rows_of(tokenizer, 14), tokenizer, folder, **settings)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-1"))
    gathered = resumed.accelerator.gather(weights_of(resumed)[None])
    rebalance = make_trainer(
        student, teacher, rows_of(tokenizer, 10), tokenizer, output_dir / "out",
        train_sampling_strategy="batch_rebalance", per_device_eval_batch_size=3,
    )  # fmt: skip
    recorder = GradientRecorder()
    make_trainer(
        student, teacher, rows_of(tokenizer, 30), tokenizer, output_dir / "out", callbacks=[recorder],
        train_sampling_strategy="group_by_length", per_device_train_batch_size=4,
    ).train()  # fmt: skip
    return {
        "resumed": {
            "weights": (weights_of(whole), weights_of(resumed)),
            "weights_differ_by": (gathered - gathered[:1]).abs().max().item(),
        },
        "batch_rebalance": rebalance.evaluate(),
        "group_by_length": {"gradients": recorder.gradients},
    }


def run_inner(teacher, tokenizer, output_dir: Path) -> dict:
    """Objectives inside the network alone: with projections, and with a head that no loss reaches."""
    trainer, gradients = train_inner(teacher, rows_of(tokenizer, 14), tokenizer, output_dir / "out", 2)
    projections = torch.cat([p.detach().flatten() for p in trainer.distillation_loss.parameters()])
    gathered = trainer.accelerator.gather(torch.cat([projections, weights_of(trainer)])[None])
    return {
        "gradients": gradients,
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
        "evaluation": trainer.evaluate(),
        "weights_differ_by": (gathered - gathered[:1]).abs().max().item(),
    }


def run_teachers(tokenizer, output_dir: Path) -> dict:
    """A model, one with another tokenizer and a function teach together, each at its own temperature."""
    seen = []

    def function(texts):
        seen.extend(texts)
        return [[float(str(text).count(letter)) for letter in "aot"] for text in texts]

    ensemble = TeacherEnsemble(
        [tiny_model(4, seed=1), roberta(), function], processing_classes=[None, letters_tokenizer(), None]
    )
    trainer = make_trainer(
        tiny_model(2, seed=2), ensemble, rows_of(tokenizer, 30), tokenizer, output_dir / "out", calibrate_teacher=True,
        per_device_eval_batch_size=4,
    )  # fmt: skip
    return {
        "calibration": trainer.record["teacher_calibration"],
        "evaluation": trainer.evaluate(),
        "asked": sum(trainer.accelerator.gather(torch.tensor([len(seen)])).tolist()),
    }


def run_placed(student, teacher, tokenizer, output_dir: Path) -> list[torch.Tensor]:
    """A teacher that `device_map` has placed, and that so must stay where it is, beside a data-parallel student."""
    teacher.save_pretrained(output_dir / "teacher")  # by the first process alone
    PartialState().wait_for_everyone()
    placed = BertForSequenceClassification.from_pretrained(output_dir / "teacher", device_map={"": "cpu"})
    recorder = GradientRecorder()
    DistillationTrainer(
        copy.deepcopy(student), placed, make_args(output_dir / "out", per_device_train_batch_size=8),
        train_dataset=rows_of(tokenizer, 16), processing_class=tokenizer, callbacks=[recorder],
    ).train()  # fmt: skip
    return recorder.gradients


class AtStep(TrainerCallback):
    """Does something on one process at the start of a step, from 0."""

    def __init__(self, rank, step, action):
        self.rank, self.step, self.action = rank, step, action

    def on_step_begin(self, args, state, control, **kwargs):
        if args.process_index == self.rank and state.global_step == self.step:
            self.action()


def run_stops(student, teacher, tokenizer, output_dir: Path) -> dict:
    """SIGTERM reaches one process of two; the loss is no number on one alone."""
    rows = rows_of(tokenizer, 24)

    def make(folder, *callbacks, model=student):
        return make_trainer(
            model, teacher, rows, tokenizer, output_dir / folder, callbacks=list(callbacks),
            per_device_train_batch_size=1,
        )  # fmt: skip

    whole = make("whole")
    whole.train()
    stopped, status = make("stopped", AtStep(1, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))), None
    try:
        stopped.train()
    except SystemExit as stop:
        status = stop.code
    resumed = make("stopped")
    resumed.train(resume_from_checkpoint=True)
    broken = make("broken")
    broken.add_callback(AtStep(1, 5, lambda: broken.model.classifier.weight.data.fill_(float("nan"))))
    said = ""
    try:
        broken.train()
    except FloatingPointError as error:
        said = str(error)
    return {
        "steps": stopped.state.global_step,
        "statuses": gather_object([status]),
        "weights": (weights_of(whole), weights_of(resumed)),
        "said": gather_object([said]),
    }


class Damaged(Dataset):
    """Rows of which one, far from the start and of one process alone, cannot be read."""

    def __init__(self, rows):
        self.rows = list(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        if i == 13:
            raise OSError("row 13 cannot be read")
        return self.rows[i]


def die(folder: Path) -> None:
    columns = ["input_ids", "token_type_ids", "attention_mask", "labels"]
    rows = Damaged(tiny_dataset(tiny_tokenizer(), 40).select_columns(columns))
    make_trainer(
        tiny_model(2, seed=2), tiny_model(4, seed=1), rows, tiny_tokenizer(), folder / "out",
        per_device_train_batch_size=2,
    ).train()  # fmt: skip


def unequal_teachers(tokenizer, output_dir: Path) -> str:
    """Return what is said where every process made a teacher of its own."""
    rank = int(os.environ["RANK"])
    try:
        make_trainer(tiny_model(2), tiny_model(2, seed=rank), rows_of(tokenizer, 8), tokenizer, output_dir / "out")
    except ValueError as error:
        return str(error)
    return ""


def work_of_the_main_process() -> list[str]:
    """Return what each process gets from `on_main_process`, and the error that each raises."""

    def refuse() -> None:
        raise ValueError(f"refused by process {os.environ['RANK']}")

    shared = on_main_process(lambda: f"made by process {os.environ['RANK']}")
    try:
        on_main_process(refuse)
    except ValueError as error:
        return gather_object([shared, str(error)])
    return []


def run(output_dir: Path) -> None:
    tokenizer = tiny_tokenizer()
    student, teacher = tiny_model(num_hidden_layers=2, seed=2), tiny_model(num_hidden_layers=4, seed=1)
    results = {}
    for num_rows, batch_size, accumulation in [(16, 8, 1), (16, 4, 2), (14, 4, 1), (3, 4, 1), (10, 4, 2)]:
        rows = rows_of(tokenizer, num_rows)
        recorder = GradientRecorder()
        trainer = make_trainer(
            student,
            teacher,
            rows,
            tokenizer,
            output_dir / "out",
            callbacks=[recorder],
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=3,
            gradient_accumulation_steps=accumulation,
            train_sampling_strategy="sequential",
        )
        trainer.compute_metrics = lambda p: {"rows": float(len(p.label_ids)), "sum": float(p.predictions.sum())}
        before = copy.deepcopy(trainer.evaluate())
        trainer.train()
        gathered = trainer.accelerator.gather(weights_of(trainer)[None])
        results[f"{num_rows} rows, {batch_size} x {accumulation}"] = {
            "world_size": trainer.args.world_size,
            "gradients": recorder.gradients,
            "weights_differ_by": (gathered - gathered[:1]).abs().max().item(),
            "evaluation": before,
            "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
        }
    results |= run_special_cases(student, teacher, tokenizer, output_dir)
    results["inner"] = run_inner(teacher, tokenizer, output_dir)
    results["teachers"] = run_teachers(tokenizer, output_dir)
    results["cases"], results["sharded"] = run_cases(output_dir), run_sharded(output_dir)
    results["placed"] = run_placed(student, teacher, tokenizer, output_dir)
    results["stops"] = run_stops(student, teacher, tokenizer, output_dir)
    results["unequal"] = unequal_teachers(tokenizer, output_dir)
    results["main_process"] = work_of_the_main_process()
    results["written"] = written_by_each(output_dir)
    rows = tiny_dataset(tokenizer, 40, seed=3)
    cache = TeacherCache(output_dir / "cache", copy.deepcopy(teacher), tokenizer)
    labelled = cache.label(concatenate_datasets([rows, rows]))
    results["cache"] = {
        "computed": trainer.accelerator.gather(torch.tensor([cache.num_computed])).tolist(),
        "logits": torch.tensor(labelled["teacher_logits"][:]),
    }
    if trainer.is_world_process_zero():
        torch.save(results, output_dir / "unfinished")
        (output_dir / "unfinished").rename(output_dir / "results.pt")


if __name__ == "__main__":
    gc.freeze()  # every training collects garbage
    run(Path(sys.argv[1]))
    die(Path(sys.argv[1]))
