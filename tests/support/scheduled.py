"""A handler with schedules beside it, for the tests of what the clock does with them."""

from __future__ import annotations

from typing import Any

from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.schedules import schedule


@schedule(every_s=60, name="every minute")
@schedule(every_s=60, name="one by one", overlap="skip")
@task("scheduled")
def scheduled(given: Any) -> Any:
    """Return the input."""
    return given
