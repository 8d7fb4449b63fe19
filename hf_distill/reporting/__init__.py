"""Results of a run: the table of scores, latency, the comparison of models, and its report."""

from hf_distill.reporting.comparison.compare import compare_models
from hf_distill.reporting.latency import measure_latency
from hf_distill.reporting.report import Report
from hf_distill.reporting.statistics import gap_closed
from hf_distill.reporting.summary import summary
from hf_distill.reporting.tables import results_table

__all__ = [
    "Report",
    "compare_models",
    "gap_closed",
    "measure_latency",
    "results_table",
    "summary",
]
