"""Print what was read before work starts."""

import logging

import transformers
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from hf_distill.data import DataSummary
from hf_distill.reporting.class_order import Pairing

logger = logging.getLogger(__name__)


def print_summary(summary: DataSummary) -> None:
    """Print files, columns and classes; notes and warnings go to the log, so that they are seen in any case."""
    print(summary.table())
    for message in (*summary.notes, *summary.warnings):
        logger.warning(message)


def print_pairing(pairing: Pairing) -> None:
    """Print how the outputs of the teacher were paired with the classes; a guess goes to the log."""
    if pairing.is_guess:
        logger.warning(pairing)
    else:
        print(pairing)


def hide_noise() -> None:
    """Hide the bars of weights that are loaded or written.

    Progress bars of downloads, tokenization, teachers and trainings stay.
    """
    hides_downloads = are_progress_bars_disabled()
    transformers.utils.logging.disable_progress_bar()  # which also hides downloads
    if not hides_downloads:
        enable_progress_bars()
