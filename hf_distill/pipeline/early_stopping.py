"""How long a teacher is fine-tuned if nobody says so: long enough for few rows, and until evaluation shows no gain."""

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_distill.training_args import DistillationTrainingArguments, is_lower_better

# 1,000 rows of Banking77, 77 classes, were not learned after 640 steps at 1e-4 (docs/unlabelled_text.md).
# Mosbach et al. (2021), https://huggingface.co/papers/2006.04884, fine-tune 20 epochs on small datasets.
MIN_STEPS, MAX_EPOCHS = 2000, 50
NUM_EVALUATIONS, PATIENCE = 20, 5


def early_stopping_arguments(
    args: DistillationTrainingArguments, num_rows: int, metric_name: str
) -> tuple[dict[str, Any], "StopWithoutGain"]:
    """Return the arguments of a fine-tuning that ends when evaluation shows no more gain, and its callback.

    At most `args.num_train_epochs` are trained, or 2,000 steps if these are more, but no more than 50 epochs for the
    sake of the steps. The model is evaluated 20 times in that time, and the checkpoint with the best metric is kept.

    Args:
        args: The training arguments.
        num_rows: Number of rows to train on.
        metric_name: Name of the metric.
    """
    rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps_per_epoch = math.ceil(num_rows / rows_per_step)
    num_epochs = max(args.num_train_epochs, min(MIN_STEPS / steps_per_epoch, MAX_EPOCHS))
    num_steps = math.ceil(num_epochs * steps_per_epoch)
    steps_between = math.ceil(num_steps / NUM_EVALUATIONS)
    changes = {
        "max_steps": num_steps,
        "eval_strategy": "steps",
        "eval_steps": steps_between,
        "save_strategy": "steps",
        "save_steps": steps_between,
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": metric_name,
        "greater_is_better": None,  # the name of the metric says it
    }
    return changes, StopWithoutGain(metric_name)


class StopWithoutGain(TrainerCallback):
    """Ends a training when neither the metric nor the loss on the evaluation rows has improved 5 times in a row.

    The metric by itself would end the training of many classes too early: at first only their loss falls.

    Args:
        metric_name: Name of the metric.
    """

    def __init__(self, metric_name: str) -> None:
        self.metric_name = metric_name

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """End a run again that had ended before it was resumed."""
        control.should_training_stop |= self._has_no_gain(state)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """End the training if there is no more gain."""
        control.should_training_stop |= self._has_no_gain(state)

    def _has_no_gain(self, state: TrainerState) -> bool:
        metric, sign = f"eval_{self.metric_name}", -1.0 if is_lower_better(self.metric_name) else 1.0
        evaluations = [log for log in state.log_history if metric in log]
        series = [[sign * log[metric] for log in evaluations], [-log["eval_loss"] for log in evaluations]]
        last_gain = max((_place_of_best(values) for values in series), default=0)
        return len(evaluations) - 1 - last_gain >= PATIENCE


def _place_of_best(values: list[float]) -> int:
    """Return the place of the first best value; NaN, a correlation with constant outputs, is the worst."""
    return max(range(len(values)), key=lambda i: -math.inf if math.isnan(values[i]) else values[i], default=0)


def describe_stop(state: TrainerState, metric_name: str) -> dict[str, Any]:
    """Return what a fine-tuning with early stopping came to, for the record.

    Returns:
        `max_steps`, `steps` that were taken, `best_step` whose checkpoint was kept, `metric` and its `value` there.
    """
    return {
        "max_steps": state.max_steps,
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "metric": metric_name,
        "value": state.best_metric,
    }
