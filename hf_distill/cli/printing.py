"""Print what was read before work starts, and hide progress bars that tell nothing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from datasets.utils import tqdm as DatasetsBar
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from hf_distill.data import DataSummary
from hf_distill.reporting.class_order import Pairing

logger = logging.getLogger(__name__)

DELAY = 3.0  # seconds


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


@contextmanager
def delayed_bars() -> Iterator[None]:
    """Show a progress bar of the datasets library only after three seconds, within a block or a decorated function."""
    start, refresh = DatasetsBar.__init__, DatasetsBar.refresh

    def start_with_delay(bar: DatasetsBar, *args: Any, **settings: Any) -> None:
        start(bar, *args, **{**settings, "delay": DELAY})

    def refresh_after_delay(bar: DatasetsBar, *args: Any, **settings: Any) -> None:
        # A new description refreshes the bar at once, and `close` does not end the line of a bar that waits.
        if not bar.disable and bar._time() >= bar.start_t + bar.delay:
            refresh(bar, *args, **settings)

    setattr(DatasetsBar, "__init__", start_with_delay)  # noqa: B010 - mypy forbids the assignment
    setattr(DatasetsBar, "refresh", refresh_after_delay)  # noqa: B010
    try:
        yield
    finally:
        setattr(DatasetsBar, "__init__", start)  # noqa: B010
        setattr(DatasetsBar, "refresh", refresh)  # noqa: B010
