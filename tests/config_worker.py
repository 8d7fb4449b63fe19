"""Run by `test_accelerate_configs.py` on every process of a launch: train, evaluate and save a tiny student."""

import json
import os
import sys
from pathlib import Path

from invariance import make_trainer
from tiny import tiny_dataset, tiny_model, tiny_tokenizer

GLOBAL_BATCH = 8


def run(folder: Path):
    """Return the Trainer after four steps of the same global batches, whatever the number of processes."""
    tokenizer = tiny_tokenizer()
    rows = tiny_dataset(tokenizer, 16, seed=3)
    trainer = make_trainer(
        tiny_model(2, seed=2), tiny_model(4, seed=1), rows, tokenizer, folder / "out", num_train_epochs=2,
        per_device_train_batch_size=GLOBAL_BATCH // int(os.environ.get("WORLD_SIZE", "1")), optim="adamw_torch",
        adam_epsilon=1e-3,  # or a gradient of almost nothing, of either sign, would be a step
        learning_rate=1e-2, use_cpu=os.environ.get("ACCELERATE_USE_CPU") == "1", save_strategy="epoch",
    )  # fmt: skip
    trainer.train()
    return trainer


def main(folder: Path) -> None:
    trainer = run(folder)
    found = {**trainer.evaluate(), "num_processes": trainer.args.world_size, "device": trainer.args.device.type}
    trainer.save_model(str(folder / "student"))
    if trainer.is_world_process_zero():
        (folder / "found.json").write_text(json.dumps(found))
    trainer.accelerator.wait_for_everyone()
    os._exit(0)  # as in distributed_worker.py


if __name__ == "__main__":
    main(Path(sys.argv[1]))
