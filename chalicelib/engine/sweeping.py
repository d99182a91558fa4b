"""Sweeping: the same for many, of which none may keep the others from their turn.

What fails for one is logged, counted and passed over, or set aside on the ledger. Where that fails, too, or nothing is
set aside and ten in a row have failed, not being refused for what they are themselves, it is not theirs: AWS does not
answer, and the sweep ends with the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from chalicelib.core.errors import Conflict, InvalidInput, TaskyardError, TooLarge
from chalicelib.logger import logger
from chalicelib.store.ledger import JobRefused

FAILURES_IN_A_ROW = 10
ITS_OWN = (Conflict, InvalidInput, TooLarge)  # AWS has answered

Item = TypeVar("Item")


@dataclass(slots=True)
class PassedOver:
    """How many items the sweeps of one run of the clock have passed over."""

    count: int = 0


def always() -> bool:
    """There is enough time."""
    return True


def sweep(
    items: Iterable[Item],
    do: Callable[[Item], int],
    *,
    named: Callable[[Item], object],
    enough_time: Callable[[], bool] = always,
    passed: PassedOver | None = None,
    set_aside: Callable[[Item], object] | None = None,
) -> int:
    """``do`` it to each of ``items`` while there is ``enough_time``; returns the sum of what that answers.

    What moved on meanwhile (``JobRefused``) needs no help. What fails is ``named`` in the log, and ``set_aside``, if
    that is given. Raises what that raises; without it, what failed last once ten in a row have.
    """
    done = in_a_row = 0
    for item in items:
        try:
            done += do(item)
            in_a_row = 0
        except JobRefused:
            pass
        except Exception as error:
            unexpected = not isinstance(error, TaskyardError)
            logger.error("passed over", exc_info=unexpected, extra={"item": named(item), "error": str(error)})
            if passed is not None:
                passed.count += 1
            if set_aside is not None:
                set_aside(item)
            elif isinstance(error, ITS_OWN):
                in_a_row = 0
            elif (in_a_row := in_a_row + 1) == FAILURES_IN_A_ROW:
                raise
        if not enough_time():
            break
    return done
