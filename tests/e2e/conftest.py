"""Installations that the tests of several modules share, on the worker that runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium
from tests.support.deployed import LEASE_S, Deployed, deployed
from tests.support.up import Service, running
from tests.support.waiting import until


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One in one stack, a worker of which has run already."""
    with deployed(tmp_path_factory.mktemp("deployed"), TASKYARD_LEASE_S=str(LEASE_S)) as found:
        first = found.create("text.statistics", {"text": "Lambda starts its first worker"})
        until(lambda: found.task(first)["status"] == "success")
        yield found


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`taskyard up` for those who come from elsewhere and try what they know."""
    handlers = "chalicelib.tasks,tests.support.handlers,tests.support.dialect_handlers"
    folder = tmp_path_factory.mktemp("api")
    with running(folder, TASKYARD_HANDLERS=handlers, TASKYARD_CLOCK_INTERVAL_S="1") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found
