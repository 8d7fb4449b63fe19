"""silverspoon-kd's ResponseBasedDistiller, whose API is the most similar to hf_distill's."""

from job import Job, run
from silverspoon_kd import ResponseBasedDistiller, TrainingArguments
from silverspoon_kd.losses import kl_divergence_loss
from transformers import PreTrainedModel


def train(job: Job, student: PreTrainedModel, teacher: PreTrainedModel) -> float | None:
    distiller = ResponseBasedDistiller(
        student_model=student,
        teacher_model=teacher,
        soft_loss_fn=kl_divergence_loss(temperature=job.temperature),
        train_dataset=job.load_rows(),
        data_collator=job.collate(),
        args=TrainingArguments(**job.training_arguments(), alpha=job.alpha, remove_unused_columns=False),
    )
    distiller.train()
    return distiller.state.log_history[0].get("loss")


if __name__ == "__main__":
    run(train)
