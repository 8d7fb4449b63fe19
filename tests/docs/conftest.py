"""What all tests of pages do without."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _few_timed_passes(few_timed_passes):
    """No test of this folder is about times."""
