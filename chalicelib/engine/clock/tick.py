"""The clock: what it does every minute, as a table of steps. Adding one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from chalicelib.engine.clock.audit import audit
from chalicelib.engine.clock.bulk import step_abandoned
from chalicelib.engine.clock.canaries import fly_canaries
from chalicelib.engine.clock.due import resend_stale, send_due, send_outboxes
from chalicelib.engine.clock.flow import audit_types, release_waiting
from chalicelib.engine.clock.graphs import look_after_graphs
from chalicelib.engine.clock.leases import recover_expired
from chalicelib.engine.clock.retention import remove_expired
from chalicelib.engine.clock.schedules import hand_over_slots, keep_declared
from chalicelib.engine.projections.statistics import condense
from chalicelib.engine.sweeping import PassedOver
from chalicelib.engine.worker.concurrency import fill_slots
from chalicelib.engine.worker.pause import finish_resuming
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger

HOUR_MS = 3_600_000

Act = Callable[[Yard, Callable[[], bool], PassedOver], int]
"""Goes on until nothing is left or ``enough_time()`` says no; returns how many jobs it touched."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the clock does: at every tick, or once ``every_ms`` have passed since it last ended."""

    name: str
    act: Act
    every_ms: int = 0


STEPS = (
    Step("outboxes_sent", send_outboxes),
    Step("schedules_declared", keep_declared),
    Step("slots_handed_over", hand_over_slots),
    Step("due_sent", send_due),
    Step("leases_recovered", recover_expired),
    Step("graphs_looked_after", look_after_graphs),
    Step("slots_filled", fill_slots),
    Step("waiting_released", release_waiting),
    Step("resumed_sent", finish_resuming),
    Step("expired_removed", remove_expired),
    Step("canaries_missing", fly_canaries),
    Step("bulk_acted", step_abandoned),  # the last of each minute: it may take long
    Step("stale_resent", resend_stale, HOUR_MS),
    Step("lost_recovered", partial(recover_expired, types_most=None), HOUR_MS),  # should the counters be wrong
    Step("slots_audited", audit_types, HOUR_MS),
    Step("statistics_condensed", lambda yard, enough_time, _: condense(yard, enough_time), HOUR_MS),
    Step("unaccounted_found", audit, HOUR_MS),
)


def tick(yard: Yard, enough_time: Callable[[], bool]) -> dict[str, int]:
    """One run of the clock; returns how many jobs each step touched, and how many all of them passed over.

    The next tick continues what this one has no time for. One job that fails does not keep the others from their turn
    (see ``sweeping``). A step that fails does not keep the other steps from running, but the failure is raised in the
    end.
    """
    touched: dict[str, int] = {}
    passed = PassedOver()
    failures: list[Exception] = []

    def take(step: Step) -> bool:
        try:
            touched[step.name] = step.act(yard, enough_time, passed)
        except Exception as error:  # raised below, once every step had its turn
            logger.exception("clock step failed", extra={"step": step.name})
            failures.append(error)
            return False
        return True

    for step in STEPS:
        if not step.every_ms:
            take(step)
    ended = yard.directory.clock() if failures else yard.directory.note_tick(yard.now_ms())
    for step in STEPS:
        if step.every_ms and _is_due(step, ended, yard.now_ms()) and take(step):
            yard.directory.note_step(step.name, yard.now_ms())
    touched["passed_over"] = passed.count
    if failures:
        raise failures[0]
    return touched


def _is_due(step: Step, ended: Mapping[str, int], now_ms: int) -> bool:
    return now_ms - ended.get(step.name, 0) >= step.every_ms
