"""TensorFloat-32, which compiling switches on."""

import torch
from transformers import TrainingArguments
from transformers.utils import logging

logger = logging.get_logger(__name__)


def settle_tensor_float32(args: TrainingArguments) -> None:
    """Switch TensorFloat-32 off if the arguments say so, and say if nobody asked for it.

    To be called after the Trainer has made its accelerator, which allows it for each compiled float32 model on a GPU,
    also with `tf32=False` (accelerate 1.15).
    """
    if args.device.type != "cuda" or not args.torch_compile:
        return
    if args.tf32 is False:
        torch.backends.cuda.matmul.allow_tf32 = False
    elif args.tf32 is None and not (args.bf16 or args.fp16):
        logger.warning(
            "`torch_compile` makes the GPU multiply float32 matrices in TensorFloat-32, with a relative error of "
            "about 1e-3. `tf32=False` keeps full float32, `tf32=True` leaves out this message."
        )
