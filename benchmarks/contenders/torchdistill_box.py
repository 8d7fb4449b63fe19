"""torchdistill's DistillationBox without accelerate, because it does not support accelerate 1.15.

The targets are passed to `forward_process`. Its GLUE example does not pass them, and its KDLoss is then only the KL
term.
"""

import sys
from types import ModuleType

import torch
from job import NUM_PROCESSES, Job, run
from transformers import PreTrainedModel

# It imports these names from torchvision for image datasets and models. The real wheel does not work with a torch from
# another index. The stub is added only here, because transformers, imported above, would use it.
STUB = {
    "torchvision": {},
    "torchvision.datasets": {},
    "torchvision.models": {},
    "torchvision.models.densenet": {"_DenseBlock": object, "_Transition": object},
    "torchvision.models.resnet": {"BasicBlock": object, "conv1x1": object},
}
for name, members in STUB.items():
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__dict__.update(members)

from torchdistill.core.distillation import get_distillation_box  # noqa: E402
from torchdistill.datasets.registry import register_collate_func  # noqa: E402
from torchdistill.optim.registry import register_optimizer, register_scheduler  # noqa: E402


def make_config(job: Job) -> dict:
    """Return the configuration that the library usually reads from YAML."""
    hook = {"input": [], "output": ["classifier"]}
    model = {"forward_proc": "forward_batch_only_as_kwargs", "forward_hook": hook}
    kd_loss = {
        "student_module_path": "classifier",
        "student_module_io": "output",
        "teacher_module_path": "classifier",
        "teacher_module_io": "output",
        "temperature": job.temperature,
        "alpha": job.alpha,
        "reduction": "batchmean",
    }
    return {
        "num_epochs": job.num_epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "requires_supp": False,
            "sampler": {"kwargs": {"shuffle": False}}
            if NUM_PROCESSES > 1
            else {"class_or_func": torch.utils.data.SequentialSampler},
            "collate_fn": "job",
            "kwargs": {"batch_size": job.batch_size},
        },
        "teacher": {**model, "requires_grad": False},
        "student": {**model, "wrapper": {"key": "DistributedDataParallel"}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": kd_loss}, "weight": 1.0}}},
        },
        "optimizer": {
            "key": "job",
            "kwargs": {},
            "max_grad_norm": job.max_grad_norm or None,
            "grad_accum_step": job.accumulation_steps,
        },
        "scheduler": {
            "key": "job",
            "kwargs": {"num_batches": -(-len(job.load_rows()) // job.batch_size)},
            "scheduling_step": 1,
        },
    }


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    register_collate_func(job.collate(), key="job")
    register_optimizer(job.optimizer, key="job")
    register_scheduler(job.schedule, key="job")
    if NUM_PROCESSES > 1:
        torch.distributed.init_process_group("gloo")
    rows, device = {"train": job.load_rows()}, torch.device("cpu")
    box = get_distillation_box(teacher, student, rows, make_config(job), device, None, NUM_PROCESSES > 1, 1)
    first_losses: list[float] = []
    for epoch in range(job.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for batch in box.train_data_loader:
            loss = box.forward_process(batch, targets=batch["labels"], supp_dict=None)
            if len(first_losses) < job.accumulation_steps:
                first_losses.append(loss.item())
            box.post_forward_process(loss=loss)
        box.post_epoch_process()
    return sum(first_losses) / len(first_losses)


if __name__ == "__main__":
    run(train)
