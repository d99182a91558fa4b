"""One ground a backend and module; one embedded emulator for them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chalicelib.local.emulator import Emulator
from tests.support import backends
from tests.support.backends import Ground


@pytest.fixture(scope="session")
def embedded() -> Iterator[Callable[[], Emulator]]:
    """Returns the one embedded emulator of a test run."""
    with backends.embedded_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module", params=[name for name in backends.NAMES if backends.missing(name) is None])
def ground(request: pytest.FixtureRequest, embedded: Callable[[], Emulator]) -> Iterator[Ground]:
    """The resources of one installation, on each backend that is here in turn (``test_backends`` names the others)."""
    with backends.ground(request.param, embedded) as made:
        yield made
