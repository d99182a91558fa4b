"""A world for every test of the engine, made once a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.worker import heartbeat
from tests.support.worlds import World, wiped, world

SILENT_S = 3_600.0  # a heartbeat that no test lives to see
QUICK_S = 0.002


@subscribe("news")
def reader(_: Any) -> None:
    raise AssertionError("every test brings its own subscribers")


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([reader]) as used:
        yield used


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat never looks at the clock."""
    monkeypatch.setattr(heartbeat, "TICK_S", SILENT_S)


@pytest.fixture
def beating(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """The heartbeat looks at the clock all the time."""
    monkeypatch.setattr(heartbeat, "TICK_S", QUICK_S)


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    """A world as on its first day, with the lanes of ``default`` and ``news``; deploy handlers with ``using``."""
    return wiped(ground)
