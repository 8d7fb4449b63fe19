"""Helpers for tests of interrupted and resumed trainings: four short steps, and faults between them."""

from safetensors.torch import load_file
from transformers import TrainerCallback

SETTINGS = {
    "per_device_train_batch_size": 8, "save_strategy": "steps", "save_steps": 1, "optim": "adamw_torch",
    "learning_rate": 1e-2, "train_sampling_strategy": "random", "num_train_epochs": 1,
}  # fmt: skip


class At(TrainerCallback):
    """Runs a function at the start of a step; steps count from 0."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.action()


def same_weights(a, b):
    """Whether two folders hold the same student, bit for bit."""
    a, b = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def cut(path):
    """Cut a file in two."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
