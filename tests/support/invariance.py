"""The float64 reference of the loss, and gradients as DistillationTrainer sees them; worker processes use it too."""

import copy

import torch
import torch.nn.functional as F
from tiny import copy_model
from transformers import TrainerCallback

from hf_distill import DistillationTrainer, DistillationTrainingArguments

TEMPERATURE, SOFT, HARD = 3.0, 0.7, 0.4


def make_args(output_dir, **changes) -> DistillationTrainingArguments:
    """Plain SGD on rows in order, so that a step is its gradient."""
    settings = {
        "temperature": TEMPERATURE,
        "soft_label_weight": SOFT,
        "hard_label_weight": HARD,
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 8,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return DistillationTrainingArguments(str(output_dir), **{**settings, **changes})


class GradientRecorder(TrainerCallback):
    """Keeps the student's gradient of every optimizer step, as one float64 vector each."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        # This is the gradient that backward left, before weight decay and clipping.
        # A loss on hidden states leaves the head without a gradient.
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
        self.gradients.append(torch.cat([gradient.flatten().double() for gradient in gradients]))


def make_trainer(student, teacher, dataset, tokenizer, output_dir, callbacks=None, **changes) -> DistillationTrainer:
    """Build a Trainer on a copy of the student."""
    return DistillationTrainer(
        copy_model(student),
        copy_model(teacher),
        make_args(output_dir, **changes),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def trained_gradients(student, teacher, dataset, tokenizer, output_dir, **changes) -> list[torch.Tensor]:
    """Train one epoch and return the gradient of every step."""
    recorder = GradientRecorder()
    make_trainer(student, teacher, dataset, tokenizer, output_dir, callbacks=[recorder], **changes).train()
    return recorder.gradients


def reference_terms(student, teacher, rows, tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft (T^2 included) and hard term of every row in float64, written out by hand; rows of label -100 give 0."""
    batch = tokenizer.pad([{k: r[k] for k in tokenizer.model_input_names} for r in rows], return_tensors="pt")
    labels = torch.tensor([row["labels"] for row in rows])
    student_logits = student(**batch).logits
    with torch.no_grad():
        teacher_logits = teacher(**batch).logits
    p_teacher = torch.exp(teacher_logits / TEMPERATURE)
    p_teacher = p_teacher / p_teacher.sum(-1, keepdim=True)
    p_student = torch.exp(student_logits / TEMPERATURE)
    p_student = p_student / p_student.sum(-1, keepdim=True)
    soft = TEMPERATURE**2 * (p_teacher * torch.log(p_teacher / p_student)).sum(-1)
    hard = F.nll_loss(student_logits.log_softmax(-1), labels, reduction="none", ignore_index=-100)
    return soft, hard


def reference_gradient(student, teacher, rows, tokenizer) -> torch.Tensor:
    """Gradient of the mean loss over the rows, in float64."""
    student, teacher = copy.deepcopy(student).double(), copy.deepcopy(teacher).double()
    soft, hard = reference_terms(student, teacher, rows, tokenizer)
    (SOFT * soft + HARD * hard).mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / |b|."""
    return ((a - b).norm() / b.norm()).item()


def accuracy(prediction) -> dict[str, float]:
    """Compute what `compute_metrics` returns."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}
