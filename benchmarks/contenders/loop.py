"""A hand-written training loop for the contenders whose users write the loop themselves."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from job import NUM_PROCESSES, Batch, Job
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader


def fit(job: Job, model: nn.Module, loader: DataLoader, loss_of: Callable[[nn.Module, Batch], Tensor]) -> float:
    """Train `model` and return the loss of the first optimizer step; `loss_of` returns the mean loss of a batch."""
    model.train()
    if NUM_PROCESSES > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model)
    optimizer = job.optimizer(model.parameters())
    schedule = job.schedule(optimizer, len(loader))
    first_losses: list[float] = []
    for _ in range(job.num_epochs):
        for number, batch in enumerate(loader, start=1):
            loss = loss_of(model, batch) / job.accumulation_steps
            loss.backward()
            if len(first_losses) < job.accumulation_steps:
                first_losses.append(loss.item())
            if number % job.accumulation_steps == 0:
                if job.max_grad_norm:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), job.max_grad_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    return sum(first_losses)
