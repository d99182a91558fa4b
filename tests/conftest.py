"""What every test process starts with: it looks for garbage seldom, and asks moto nothing twice."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# A process of the tests holds half a million objects that live as long as it does. With Python's own thresholds
# (700, 10, 10) a quarter of its time goes into looking at them again and again.
GARBAGE_THRESHOLDS = (50_000, 20, 10)


settings.register_profile(
    "unhurried", deadline=None, max_examples=50
)  # how long an example takes says more of the machine than of it
settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests of whole installations wait for half of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Before the first test module is imported; not in the process that only hands tests to others."""
    if not session.config.getoption("numprocesses", default=None):
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        from tests.support import remembered  # here, for it imports moto

        remembered.install()


def pytest_collection_finish() -> None:
    """What importing has made stays: the collector need not look at it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole installations first: they take longest, and no worker shall be left with them in the end."""
    items.sort(key=lambda item: "/e2e/" not in item.path.as_posix())
