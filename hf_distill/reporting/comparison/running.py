"""Run every model over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hf_distill.reporting.class_order import Pairing
from hf_distill.reporting.comparison.contenders import Contender
from hf_distill.reporting.comparison.describe import RunLogits
from hf_distill.reporting.comparison.evaluation_set import EvaluationSet
from hf_distill.reporting.comparison.pairing import check_pairing
from hf_distill.reporting.comparison.units import Units


def run_models(
    contenders: Sequence[Contender],
    sets: Sequence[EvaluationSet],
    batch_size: int,
    pairings: Mapping[str, Pairing],
) -> list[RunLogits]:
    """Run every model once over every set, with one run in memory at a time; test each pairing on its first run."""
    outputs: list[RunLogits] = [{contender.name: [] for contender in contenders} for _ in sets]
    for contender in contenders:
        for predictor in contender.runs():
            for logits, rows in zip(outputs, sets, strict=True):
                values = rows.predict(predictor, batch_size)
                _check_finite(values, contender.name, rows.units)
                logits[contender.name].append(values)
        if contender.name in pairings:
            check_pairing(pairings[contender.name], sets[0].units, outputs[0][contender.name][0])
    return outputs


def _check_finite(logits: np.ndarray, name: str, units: Units) -> None:
    is_broken = ~np.isfinite(logits).all(axis=1)
    if is_broken.any():
        rows = np.unique(units.rows[is_broken])
        raise ValueError(
            f"The model {name!r} gives NaN or infinite outputs for {len(rows):,} of {units.num_rows:,} rows (counted "
            f"from 0: {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}), so it cannot be compared. "
            "Check its weights, and the precision in which it runs."
        )
