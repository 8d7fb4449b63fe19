"""TensorFloat-32, which `torch_compile` switches on."""

import torch
from transformers import TrainingArguments
from transformers.utils import is_torch_tf32_available, logging

logger = logging.get_logger(__name__)


def settle_tensor_float32(args: TrainingArguments) -> None:
    """Switch TensorFloat-32 off again with `tf32=False`, and warn if the arguments leave it open.

    The accelerator, which the Trainer has made before, allows it for each compiled float32 model on a GPU, whatever
    `tf32` is (accelerate 1.15).
    """
    if args.device.type != "cuda" or not args.torch_compile or not is_torch_tf32_available():
        return
    if args.tf32 is False:
        torch.backends.cuda.matmul.allow_tf32 = False  # the setting that accelerate uses
    elif args.tf32 is None and not (args.bf16 or args.fp16):
        logger.warning(
            "`torch_compile` makes the GPU multiply float32 matrices in TensorFloat-32, with a relative error of "
            "about 1e-3. `tf32=False` keeps full float32, `tf32=True` leaves out this message."
        )
