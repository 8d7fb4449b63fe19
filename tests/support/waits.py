"""Operations for which a GPU makes the CPU wait: counted on the CPU, and refused on a GPU by `waits.py FOLDER`."""

import sys

import torch
from invariance import make_args
from layer_references import SPECS
from problems import PROBLEMS, make_problem
from tiny import tiny_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from hf_distill import DistillationTrainer
from hf_distill.classifiers.outputs import IS_UNIT
from hf_distill.objectives import OBJECTIVES

ATEN = torch.ops.aten
# Each of these reads values of a tensor, or makes a tensor whose size depends on them.
WAITING = {
    ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN._unique2, ATEN.unique_dim,
    ATEN.unique_consecutive, ATEN.equal, ATEN.is_nonzero, ATEN.bincount, ATEN.repeat_interleave,
}  # fmt: skip
READING = ("item", "tolist", "numpy", "cpu", "__array__")  # methods of a tensor, some of which do not dispatch


class Waits(TorchDispatchMode):
    """Collects the names of operations that would wait, outside the forward passes of some modules.

    A list as an index, or as the content of a new tensor, is a copy to the device, which waits, too. So is a boolean
    mask as an index, because the number of results is read.
    """

    def __init__(self, *ignored_modules):
        super().__init__()
        self.found, self._depth, self._ignored, self._handles = [], 0, ignored_modules, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet = func.overloadpacket
        if packet in WAITING:
            self._add(str(packet))
        elif packet in (ATEN.index, ATEN.index_put, ATEN.index_put_):
            if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]):
                self._add("a boolean mask as an index")
        elif packet is ATEN.lift_fresh and args[0].dim() > 0:
            self._add("a tensor from a list")
        return func(*args, **(kwargs or {}))

    def _add(self, name):
        if self._depth == 0:
            self.found.append(name)

    def _count(self, change):
        def hook(*args):
            self._depth += change

        return hook

    def __enter__(self):
        for module in self._ignored:
            self._handles += [
                module.register_forward_pre_hook(self._count(1)), module.register_forward_hook(self._count(-1))
            ]  # fmt: skip
        # Rows are read and collated on the CPU, ahead of the steps.
        self._fetch = _MapDatasetFetcher.fetch
        _MapDatasetFetcher.fetch = self._unseen(self._fetch)
        self._methods = {name: getattr(torch.Tensor, name) for name in READING}
        for name, method in self._methods.items():
            setattr(torch.Tensor, name, self._counting(name, method))
        return super().__enter__()

    def _counting(self, name, method):
        def counted(tensor, *args, **kwargs):
            if name != "item":  # which dispatches
                self._add(name)
            return method(tensor, *args, **kwargs)

        return counted

    def _unseen(self, function):
        def call(*args):
            self._depth += 1
            try:
                return function(*args)
            finally:
                self._depth -= 1

        return call

    def __exit__(self, *error):
        _MapDatasetFetcher.fetch = self._fetch
        for name, method in self._methods.items():
            setattr(torch.Tensor, name, method)
        for handle in self._handles:
            handle.remove()
        return super().__exit__(*error)


UNSET = {"temperature": None, "soft_label_weight": None, "hard_label_weight": None}
CASES = [
    (problem, name)
    for problem in PROBLEMS
    for name, cls in OBJECTIVES.items()
    if problem.removesuffix("_3") in cls.problem_types
]


def make(problem, name, folder, teacher=None, **changes):
    objectives = {name: SPECS.get(name, {"weight": 1.0})}
    rows = problem.rows
    if OBJECTIVES[name].reads_labels:
        rows = rows.select([i for i in range(len(rows)) if i not in (1, 9)])
    return DistillationTrainer(
        problem.student, problem.teacher if teacher is None else teacher,
        make_args(folder, objectives=objectives, **UNSET, per_device_train_batch_size=4, **changes),
        train_dataset=rows, eval_dataset=rows, processing_class=tiny_tokenizer(),
    )  # fmt: skip


def marked_batch(trainer):
    trainer.state.max_steps = 10
    batches, num_units = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, trainer.args.device)
    trainer._set_signature_columns_if_needed()
    return trainer._prepare_inputs(batches[0]), num_units


def loss_of(trainer, inputs, num_units, student, teacher):
    """Compute the loss from outputs of the models: their own forward passes can wait."""
    selected = trainer.bound.units.select(student, teacher, inputs)
    terms = trainer.bound.loss_runner.run(*selected, 0.5)
    return trainer.bound.loss_runner.normalize(terms, selected[2][IS_UNIT], num_units)


def main(folder):
    """Let every operation of a loss that waits for the GPU raise."""
    for problem, name in CASES:
        trainer = make(make_problem(problem, 12), name, folder, use_cpu=False)
        inputs, num_units = marked_batch(trainer)
        student = trainer.model.train()
        outputs = trainer._run_student(student, inputs), trainer._run_teacher(student, inputs)
        for mode in ("default", "error"):  # the first call can load kernels
            torch.cuda.set_sync_debug_mode(mode)
            loss_of(trainer, inputs, num_units, *outputs).backward(retain_graph=True)
        torch.cuda.set_sync_debug_mode("default")
        print(f"{problem}, {name}: no wait")


if __name__ == "__main__":
    main(sys.argv[1])
