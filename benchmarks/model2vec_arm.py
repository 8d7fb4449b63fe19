"""Run model2vec's own classifier in another process, with packages that are installed into the work folder."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from material import WORK, install

PACKAGES = ("model2vec==0.10.0", "skeletoken==0.6.1")
SCRIPT = Path(__file__).parent / "contenders" / "model2vec_classifier.py"


def fit_model2vec(
    encoder: str, folder: Path, texts: Sequence[str], labels: Sequence[int], test_texts: Sequence[str], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit the classifier.

    Args:
        encoder: Folder of the encoder, from which the token vectors are made unless `folder` has them.
        folder: Folder for the token vectors and the files that the two processes exchange.
        texts: Training texts.
        labels: Their class ids; every class is there.
        test_texts: Texts to classify.
        seed: Seed of the training.

    Returns:
        Probabilities, `(test texts, classes)`, and what the classifier cost: `parameters`, `steps`, `seconds`.
    """
    packages = install(WORK / "packages" / "model2vec", *PACKAGES)
    folder.mkdir(exist_ok=True)
    job = {
        "encoder": encoder,
        "vectors": str(folder / "vectors"),
        "texts": texts,
        "labels": labels,
        "num_labels": len(set(labels)),
        "test_texts": test_texts,
        "seed": seed,
        "output": str(folder / "probabilities.npy"),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(folder / "job.json")]
    environment = os.environ | {"PYTHONPATH": str(packages)}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return np.load(job["output"]), {"steps": "", **json.loads(process.stdout)}
