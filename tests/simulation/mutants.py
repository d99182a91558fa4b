"""Engines that break a promise, each in one place: what the judge must find, so that its silence means something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from chalicelib.core import decisions
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.publish import publish
from chalicelib.engine.publish.prepare import Prepared
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.worker import consume, gates
from chalicelib.engine.yard import Yard
from chalicelib.store import ledger
from chalicelib.store.insights import Insights
from chalicelib.store.table import Change, Clause
from chalicelib.store.transitions import running

ALWAYS = Clause("always", "attribute_exists({job})")


@contextmanager
def settles_without_lease() -> Iterator[None]:
    """A late worker's settle is recorded, too."""
    with patch.object(ledger, "holds_lease", lambda lease: ALWAYS):  # noqa: ARG005
        yield


@contextmanager
def takes_over_live_leases() -> Iterator[None]:
    """A job that runs is claimed by whoever gets its message."""
    with (
        patch.object(running, "lease_ran_out", lambda now_ms: ALWAYS),  # noqa: ARG005
        patch.object(decisions.Job, "lease_expired", lambda job, now_ms: job.state == "running"),  # noqa: ARG005
    ):
        yield


@contextmanager
def deletes_before_settling() -> Iterator[None]:
    """The message is gone before its job's end is recorded, and the clock hears of nothing."""
    original = consume._consume_one

    def consume_one(yard: Any, heartbeat: Any, entry: Any, *more: Any) -> Any:
        yard.transport.delete([entry.message])
        heartbeat.let_go(entry.message)
        return original(yard, heartbeat, entry, *more)

    with patch.object(consume, "_consume_one", consume_one):
        yield


@contextmanager
def forgets_to_mark_the_unsent() -> Iterator[None]:
    """What is recorded before it is sent is not marked for the clock."""
    original = Prepared.unsent

    def unsent(prepared: Prepared, now_ms: int) -> Prepared:
        marked = original(prepared, now_ms)
        return replace(marked, job=replace(marked.job, wake_at_ms=None))

    with patch.object(Prepared, "unsent", unsent):
        yield


@contextmanager
def counts_twice() -> Iterator[None]:
    """The projector does not look how far it has come."""

    def moving(self: Insights, shard: str, before: Any, newest: str, counted: Any) -> Any:
        del before, counted
        return self._table.updating({"view": "watermarks", "key": shard}, Change((), sets={"newest": newest}))

    with patch.object(Insights, "watermark", lambda *_: None), patch.object(Insights, "_moving", moving):
        yield


@contextmanager
def charges_what_it_never_ran() -> Iterator[None]:
    """A job whose worker vanished becomes a dead letter, whatever attempts are left."""
    with patch.object(decisions, "on_lost_lease", decisions.Abandoned):
        yield


@contextmanager
def takes_no_slot() -> Iterator[None]:
    """A limited job is claimed without looking whether others run."""
    with patch.object(gates, "_slot_gates", lambda yard, job: []):  # noqa: ARG005
        yield


@contextmanager
def frees_the_slot_of_whom_it_cancels() -> Iterator[None]:
    """A canceled job gives its slot back although its run goes on. No order does both, so it takes two to see it."""
    original = ledger.share_after

    def after(seen: Job, state: State, *, goes_on: bool) -> Job:
        del goes_on
        return original(seen, state, goes_on=False)

    with patch.object(ledger, "share_after", after):
        yield


@contextmanager
def forgets_who_is_blocked() -> Iterator[None]:
    """Who finds no slot waits on no list."""
    with patch.object(gates, "defer", lambda *_: True):
        yield


@contextmanager
def takes_keys_for_nothing() -> Iterator[None]:
    """A request under an idempotency key is a request like any other."""
    with patch.object(publish, "idempotency_key_of", lambda new_job: None):  # noqa: ARG005
        yield


@contextmanager
def accepts_what_has_no_record() -> Iterator[None]:
    """A job is accepted although its record could not be written: its claim will, if one comes."""
    original = publish._record

    def record(yard: Yard, prepared: Prepared) -> Job:
        try:
            return original(yard, prepared)
        except AWS_FAILURES:
            return prepared.job

    with patch.object(publish, "_record", record):
        yield


@contextmanager
def runs_before_its_time() -> Iterator[None]:
    """What comes early is claimed all the same."""
    with patch.object(running, "due_by", lambda now_ms: ALWAYS):  # noqa: ARG005
        yield


# Each, and the kinds of orders that show it.
MUTANTS: Mapping[str, tuple[Callable[[], Any], Sequence[str]]] = {
    each.__name__: (each, kinds)
    for each, kinds in (
        (settles_without_lease, ("task", "polling")),
        (takes_over_live_leases, ("limited",)),
        (deletes_before_settling, ("task", "many")),
        (forgets_to_mark_the_unsent, ("once", "limited")),
        (counts_twice, ("task",)),
        (charges_what_it_never_ran, ("task", "many")),
        (takes_no_slot, ("limited",)),
        (frees_the_slot_of_whom_it_cancels, ("limited", "canceled")),
        (forgets_who_is_blocked, ("limited",)),
        (takes_keys_for_nothing, ("once",)),
        (accepts_what_has_no_record, ("task",)),
        (runs_before_its_time, ("task", "limited")),
    )
}
