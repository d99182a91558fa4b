"""What the tests of the dialects start from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support.service import Service, service

numbers = itertools.count()


@pytest.fixture(scope="module")
def api() -> Iterator[Service]:
    """One installation for all tests of a file; each uses topics of its own."""
    with service() as made:
        yield made


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"topic.{next(numbers)}"


@pytest.fixture
def kind() -> str:
    """A task type that no other test uses, for manual tasks."""
    return f"by.hand.{next(numbers)}"


@pytest.fixture
def target() -> str:
    """A target that no other test uses."""
    return f"target-{next(numbers)}"
