"""What a call of a user's function has come to, whether that is a coroutine or not."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.engine.coroutines import Run


def awaited(returned: Any, run: Run | None = None) -> Any:
    """What a call has come to: the result of a coroutine, run to its end; of anything else, itself.

    Raises what it raises, and ``RuntimeError`` where the thread runs an event loop already.
    """
    if not isawaitable(returned):
        return returned
    from chalicelib.engine.coroutines import result_of  # loads asyncio: few functions are coroutines

    return result_of(returned, run)
