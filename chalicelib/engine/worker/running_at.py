"""Where a run is: the newest lines of its handler, read by the heartbeat. Frames of the service are left out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING

from chalicelib.engine.failures import is_own, place_of

if TYPE_CHECKING:
    from chalicelib.engine.coroutines import RunningCoroutine

FRAMES_MAX = 8
TEXT_MAX_BYTES = 600  # it is written at every beat
RUN = "chalicelib.engine.worker.run"  # what calls the handler: beyond it nothing is the handler's


def running_at(thread: int, coroutine: RunningCoroutine | None) -> str | None:
    """Lines ``file:line function``, the newest first; ``None`` where none of them is the handler's."""
    waits = coroutine.awaits() if coroutine is not None else []
    places = (place_of(frame, line) for frame, line in waits or _frames(sys._current_frames().get(thread)))
    text = "\n".join(islice(places, FRAMES_MAX))
    while len(text.encode()) > TEXT_MAX_BYTES:
        text = text.rpartition("\n")[0]
    return text or None


def _frames(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    while frame is not None and frame.f_globals.get("__name__") != RUN:
        module = str(frame.f_globals.get("__name__", ""))
        if not is_own(module) and not module.startswith("asyncio"):
            yield frame, frame.f_lineno
        frame = frame.f_back
