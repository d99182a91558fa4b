"""A yard on moto that the services act on, with a clock that the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from chalicelib.services import installation
from tests.services.handlers.publishers import published, publisher
from tests.support.yards import Bench, moto_bench

numbers = itertools.count()


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    """One installation for all tests of a file, its SQS obeying the same clock; each test uses topics of its own."""
    with (
        moto_bench([publisher]) as made,
        patch("moto.sqs.models.unix_time_millis", lambda: float(made.clock.ms)),
        patch("moto.sqs.models.unix_time", lambda: made.clock.ms / 1_000),
    ):
        yield made


@pytest.fixture
def bench(ground: Bench) -> Iterator[Bench]:
    """The installation that the services act on within the test."""
    published.clear()
    with installation.using(ground.yard):
        yield ground


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"topic.{next(numbers)}"
