"""How many more rows would show that a model is good enough, if these rows only suggest it."""

from collections.abc import Mapping
from typing import Any

from hf_distill.reporting.statistics import rows_to_show
from hf_distill.reporting.text import rounded_rows

IF_TRUE = "in 4 of 5 samples, if the measured scores are the true ones"


def count_more_rows(versus: Mapping[str, Any], task: Mapping[str, Any], num_candidates: int) -> int | None:
    """Return how many more rows would show that a model is not the margin worse than the teacher.

    The one-sided p-value of the test says by how many standard errors the difference is above -margin.

    Args:
        versus: The comparison with the teacher, not shown.
        task: The task of the report.
        num_candidates: Number of models that could replace the teacher. Each is tested at the level of the strictest
            step of Holm's correction.

    Returns:
        None if the difference itself is below -margin, or so near that no practical number of rows would do.
    """
    from scipy.stats import norm  # slow to import

    level = 1 - (1 - task["confidence_level"]) / num_candidates
    needed = rows_to_show(task["rows"], float(norm.isf(versus["p_inferior"])), level)
    return None if needed is None else needed - task["rows"]


def describe_more_rows(more_rows: int | None, versus: Mapping[str, Any], margin: str, has_groups: bool) -> str:
    """Return a sentence on what more rows would do.

    Args:
        more_rows: What [`count_more_rows`] returns.
        versus: The comparison with the teacher.
        margin: The margin as text, such as "1 point".
        has_groups: Whether rows come in groups.
    """
    if more_rows is not None:
        rows = f"About {rounded_rows(more_rows)}{' in groups like these' if has_groups else ''}"
        return f"{rows} would show that it is less than {margin} worse, {IF_TRUE}."
    if versus["difference"] <= -versus["margin"]:
        return (
            "The measured difference itself is as large as the margin, so more rows will most likely not change this."
        )
    return "The measured difference is so near to the margin that no practical number of rows would decide."
