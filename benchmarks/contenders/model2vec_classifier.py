"""Fit model2vec's own classifier on labelled texts, as its documentation does: vectors from an encoder, then `fit`.

    python model2vec_classifier.py JOB.json

`model2vec_arm.py` writes the job. The vectors are made once and saved in the folder `vectors`. The probabilities of
the test texts, `(test texts, num_labels)`, are saved in the file `output`. Prints the number of parameters and the
seconds of `fit`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from model2vec import StaticModel
from model2vec.distill import distill
from model2vec.train import StaticModelForClassification

torch.set_num_threads(1)
job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
if not Path(job["vectors"]).exists():
    distill(job["encoder"]).save_pretrained(job["vectors"])
classifier = StaticModelForClassification.from_static_model(model=StaticModel.from_pretrained(job["vectors"]))
start = time.perf_counter()
classifier = classifier.fit(job["texts"], job["labels"], random_seed=job["seed"], device="cpu")
seconds = time.perf_counter() - start
probabilities = np.zeros((len(job["test_texts"]), job["num_labels"]))
probabilities[:, np.asarray(classifier.classes, dtype=int)] = classifier.predict_proba(job["test_texts"])
np.save(job["output"], probabilities)
print(json.dumps({"parameters": sum(p.numel() for p in classifier.parameters()), "seconds": round(seconds, 1)}))
