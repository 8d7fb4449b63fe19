"""Print what was read before work starts."""

import logging

from hf_distill.data import DataSummary

logger = logging.getLogger(__name__)


def print_summary(summary: DataSummary) -> None:
    """Print files, columns and classes; notes and warnings go to the log, so that they are seen in any case."""
    print(summary.table())
    for message in (*summary.notes, *summary.warnings):
        logger.warning(message)
