"""Run by `test_accelerate_configs.py` on every process of a launch: train, evaluate and save a tiny student."""

import json
import os
import sys
from pathlib import Path

from invariance import make_args
from tiny import tiny_dataset, tiny_tokenizer
from torch.distributed.fsdp import FSDPModule
from transformers import BertForSequenceClassification

from hf_distill import DistillationTrainer
from hf_distill.classifiers.sharding import is_partitioned

GLOBAL_BATCH = 8


def run(folder: Path) -> DistillationTrainer:
    """Return the Trainer after four steps of the same global batches, whatever the number of processes."""
    args = make_args(
        folder / "out", num_train_epochs=2, learning_rate=1e-2, save_strategy="epoch", optim="adamw_torch",
        per_device_train_batch_size=GLOBAL_BATCH // int(os.environ.get("WORLD_SIZE", "1")),
        adam_epsilon=1e-3,  # otherwise a gradient near zero, of either sign, would become a full step
        use_cpu=os.environ.get("ACCELERATE_USE_CPU") == "1",
        ddp_backend="gloo" if os.environ.get("DS_ACCELERATOR") == "cpu" else None,
    )  # fmt: skip
    # Loaded after the arguments are made, so that DeepSpeed ZeRO-3 partitions both models while it loads them.
    teacher, student = (BertForSequenceClassification.from_pretrained(folder / name) for name in ("teacher", "start"))
    tokenizer = tiny_tokenizer()
    rows = tiny_dataset(tokenizer, 16, seed=3)
    trainer = DistillationTrainer(
        student, teacher, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
    )
    trainer.train()
    return trainer


def main(folder: Path) -> None:
    trainer = run(folder)
    found = {**trainer.evaluate(), "num_processes": trainer.args.world_size, "device": trainer.args.device.type}
    found["distributed"] = trainer.accelerator.distributed_type.value
    found["is sharded"] = isinstance(trainer.model, FSDPModule)
    found["teacher is shared out"] = is_partitioned(trainer.teacher.model)
    trainer.save_model(str(folder / "student"))
    if trainer.is_world_process_zero():
        (folder / "found.json").write_text(json.dumps(found))
    trainer.accelerator.wait_for_everyone()
    os._exit(0)  # as in launching.py


if __name__ == "__main__":
    main(Path(sys.argv[1]))
