"""An installation to import into, as empty as a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.imports import import_bench
from tests.support.yards import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    with import_bench() as found:
        yield found
