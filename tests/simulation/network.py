"""The way from a process to AWS: a client whose calls hand over to others, and meet the weather.

It stands where botocore's and our lean client stand, so that all of ``store`` and ``queue`` above it is the real code.
What it raises, and how often it tries, is theirs: four tries, a time-out of 5 s for each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from greenlet import getcurrent

from chalicelib.testing.world import WorkerDied
from tests.simulation.dynamodb import refusal
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather

ENDPOINT = "https://aws.test"
READ_TIMEOUT_MS = 5_000
GIVEN_UP_MS = 12_000  # four tries, with what lies between them
SLOW_MS = (1_000, 8_000, 30_000)
FROZEN_MS = (2_000, 25_000, 80_000, 110_000)

Note = Callable[[str], None]


class Client:
    """A process's client of one service."""

    def __init__(self, service: Any, scheduler: Scheduler, weather: Weather, process: Process, note: Note) -> None:
        self._service, self._scheduler, self._weather = service, scheduler, weather
        self._process, self._note = process, note

    def __getattr__(self, operation: str) -> Any:
        method = partial(self._call, operation, getattr(self._service, operation))
        self.__dict__[operation] = method
        return method

    def _call(self, operation: str, effect: Callable[..., Any], **given: Any) -> Any:
        process, scheduler, weather = self._process, self._scheduler, self._weather
        if process.dead or getcurrent().process.dead:
            raise WorkerDied
        fault = None if weather.fair else weather.fault(operation)
        scheduler.sleep(weather.dice.random() * weather.latency_ms)
        if process.frozen_until_ms > scheduler.now_ms:
            scheduler.sleep(process.frozen_until_ms - scheduler.now_ms)
        if fault is None:
            return effect(**given)
        self._note(f"{operation} is {fault}")
        return self._faulty(operation, partial(effect, **given), fault)

    def _faulty(self, operation: str, effect: Callable[[], Any], fault: Fault) -> Any:
        scheduler, dice = self._scheduler, self._weather.dice
        match fault:
            case Fault.KILLED_BEFORE:
                self._die()
            case Fault.KILLED_AFTER:
                effect()
                self._die()
            case Fault.REFUSED:
                scheduler.sleep(dice.random() * GIVEN_UP_MS)
                raise EndpointConnectionError(endpoint_url=ENDPOINT)
            case Fault.THROTTLED:
                scheduler.sleep(dice.random() * GIVEN_UP_MS)
                raise refusal("ThrottlingException", operation)
            case Fault.CONFLICT:
                raise _conflict(operation)
            case Fault.UNANSWERED:
                _in_vain(effect)
                scheduler.sleep(READ_TIMEOUT_MS + dice.random() * GIVEN_UP_MS)
                raise ReadTimeoutError(endpoint_url=ENDPOINT)
            case Fault.REPEATED:
                _in_vain(effect)
                scheduler.sleep(READ_TIMEOUT_MS + dice.random() * 1_000)
            case Fault.SLOW:
                scheduler.sleep(dice.random() * dice.choice(SLOW_MS))
            case Fault.LATE:
                answer = effect()
                scheduler.sleep(dice.random() * dice.choice(SLOW_MS))
                return answer
            case Fault.FROZEN:
                self._process.frozen_until_ms = scheduler.now_ms + round(
                    (0.5 + dice.random() / 2) * dice.choice(FROZEN_MS)
                )
                scheduler.sleep(self._process.frozen_until_ms - scheduler.now_ms)
        return effect()

    def _die(self) -> None:
        self._scheduler.kill(self._process)
        raise WorkerDied


def _in_vain(effect: Callable[[], Any]) -> None:
    """A try whose answer nobody gets, whatever it is."""
    try:
        effect()
    except ClientError:
        return


def _conflict(operation: str) -> ClientError:
    if operation == "transact_write_items":
        reasons = [{"Code": "TransactionConflict"}]
        return refusal("TransactionCanceledException", operation, CancellationReasons=reasons)
    return refusal("TransactionConflictException", operation)
