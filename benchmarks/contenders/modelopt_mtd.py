"""ModelOpt's `mtd.convert` with our loop. Its KDTrainer is not used, because it drops the last row of every batch."""

import modelopt.torch.distill as mtd
from job import Batch, Job, run
from loop import fit
from torch import Tensor, nn
from transformers import PreTrainedModel


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float:
    # The default reduction also divides the loss by the number of classes.
    loss = mtd.LogitsDistillationLoss(temperature=job.temperature, reduction="batchmean")
    config = {
        "teacher_model": teacher,
        "criterion": {("classifier", "classifier"): loss},
        "loss_balancer": mtd.StaticLossBalancer(kd_loss_weight=1 - job.alpha),
    }
    pair = mtd.convert(student, mode=[("kd_loss", config)])

    def loss_of(model: nn.Module, batch: Batch) -> Tensor:
        return pair.compute_kd_loss(student_loss=model(**batch).loss)

    first_loss = fit(job, pair, job.loader(), loss_of)
    mtd.export(pair)  # makes `student` an ordinary model again, in place
    return first_loss


if __name__ == "__main__":
    run(train)
