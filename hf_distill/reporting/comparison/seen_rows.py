"""Evaluation rows that a model has seen: rows that trained it, and rows that chose its checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_distill.data.seen_rows import (
    MOST_TRAINED,
    RowHashes,
    hash_texts,
    hashes_of_roles,
    hashes_that_trained,
    read_row_hashes,
)
from hf_distill.export.layout import find_export
from hf_distill.record import RECORD_NAME, read_record
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.describe import Comparison
from hf_distill.reporting.comparison.evaluation_set import EvaluationSet
from hf_distill.reporting.comparison.quality import TEACHER
from hf_distill.reporting.comparison.scores import Answers
from hf_distill.reporting.text import PLAIN

FEWEST_TO_NAME = 0.05  # share of the rows that the verdict names
_NUM_EXAMPLES = 5


@dataclass(frozen=True)
class SeenRows:
    """Which evaluation rows a model has seen.

    Attributes:
        trained: `(num_rows,)` bool, rows whose text trained a run of the model, with a label or with the teacher's
            answer.
        chose: `(num_rows,)` bool, rows whose text is in the validation split, which can choose the checkpoint.
    """

    trained: np.ndarray
    chose: np.ndarray

    @property
    def examples(self) -> list[int]:
        """The first rows that trained the model, counted from 1."""
        return (1 + np.flatnonzero(self.trained)[:_NUM_EXAMPLES]).tolist()


def find_seen_rows(contenders: Sequence[Contender], rows: EvaluationSet) -> dict[str, SeenRows]:
    """Return the rows that each model has seen, for models whose folders have hashes of their rows."""
    if not rows.text_columns:  # token ids
        return {}
    hashes, seen = hash_texts(rows.units.texts), {}
    for contender in contenders:
        if runs := [run for value in contender.values if (run := _read(value)) is not None]:
            seen[contender.name] = SeenRows(
                np.isin(hashes, hashes_that_trained(runs)), np.isin(hashes, hashes_of_roles(runs, ("validation",)))
            )
    return seen


def _read(value: Any) -> RowHashes | None:
    """Return the hashes of a run; those of the folder around it for an export that lies in the folder of its model."""
    if not isinstance(value, str | os.PathLike):
        return None
    export = find_export(value)
    folder = Path(value).absolute() if export is None else export.folder.absolute()
    if export is not None and not (folder / RECORD_NAME).is_file():
        folder = folder.parent
    return read_run(folder)


def read_run(folder: Path) -> RowHashes | None:
    """Return the hashes in the folder of a run; None without a record, and as [`read_row_hashes`] says.

    Raises:
        ValueError: if the file is damaged.
    """
    if not (folder / RECORD_NAME).is_file():
        return None
    return read_row_hashes(folder, read_record(folder).get("row_hashes"))


def check_not_trained(seen: Mapping[str, SeenRows], what: str = "evaluation") -> None:
    """Check that most rows did not train a model.

    Raises:
        ValueError: if more than half of the rows trained a model.
    """
    for name, rows in seen.items():
        if rows.trained.mean() > MOST_TRAINED:
            examples = ", ".join(map(str, rows.examples))
            raise ValueError(
                f"{rows.trained.sum():,} of {len(rows.trained):,} {what} rows trained the model {name!r} (rows "
                f"{examples}, ...), so a score on them shows how well it remembers them. Pass rows that took no "
                "part in its training. If texts repeat in these data by nature, pass --allow_training_rows True "
                "(`allow_training_rows`)."
            )


def describe_seen_rows(name: str, seen: SeenRows | None, comparison: Comparison) -> dict[str, Any] | None:
    """Return how many rows the model has seen, and the scores without the rows that trained it.

    Returns:
        `trained` and `chose`, numbers of rows; `examples`, the first rows that trained it, counted from 1; and the
        scores of the model and the `teacher` on the other labelled rows in `without`, or None if no row trained the
        model or no other row has a label. None if it is unknown what the model has seen.
    """
    if seen is None:
        return None
    without = None
    units = comparison.units
    is_other = ~seen.trained[units.rows][units.is_labelled]
    if seen.trained.any() and is_other.any():
        others = comparison.labelled.at(is_other)
        without = {
            role: Answers(others, comparison.shipped_logits[model][is_other]).score(comparison.metric)
            for role, model in (("model", name), ("teacher", TEACHER))
        }
    numbers = {"trained": int(seen.trained.sum()), "chose": int(seen.chose.sum())}
    return {**numbers, "examples": seen.examples, "without": without}


def about_seen_rows(models: Mapping[str, Any], task: Mapping[str, Any], num_rows: int) -> Iterator[str]:
    """Yield a warning for each model that was trained on some of the rows."""
    for name, model in models.items():
        seen = model["seen_rows"]
        if seen and seen["trained"]:
            examples = ", ".join(map(str, seen["examples"]))
            text = f"{seen['trained']:,} of {num_rows:,} rows have a text that trained the {name} (rows {examples})."
            if seen["without"]:
                scores = (PLAIN.score(seen["without"][role], task["metric_name"]) for role in ("model", "teacher"))
                text += " On the other rows its {} is {}, and the teacher's is {}.".format(
                    task["metric_name"], *scores
                )
            yield text


def about_unknown_rows(models: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note on the models whose training rows are unknown."""
    if unknown := [name for name, model in models.items() if model["seen_rows"] is None]:
        yield (
            f"It is unknown which rows trained the {', '.join(unknown)}: there is no file with the hashes of these "
            "rows, which `hf-distill train` writes."
        )


def warn_of_seen_rows(model: Mapping[str, Any], num_rows: int) -> str:
    """Return what the verdict adds if the model has seen at least 5 % of the rows; else an empty string."""
    seen = model["seen_rows"] or {"trained": 0, "chose": 0}
    text = ""
    if seen["trained"] >= FEWEST_TO_NAME * num_rows:
        text += f" {seen['trained']:,} of the {num_rows:,} rows trained it, so its score is too high."
    if seen["chose"] >= FEWEST_TO_NAME * num_rows:
        text += (
            f" {seen['chose']:,} of the {num_rows:,} rows are validation rows of its training, which can choose the "
            "checkpoint, so its score can be slightly too high."
        )
    return text
