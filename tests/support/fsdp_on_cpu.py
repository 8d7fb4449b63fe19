"""`config_worker.py` under FSDP2 on CPUs, which accelerate only starts on GPUs: started by torchrun with a folder."""

import os
import sys
from pathlib import Path

import yaml
from accelerate import Accelerator, DistributedType
from accelerate.state import AcceleratorState
from config_worker import main

from hf_distill import trainer

CONFIG = Path(__file__).parents[2] / "examples" / "accelerate_configs" / "fsdp2.yaml"
_make_state = AcceleratorState.__init__


def _make_sharding_state(self, *args, fsdp_plugin=None, **kwargs):
    _make_state(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin


if __name__ == "__main__":
    settings = yaml.safe_load(CONFIG.read_text())["fsdp_config"]
    os.environ |= {name.upper(): str(value) for name, value in settings.items()}
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "ACCELERATE_USE_CPU": "1"}
    AcceleratorState.__init__ = _make_sharding_state
    Accelerator.is_fsdp2 = property(lambda self: self.state.fsdp_plugin is not None)
    trainer.check_launch = lambda *args, **kwargs: None
    main(Path(sys.argv[1]))
