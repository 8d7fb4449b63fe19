"""A teacher that is a function runs once per distinct text, too."""

import hashlib
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedConfig

from hf_distill.cache.kept import Kept
from hf_distill.cache.output_cache import OutputCache, default_cache_dir, unusable_row
from hf_distill.cache.store import KEY
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.teachers import FunctionTeacher


class FunctionCache(OutputCache):
    """A store of a function's logits, found by the texts.

    It is durable if the function has a name; otherwise it goes with this object.

    Args:
        cache_dir: Folder for all teachers; None for a folder per user under `HF_HOME`.
        teacher: The function, and its name if it has one.
        num_labels: Of its outputs.
        problem_type: Of the student.
        text_columns: The column with the text, or the two of a pair.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike | None,
        teacher: FunctionTeacher,
        num_labels: int,
        problem_type: ProblemType,
        text_columns: Sequence[str],
    ) -> None:
        self.teacher, self.text_columns, self.num_labels = teacher, list(text_columns), num_labels
        self._temporary: tempfile.TemporaryDirectory | None = None
        said = {"function": teacher.name, "labels": teacher.labels, "num_labels": num_labels}
        config = PreTrainedConfig(id2label={i: str(i) for i in range(num_labels)})
        kept = Kept("logits", config, problem_type, "float32")
        super().__init__(self._folder(cache_dir, str(said)), kept, said)

    def _folder(self, cache_dir: str | os.PathLike | None, said: str) -> Path:
        if self.teacher.name is not None:
            digest = hashlib.sha256(said.encode()).hexdigest()[:8]
            return Path(cache_dir or default_cache_dir()) / f"function-{self.teacher.name}-{digest}"
        if PartialState().is_main_process:
            self._temporary = tempfile.TemporaryDirectory(prefix="hf_distill-")
        return Path(broadcast_object_list([self._temporary and self._temporary.name])[0])

    def _keys(self, dataset: datasets.Dataset) -> np.ndarray:
        digests = []
        for row, texts in enumerate(zip(*(dataset[column] for column in self.text_columns), strict=True)):
            if None in texts:
                raise ValueError(f"Row {row} has no text in {self.text_columns}. Leave such rows out.")
            digest = hashlib.blake2b(digest_size=16)
            for text in texts:
                # The length first: a pair must not look like one text.
                digest.update(len(text.encode()).to_bytes(8, "little") + text.encode())
            digests.append(digest.digest())
        return np.frombuffer(b"".join(digests), KEY)

    def _outputs(self, rows: datasets.Dataset) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        for start in range(0, len(rows), self.teacher.batch_size):
            batch = rows[start : start + self.teacher.batch_size]
            columns = [batch[column] for column in self.text_columns]
            texts = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
            found = self._call(list(texts))
            if (bad := unusable_row(list(found))) is not None:
                raise FloatingPointError(
                    f"The teacher gives NaN, +inf or no finite number for {texts[bad]!r}: {found[bad].tolist()}. It "
                    "must return logits; for probabilities, their logarithms."
                )
            yield np.arange(start, start + len(texts)), list(found)

    def _call(self, texts: list) -> np.ndarray:
        logits = torch.as_tensor(self.teacher.function(texts)).detach().float().cpu().numpy()
        if logits.shape != (len(texts), self.num_labels):
            raise ValueError(
                f"The teacher returned an array of shape {logits.shape} for {len(texts)} texts; "
                f"({len(texts)}, {self.num_labels}) was expected, one logit for each class."
            )
        return logits
