"""`FunctionCache`: a teacher that is a function is called once for each distinct text."""

import hashlib
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import PreTrainedConfig

from hf_distill.cache.cached_output import CachedOutput
from hf_distill.cache.fingerprint import hash_json
from hf_distill.cache.function_calls import FunctionCalls
from hf_distill.cache.output_cache import OutputCache, default_cache_dir, find_unusable_row
from hf_distill.cache.store import KEY
from hf_distill.classifiers.problem_types import ProblemType
from hf_distill.teachers import FunctionTeacher
from hf_distill.utils.main_process import on_main_process

_ROUNDING = 0.01  # of the sum of a row of probabilities
_NUM_CONCLUSIVE = 8  # number of multi-label values from 0 to 1 that are not logits by chance


class FunctionCache(OutputCache):
    """A store of the logits of a function. The key of a row is a hash of its texts.

    If the function has a name, later runs find its outputs. If not, they are deleted together with this object.

    Args:
        cache_dir: Folder of all stores; None for a folder of this user under `HF_HOME`.
        teacher: The function and its name.
        num_labels: Number of logits that the function returns for each text.
        problem_type: Problem type of the student.
        text_columns: The column with the text, or the two columns of a pair.

    Attributes:
        num_found: Number of distinct texts whose logits were stored before.
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
        self.problem_type, self._has_seen_logits = problem_type, False
        self.num_found, self._calls = 0, FunctionCalls(teacher)
        self._temporary: tempfile.TemporaryDirectory | None = None
        metadata = {"function": teacher.name, "labels": teacher.labels, "num_labels": num_labels}
        config = PreTrainedConfig(id2label={i: str(i) for i in range(num_labels)})
        cached_output = CachedOutput("logits", config, problem_type, "float32")
        super().__init__(cached_output, self._folder(cache_dir, str(metadata)), hash_json(metadata), metadata)

    def _folder(self, cache_dir: str | os.PathLike | None, metadata: str) -> Path:
        if self.teacher.name is not None:
            digest = hashlib.sha256(metadata.encode()).hexdigest()[:8]
            return Path(cache_dir or default_cache_dir()) / f"function-{self.teacher.name}-{digest}"
        return Path(on_main_process(self._make_temporary_folder))

    def _make_temporary_folder(self) -> str:
        self._temporary = tempfile.TemporaryDirectory(prefix="hf_distill-")  # removed together with the cache
        return self._temporary.name

    def _row_keys(self, dataset: datasets.Dataset) -> np.ndarray:
        digests = []
        for row, texts in enumerate(zip(*(dataset[column] for column in self.text_columns), strict=True)):
            if None in texts:
                raise ValueError(f"Row {row} has no text in {self.text_columns}. Remove rows without text.")
            digest = hashlib.blake2b(digest_size=16, key=self.fingerprint.encode())
            for text in texts:
                # The length is hashed before the text, so that a pair and a single text have different keys.
                digest.update(len(text.encode()).to_bytes(8, "little") + text.encode())
            digests.append(digest.digest())
        return np.frombuffer(b"".join(digests), KEY)

    def count(self) -> tuple[int, int, int]:
        """Return how many texts the function was asked, in how many calls, and how many texts were stored before.

        All processes must call this together: it counts the texts and calls of all of them.
        """
        counts = gather_object([(self.num_computed, self._calls.num_calls, self.num_found)])
        asked, calls, found = zip(*counts, strict=True)
        return sum(asked), sum(calls), max(found)

    def _compute_missing(self, dataset: datasets.Dataset, keys: np.ndarray) -> None:
        self.num_found += len(np.unique(keys[self.store.find(keys)[:, 0] >= 0]))
        super()._compute_missing(dataset, keys)

    def _compute_outputs(
        self, rows: datasets.Dataset, numbers: np.ndarray
    ) -> Generator[tuple[np.ndarray, list[np.ndarray]]]:
        order = np.argsort(numbers)  # so that the texts of a call are near each other in the dataset
        for start in range(0, len(rows), self.teacher.batch_size):
            places = order[start : start + self.teacher.batch_size]
            batch = rows[places]
            columns = [batch[column] for column in self.text_columns]
            texts = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
            logits = self._call_function(list(texts), numbers[places])
            if (bad_row := find_unusable_row(list(logits))) is not None:
                raise FloatingPointError(
                    f"The teacher returned NaN, +inf or no finite number for {texts[bad_row]!r}: "
                    f"{logits[bad_row].tolist()}. The function must return logits; if it computes probabilities, "
                    "return their logarithms."
                )
            yield places, list(logits)

    def _call_function(self, texts: list, numbers: np.ndarray) -> np.ndarray:
        returned = self._calls.ask(texts, numbers)
        try:
            logits = torch.as_tensor(returned).detach().float().cpu().numpy()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"The teacher returned {type(returned).__name__} for {len(texts)} texts, which cannot be turned into "
                f"an array of numbers: {str(returned)[:100]}. The function must return one row of {self.num_labels} "
                "logits for each text. Pass a transformers pipeline itself as `teacher_model`."
            ) from error
        if logits.shape != (len(texts), self.num_labels):
            raise ValueError(
                f"The teacher returned an array of shape {logits.shape} for {len(texts)} texts; expected "
                f"({len(texts)}, {self.num_labels}), one logit for each class."
            )
        kind = None if self._has_seen_logits else self._kind_of_probabilities(logits)
        self._has_seen_logits = kind is None  # a few logits of a later call can look like probabilities by chance
        if kind is not None:
            remedy = "log(p)" if self.problem_type.is_exclusive else "log(p) - log(1 - p)"
            raise ValueError(
                f"The teacher returned {kind}, not logits, for instance {logits[0].tolist()} for {texts[0]!r}: as "
                f"logits they would be almost the same for all classes. Return `{remedy}`, or the logits of the model."
            )
        return logits

    def _kind_of_probabilities(self, values: np.ndarray) -> str | None:
        """Return "probabilities" or "percentages" if the values are these; None for logits."""
        if not self.problem_type.has_temperature or values.min() < 0:
            return None
        if self.problem_type.is_exclusive:
            sums = values.sum(axis=1)
            kinds = {"probabilities": 1.0, "percentages": 100.0}
            return next((kind for kind, total in kinds.items() if np.allclose(sums, total, rtol=_ROUNDING)), None)
        return "probabilities" if values.max() <= 1 and values.size >= _NUM_CONCLUSIVE else None
