"""What transformers' Trainer does, ours does: every hook and option gives the same student, metrics, rows and order.

Ours runs with the hard loss alone. `accepts_loss_kwargs = False` makes the loss of transformers' Trainer right for
models that do not normalize it themselves (#47688). The faults of stock Trainer that are not copied are `FAULTS`.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from invariance import GradientRecorder
from parity import ALONE, SETTINGS, run, same_run
from problems import PROBLEMS, make_problem
from tiny import tiny_dataset, tiny_model
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, SubsetRandomSampler
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from hf_distill import DistillationTrainer, DistillationTrainingArguments

COLUMNS = ["input_ids", "token_type_ids", "attention_mask", "labels"]


class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 2


class StopEpoch(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_epoch_stop = state.global_step in (1, 3)


class Evaluate(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_evaluate = state.global_step == 1
        control.should_log = False


class Freeze(TrainerCallback):
    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.bert.embeddings.requires_grad_(False)


class Rate(TrainerCallback):
    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        optimizer.param_groups[0]["lr"] = 5e-3


class Rows(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = list(rows.select_columns(COLUMNS))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return dict(self.rows[i])


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = list(rows.select_columns(COLUMNS))

    def __iter__(self):
        yield from map(dict, self.rows)


def fixed_length(rows):
    """Rows of 24 tokens, as tensors."""

    def pad(row):
        return {name: row[name] + [0] * (24 - len(row[name])) for name in COLUMNS[:3]}

    return rows.map(pad).select_columns(COLUMNS).with_format("torch")


def transformed(rows):
    rows = rows.select_columns(COLUMNS)
    rows.set_transform(lambda batch: {name: batch[name] for name in batch})
    return rows


def stacked(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


class Reversed(DataCollatorWithPadding):
    """Changes the order within a batch, and adds a column that no model reads."""

    def __call__(self, rows):
        return {**super().__call__(rows[::-1]), "weight": torch.ones(len(rows))}


def with_optimizer(student, train, tokenizer):
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.5)
    return {"optimizers": (optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5))}


def sampling(indices):
    def subclass(cls):
        class Sampled(cls):
            def _get_train_sampler(self, train_dataset=None):
                return SubsetRandomSampler(indices, generator=torch.Generator().manual_seed(1))

        return Sampled

    return subclass


def loading(name):
    """A subclass with its own loader of `name`, "train", "eval" or "test", in reverse order."""

    def subclass(cls):
        def load(self, dataset=None):
            dataset = (self.train_dataset if name == "train" else self.eval_dataset).select_columns(COLUMNS)
            return DataLoader(
                dataset,
                batch_size=4,
                sampler=SequentialSampler(dataset),
                collate_fn=DataCollatorWithPadding(TOKENIZER),
            )

        return type("Loading", (cls,), {f"get_{name}_dataloader": load})

    return subclass


def hooking(cls):
    """A subclass that overrides the public hooks and calls the overridden ones."""

    class Hooking(cls):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch)
            return (2 * result[0], result[1]) if return_outputs else 2 * result

        def training_step(self, model, inputs, num_items_in_batch=None):
            return super().training_step(model, inputs, num_items_in_batch)

        def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
            loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
            return loss, None if logits is None else logits + 1.0, labels

        def create_scheduler(self, num_training_steps, optimizer=None):
            self.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=0.5)
            return self.lr_scheduler

        def get_decay_parameter_names(self, model):
            return []

    return Hooking


# The loss over tokens of stock Trainer is a mean over batches: see `FAULTS`.
TOKENS = {
    "kwargs": lambda student, train, tokenizer: {"data_collator": DataCollatorForTokenClassification(tokenizer)},
    "skipped": ("eval_loss", "test_loss"),
}
TOKENIZER = None  # set by a fixture: loaders of subclasses need it

CUT = ("eval_loss", "test_loss", "sum")  # see `FAULTS`

# Name -> how it differs from the plain run; see `parity.run`.
CASES = {
    "plain": {},
    **{f"problem {name}": {"problem": name} for name in PROBLEMS if name not in ("token_classification", "masked_lm")},
    "tokens": {**TOKENS, "problem": "token_classification"},
    "masked words": {**TOKENS, "problem": "masked_lm"},
    "tokens, batches not joined": {
        **TOKENS, "problem": "token_classification", "args": {"eval_do_concat_batches": False}
    },
    "argmax of tokens": {
        "problem": "token_classification", "skipped": ("eval_loss", "test_loss"),
        "kwargs": lambda student, train, tokenizer: {
            "data_collator": DataCollatorForTokenClassification(tokenizer),
            "preprocess_logits_for_metrics": lambda logits, labels: (logits.argmax(-1), labels),
        },
    },
    # Options of evaluation.
    "batches not joined": {"args": {"eval_do_concat_batches": False}},
    "metrics by batch": {"args": {"batch_eval_metrics": True}},
    "metrics by batch, with inputs and losses": {
        "args": {"batch_eval_metrics": True, "include_for_metrics": ["inputs", "loss"]}
    },
    "inputs for metrics": {"args": {"include_for_metrics": ["inputs"]}},
    "losses for metrics": {"args": {"include_for_metrics": ["loss"]}},
    "moved to the CPU every second batch": {"args": {"eval_accumulation_steps": 2}},
    "loss only": {"args": {"prediction_loss_only": True}},
    "no metrics": {"kwargs": {"compute_metrics": None}},
    "argmax": {"kwargs": {"preprocess_logits_for_metrics": lambda logits, labels: logits.argmax(-1)}},
    "a tuple of predictions": {
        "kwargs": {"preprocess_logits_for_metrics": lambda logits, labels: (logits.argmax(-1), logits)}
    },
    "evaluated first": {"args": {"eval_on_start": True, "eval_strategy": "steps", "eval_steps": 2}},
    "several sets": {"kwargs": lambda student, train, tokenizer: {"eval_dataset": {"a": train, "b": train}}},
    # Stock Trainer computes this loss in bfloat16.
    "evaluated in bfloat16": {"args": {"bf16_full_eval": True}, "tolerance": 1e-2, "skipped": ("loss", "sum")},
    # Options of training.
    "rows in order": {"args": {"train_sampling_strategy": "sequential"}},
    "rebalanced": {"args": {"train_sampling_strategy": "batch_rebalance"}},
    "last rows dropped": {"args": {"dataloader_drop_last": True}},
    "workers": {"args": {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}},
    "noise": {"args": {"neftune_noise_alpha": 5.0}},
    "checkpointed": {"args": {"gradient_checkpointing": True}},
    "bfloat16": {"args": {"bf16": True}},
    "adafactor": {"args": {"optim": "adafactor"}},
    "tokens are counted": {"args": {"include_num_input_tokens_seen": "all"}},
    "a batch size that fits": {"args": {"auto_find_batch_size": True}},
    "a plateau": {
        "args": {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps", "eval_steps": 1,
                 "metric_for_best_model": "loss"}
    },
    "the best checkpoint": {
        "args": {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "best", "metric_for_best_model": "sum",
                 "greater_is_better": False, "load_best_model_at_end": True}
    },
    "steps, not epochs": {"args": {"max_steps": 5, "warmup_steps": 2, "lr_scheduler_type": "cosine"}},
    "two seeds": {"args": {"seed": 7, "data_seed": 3}},
    # Arguments of the Trainer.
    "an optimizer": {"kwargs": with_optimizer},
    "a class of optimizer": {"kwargs": {"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.05})}},
    "a student that is made": {
        "kwargs": lambda student, train, tokenizer: {"model_init": lambda: copy.deepcopy(student)}
    },
    "a callback that stops": {"kwargs": {"callbacks": [Stop()]}},
    "a callback that ends epochs": {"kwargs": {"callbacks": [StopEpoch()]}, "args": {"num_train_epochs": 3}},
    "a callback that evaluates": {"kwargs": {"callbacks": [Evaluate()]}},
    "a callback that freezes": {"kwargs": {"callbacks": [Freeze()]}},
    "a callback that sets the rate": {"kwargs": {"callbacks": [Rate()]}},
    # Data and collators.
    "a map-style dataset": {"rows": Rows},
    "a stream": {"rows": Stream, "args": {"max_steps": 4}},
    "datasets' stream": {
        "rows": lambda rows: rows.select_columns(COLUMNS).to_iterable_dataset(), "args": {"max_steps": 4}
    },
    "datasets' stream of unknown columns": {
        "rows": lambda rows: rows.select_columns(COLUMNS).to_iterable_dataset().map(lambda row: row),
        "args": {"max_steps": 4},
    },
    "tensors": {"rows": lambda rows: rows.with_format("torch")},
    "a transform": {"rows": transformed, "args": {"remove_unused_columns": False}},
    "a column `label`": {"rows": lambda rows: rows.rename_column("labels", "label")},
    "a collator that stacks": {"rows": fixed_length, "kwargs": {"data_collator": stacked}},
    "the default collator": {"rows": fixed_length, "kwargs": {"data_collator": default_data_collator}},
    "a collator with an order": {
        "kwargs": lambda student, train, tokenizer: {"data_collator": Reversed(tokenizer)}
    },
    # Subclasses.
    "its own sampler": {"subclass": sampling([5, 1, 9, 0, 3])},
    "its own training loader": {"subclass": loading("train")},
    "its own evaluation loader": {"subclass": loading("eval"), "skipped": CUT},
    "its own test loader": {"subclass": loading("test"), "skipped": CUT},
    "its own hooks": {"subclass": hooking, "skipped": ("loss",)},
}  # fmt: skip


# Cases that differ little from another one, or in a part of Trainer that ours does not replace.
SLOW = {
    "problem regression_3", "argmax of tokens", "inputs for metrics", "evaluated first", "rows in order", "workers",
    "noise", "checkpointed", "adafactor", "tokens are counted", "a plateau", "steps, not epochs", "two seeds",
    "a class of optimizer", "a callback that ends epochs", "a callback that evaluates", "a callback that freezes",
    "a callback that sets the rate", "datasets' stream of unknown columns", "tensors", "the default collator",
    "its own test loader",
}  # fmt: skip
assert CASES.keys() >= SLOW


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES], scope="module"
)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def stock(case, tokenizer, tmp_path_factory):
    global TOKENIZER
    TOKENIZER = tokenizer
    return run(Trainer, tmp_path_factory.mktemp("stock"), case, {}, tokenizer)


def test_ours_gives_what_stock_trainer_gives(case, stock, tokenizer, tmp_path):
    ours = run(DistillationTrainer, tmp_path, case, ALONE, tokenizer)
    same_run(ours, stock, case.get("skipped", ()), case.get("tolerance", 5e-4))


# ---- With a teacher ----


def live(problem, folder):
    return {"kwargs": {"teacher_model": problem.teacher}, "args": {}}


def cached(problem, folder):
    store = {"cache_teacher_outputs": True, "teacher_cache_dir": str(folder)}
    return {"kwargs": {"teacher_model": problem.teacher}, "args": store}


def function(problem, folder):
    def teach(texts):
        return [[float(str(text).count(letter)) for letter in "aot"] for text in texts]

    return {"kwargs": {"teacher_model": teach}, "args": {}}


TAUGHT = [
    "plain", "problem multi_label_classification", "problem regression", "tokens", "batches not joined",
    "metrics by batch", "losses for metrics", "moved to the CPU every second batch", "loss only", "no metrics",
    "argmax", "a tuple of predictions", "several sets", "its own hooks", "a collator with an order",
]  # fmt: skip


TEACHERS = [live, cached, function]
FOR_CLASSES_OF_TEXTS = [name for name in TAUGHT if "problem" not in CASES[name]]  # `function` teaches nothing else
PAIRS = [
    (name, teacher)
    for name in TAUGHT
    for teacher in TEACHERS
    if teacher is not function or name in FOR_CLASSES_OF_TEXTS
]
# The plain run with all teachers, and every second case with one of them. The other pairs are slow.
QUICK = {("plain", teacher) for teacher in TEACHERS} | {
    (name, TEACHERS[i % 3 if name in FOR_CLASSES_OF_TEXTS else i % 2]) for i, name in enumerate(TAUGHT[1::2])
}


@pytest.mark.parametrize(
    ("case", "make_teacher"),
    [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in PAIRS],
    indirect=["case"],
    scope="module",
)
def test_a_teacher_adds_terms_and_changes_nothing_else(case, stock, make_teacher, tokenizer, tmp_path):
    problem = make_problem(case.get("problem", "single_label_classification"), 2)
    teacher = make_teacher(problem, tmp_path / "teachers")
    weights = {"soft_label_weight": 0.0, "hard_label_weight": 1.0}  # the teacher is asked in evaluations alone
    ours = run(
        DistillationTrainer, tmp_path, case, {**teacher, "args": {**teacher["args"], **weights}}, tokenizer,
    )  # fmt: skip
    if stock["metric"]:  # the metrics of the teacher follow those of the student
        ours["metric"] = ours["metric"][:: len(ours["metric"]) // len(stock["metric"])]
    same_run(ours, stock, case.get("skipped", ()))
    assert any("agreement" in name for name in ours["after"]) or "regression" in case.get("problem", "")


# ---- Faults of stock Trainer that ours does not have ----


def evaluation_losses(case, tokenizer, folder):
    """The loss of the first evaluation, by stock Trainer and by ours, and the mean over all units, by hand."""
    results = [
        run(cls, folder / cls.__name__, case, extra, tokenizer)
        for cls, extra in ((Trainer, {}), (DistillationTrainer, ALONE))
    ]
    problem = make_problem(case.get("problem", "single_label_classification"), 19)
    rows = problem.rows.select(range(12, 19))
    return *(result["before"]["eval_loss"] for result in results), problem.reference(rows)[2].item()


def tokens_are_weighted_by_their_batch(tokenizer, folder):
    return evaluation_losses({**TOKENS, "problem": "token_classification"}, tokenizer, folder)


def batches_of_another_loader_are_weighted_equally(tokenizer, folder):
    return evaluation_losses({"subclass": loading("eval")}, tokenizer, folder)


def predictions_of_another_loader_are_cut_after_training(tokenizer, folder):
    case = {"subclass": loading("test")}
    results = [
        run(cls, folder / cls.__name__, case, extra, tokenizer)["predictions"]
        for cls, extra in ((Trainer, {}), (DistillationTrainer, ALONE))
    ]
    return *(len(predictions) for predictions in results), 7


def gradients(rows, tokenizer, folder, **changes):
    """The gradient of every step by stock Trainer and by ours, without learning."""
    found = []
    for cls, args_class, extra in (
        (Trainer, TrainingArguments, {}), (DistillationTrainer, DistillationTrainingArguments, ALONE["args"])
    ):  # fmt: skip
        student, recorder = tiny_model(2, seed=2), GradientRecorder()
        student.accepts_loss_kwargs = False
        settings = {**SETTINGS, "learning_rate": 0.0, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential"}
        args = args_class(str(folder), **{**settings, **changes, **extra})
        cls(student, args=args, train_dataset=rows, processing_class=tokenizer, callbacks=[recorder]).train()
        found.append(recorder.gradients)
    return found


def hard_gradient(rows, tokenizer):
    student = tiny_model(2, seed=2).double()
    batch = tokenizer.pad(
        [{name: row[name] for name in tokenizer.model_input_names} for row in rows], return_tensors="pt"
    )
    F.cross_entropy(student(**batch).logits, torch.tensor([row["labels"] for row in rows])).backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def micro_batches_are_weighted_equally(tokenizer, folder):
    rows = tiny_dataset(tokenizer, 6, seed=3)
    stock, ours = gradients(rows, tokenizer, folder, gradient_accumulation_steps=2)
    return stock[0].norm().item(), ours[0].norm().item(), hard_gradient(rows, tokenizer).norm().item()


def the_rest_of_a_stream_leaks_into_the_next_step(tokenizer, folder):
    rows = fixed_length(tiny_dataset(tokenizer, 12, seed=3))
    stock, ours = gradients(Stream(rows), tokenizer, folder, gradient_accumulation_steps=2, max_steps=2)
    expected = hard_gradient(rows.select(range(8, 12)), tokenizer)
    return stock[1].norm().item(), ours[1].norm().item(), expected.norm().item()


def predictions_are_out_of_order_under_grouped_lengths(tokenizer, folder):
    rows, labels = tiny_dataset(tokenizer, 12, seed=3), []
    for cls, args_class, extra in (
        (Trainer, TrainingArguments, {}), (DistillationTrainer, DistillationTrainingArguments, ALONE["args"])
    ):  # fmt: skip
        args = args_class(str(folder), **SETTINGS, train_sampling_strategy="group_by_length", **extra)
        found = cls(tiny_model(2, seed=2), args=args, processing_class=tokenizer).predict(rows).label_ids
        labels.append(float(np.dot(found, 4.0 ** np.arange(12))))
    return *labels, float(np.dot(rows["labels"], 4.0 ** np.arange(12)))


FAULTS = [
    tokens_are_weighted_by_their_batch,
    batches_of_another_loader_are_weighted_equally,
    predictions_of_another_loader_are_cut_after_training,
    micro_batches_are_weighted_equally,
    the_rest_of_a_stream_leaks_into_the_next_step,
    predictions_are_out_of_order_under_grouped_lengths,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_stock_trainer_is_not_copied(fault, tokenizer, tmp_path):
    global TOKENIZER
    TOKENIZER = tokenizer
    stock, ours, expected = fault(tokenizer, tmp_path)
    assert ours == pytest.approx(expected, rel=1e-4)
    assert stock != pytest.approx(expected, rel=1e-4)  # or else it is mended, and its test belongs to `CASES`
