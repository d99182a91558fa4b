"""A subscriber that does nothing but say that it ran; a light one where HEAD_TO_HEAD_LIGHT is set."""

from __future__ import annotations

import os
from typing import Any

import marks

from chalicelib.engine.handlers.declare import subscribe

TOPIC = "trivial"
OPTIONS: dict[str, Any] = {"light": True} if os.environ.get("HEAD_TO_HEAD_LIGHT") else {}


@subscribe(TOPIC, **OPTIONS)
def trivial(value: Any) -> None:
    """Note that the job is done."""
    del value
    marks.done()
