"""What a run tells its readers: the table of results, latency, the comparison, the report, the cards."""

from hf_distill.reporting.card.dataset_card import dataset_card
from hf_distill.reporting.card.model_card import model_card
from hf_distill.reporting.comparison.compare import compare_models
from hf_distill.reporting.latency import measure_latency
from hf_distill.reporting.report import Report
from hf_distill.reporting.statistics import gap_closed
from hf_distill.reporting.summary import summary
from hf_distill.reporting.table import results_table

__all__ = [
    "Report",
    "compare_models",
    "dataset_card",
    "gap_closed",
    "measure_latency",
    "model_card",
    "results_table",
    "summary",
]
