"""Programs that some tests drive and that a machine may lack."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

SKIP_VARIABLE = "TASKYARD_TEST_SKIP"


def program(*names: str) -> str:
    """The path of the first of ``names`` that is installed.

    Without any of them the test is skipped, or fails where TASKYARD_TEST_SKIP is "never", as in CI.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    return found or _missing(f"none of these programs is installed: {', '.join(names)}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get(SKIP_VARIABLE) == "never":
        pytest.fail(reason)
    pytest.skip(reason)
