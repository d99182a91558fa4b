"""What the tests of the doctor start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.patient import Patient, healthy, shared_clients


@pytest.fixture(scope="module")
def _clients() -> Iterator[None]:
    with shared_clients():
        yield


@pytest.fixture
def patient(_clients: None) -> Iterator[Patient]:
    """A healthy installation, for a test to break."""
    with healthy() as made:
        yield made
