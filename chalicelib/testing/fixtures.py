"""A pytest fixture in one line: ``bench = workbench_fixture(my_handlers)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chalicelib.testing.workbench import Declared, Workbench


def workbench_fixture(*declared: Declared, **options: Any) -> Callable[..., Any]:
    """A pytest fixture: an open workbench, a new one for each test. The parameters are those of ``Workbench``."""
    import pytest  # imported late: the workbench is of use without it

    @pytest.fixture
    def bench() -> Iterator[Workbench]:
        with Workbench(*declared, **options) as opened:
            yield opened

    fixture: Callable[..., Any] = bench
    return fixture
