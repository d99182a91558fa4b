"""The ledger: the jobs table, how it is laid out, read and written. Table ``<prefix>-<stage>-jobs``.

Key layout::

    job (N)  part (S)          what
    123      state             the record of core/job.py, under 1 KB, plus the index keys below
    123      body              {input, options, context} as JSON text, when it is too large for the record
    123      output#<lease>    an output, likewise; named by the lease, so that a late worker spoils nothing
    123      context#<lease>   the context with which an attempt parked its job, likewise
    123      child#<id>        an edge to a child that waits for this job's success

Indexes (KEYS_ONLY; ``position`` is the creation time and the id, so it sorts by age and is unique)::

    by_state   state_key  = <kind>#<list>#<shard>           position     only of jobs at rest
    by_type    type_key   = <kind>#<type>#<list>#<shard>    position
    by_trace   trace_key  = <trace id>                      position     only where the client chose the trace id
    by_target  target_id  = as in the record                position     only of tasks; no transition changes it
    due        wake_key   = due#<shard>                     wake_at_ms   only while the clock must look
               wake_key   = aside                           wake_at_ms   where it looked, and could not do its part

Beside the record a state item has ``seal``, the settle token: by which a settle by id knows its own work (see
``with_settle_token``). ``<list>`` is the state, or ``replayed`` for a dead letter that was replayed. The tombstone of a
message keeps its story and stays in the indexes, in a list of its own (``DELETED_INDEX_KEYS``), so that its trace is
found as before.

A job is at rest unless it is pending or running. In these two, through which every job passes within seconds, it has no
``state_key``: an entry costs a write unit when it comes and one when it goes. So a list of all types reads the pending
and the running jobs type by type; which types there are is known by name (``engine/job_types.py``). Records of earlier
versions keep their ``state_key`` until they change; no list reads it there.

The transitions, each one conditional write, are in ``transitions``; what is kept beside a record in ``job_details.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.core.decisions import LEASE_MARGIN_MS
from chalicelib.core.ids import job_id_in
from chalicelib.core.job import STORY_FIELDS, Job, Story, Tombstone
from chalicelib.core.job_documents import to_document
from chalicelib.core.states import TERMINAL, Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS, TraceEvent, newest
from chalicelib.store.clauses import holding, holds_lease, in_state
from chalicelib.store.concurrency import Action, ConcurrencyCounts
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.job_items import (
    CHILD_PREFIX,
    DELETED,
    decoded,
    decoded_or_none,
    position_of,
    record_of,
    state_key,
)
from chalicelib.store.settled import SETTLE_MARK, Completed
from chalicelib.store.shares import given_up, share_after, share_changes
from chalicelib.store.table import Refused, Table, TransactionRefused

OBJECT_PLACE = "s3:"
REPLAYED = "replayed"
DELETED_INDEX_KEYS = {state: f"{DELETED}-{state}" for state in sorted(TERMINAL)}
BY_TYPE_ALONE = frozenset({State.PENDING.value, State.RUNNING.value})
ASIDE = "aside"
NO_WAKE: Mapping[str, Any] = {"wake_key": None, "wake_at_ms": None, "set_aside": None}


class JobRefused(Exception):
    """A transition did not apply. ``ledger`` is the job as it stands, a tombstone, or ``None``.

    ``settle_token`` is what its newest settle left, if it did.
    """

    def __init__(self, message: str, ledger: Job | Tombstone | None, settle_token: str | None = None) -> None:
        super().__init__(message)
        self.ledger = ledger
        self.settle_token = settle_token


@dataclass(frozen=True, slots=True)
class Transition:
    """A job moves to a ``state``, out of any attempt: it has no lease end then, and no receipt.

    ``clauses`` must hold; it ``sets`` and ``adds`` to attributes, and the ``event`` is told. The clock looks after the
    job at ``wake_at_ms``; ``None``: it need not. ``run_ends``: a run ends with it.
    """

    state: State
    now_ms: int
    clauses: tuple[Clause, ...] = ()
    sets: Mapping[str, Any] = field(default_factory=dict)
    adds: Mapping[str, int] = field(default_factory=dict)
    event: TraceEvent | None = None
    wake_at_ms: int | None = None
    run_ends: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reading by id, and the one way in which a transition is written.

    ``shards``: how many partitions each index key has.

    A job may have shares in concurrency counts (``Job.shares``): what moves them does so in one transaction.
    """

    table: Table
    shards: int
    concurrency: ConcurrencyCounts

    # -- reading ------------------------------------------------------------------------------

    def find(self, job_id: int) -> Job | None:
        """The job as of the last write; ``None`` if it never was or is deleted."""
        found = self.ledger(job_id)
        return found if isinstance(found, Job) else None

    def ledger(self, job_id: int) -> Job | Tombstone | None:
        """The job, or what remains of it, as of the last write."""
        return decoded(self.table.get(state_key(job_id)))

    def find_many(self, job_ids: Sequence[int]) -> list[Job]:
        """The jobs that exist, in the order of ``job_ids``; one that cannot be read is logged and left out."""
        by_id = {found.id: found for found in self.records(job_ids) if isinstance(found, Job)}
        return [by_id[job_id] for job_id in job_ids if job_id in by_id]

    def stories(self, job_ids: Sequence[int]) -> list[Story]:
        """What is told of the jobs that exist, and of deleted messages, in no order."""
        return [found.story for found in self.records(job_ids) if found.story is not None]

    def records(self, job_ids: Sequence[int]) -> list[Job | Tombstone]:
        """The jobs that exist, and what remains of deleted ones, in no order; an unreadable one is left out."""
        items = self.table.get_many([state_key(job_id) for job_id in dict.fromkeys(job_ids)])
        return [found for item in items if (found := decoded_or_none(item)) is not None]

    def children(self, parent_id: int) -> list[int]:
        """The ids of the children that wait, or waited, for a job."""
        rows = self.table.query_all(
            "{job} = :job AND begins_with({part}, :prefix)",
            {":job": parent_id, ":prefix": CHILD_PREFIX},
            consistent=True,
        )
        return [int(row["part"].removeprefix(CHILD_PREFIX)) for row in rows]

    # -- the form of an item ------------------------------------------------------------------

    def item(self, job: Job) -> dict[str, Any]:
        """The record as it is stored, with its index keys."""
        document = to_document(job)
        document.pop("id")
        document.pop("wake_at_ms", None)
        document.pop("set_aside", None)
        index_keys = self._index_keys(job, job.state.value)
        return {
            **state_key(job.id),
            **document,
            "position": position_of(job),
            **{name: key for name, key in index_keys.items() if key is not None},
            **({} if job.wake_at_ms is None else {"wake_key": self._due_key(job.id), "wake_at_ms": job.wake_at_ms}),
            **({} if job_id_in(job.trace_id) == job.id else {"trace_key": job.trace_id}),
        }

    def remembrance(self, job: Job) -> dict[str, Any]:
        """What the tombstone of a message keeps of it, as it is stored; of a task nothing."""
        if job.kind is not Kind.MESSAGE:
            return {}
        item = self.item(job)
        kept = {name: item[name] for name in (*STORY_FIELDS, "position", "trace_key") if name in item}
        return {**kept, **self._index_keys(job, DELETED_INDEX_KEYS[job.state])}

    def shard_of(self, job_id: int) -> int:
        """The index partition of a job."""
        return job_id % self.shards

    def _index_keys(self, job: Job, index_key: str) -> dict[str, str | None]:
        """Under which keys the indexes show a job in a list; ``None``: that index does not."""
        shard = self.shard_of(job.id)
        return {
            "state_key": None if index_key in BY_TYPE_ALONE else f"{job.kind}#{index_key}#{shard}",
            "type_key": f"{job.kind}#{job.type}#{index_key}#{shard}",
        }

    def _wake(self, job_id: int, wake_at_ms: int) -> dict[str, Any]:
        return {"wake_key": self._due_key(job_id), "wake_at_ms": wake_at_ms, "set_aside": None}

    def _due_key(self, job_id: int) -> str:
        return f"due#{self.shard_of(job_id)}"

    # -- writing ------------------------------------------------------------------------------

    def together(self, actions: Sequence[Action]) -> None:
        """Do all of ``actions`` or none.

        Raises ``JobRefused`` with the ledger's record when the first action was refused, and
        ``TransactionRefused`` when only a later one was.
        """
        try:
            self.concurrency.transact(actions)
        except TransactionRefused as refused:
            if refused.refused[0]:
                raise JobRefused(str(refused), decoded(refused.old[0])) from refused
            raise

    def _settle(self, job: Job, end: Transition, *beside: Action) -> Job:
        """The end of an attempt: only the holder of its lease may write it.

        A repeated write, whose first answer was lost, finds its own work done and counts as done: the lease, the state
        and the settle token that it wrote, which is none unless the job is ``with_settle_token``. Whoever else ends the
        attempt, under the same lease, leaves a token.
        """
        lease, _, settle_token = (job.lease or "").partition(SETTLE_MARK)
        fence = (in_state(State.RUNNING), holds_lease(lease))
        sets = {**end.sets, "seal": settle_token} if settle_token else end.sets
        try:
            return self._make(job, replace(end, clauses=fence, sets=sets, run_ends=True), *beside)
        except JobRefused as refused:
            ledger = refused.ledger
            is_ours = refused.settle_token == (settle_token or None)
            if isinstance(ledger, Job) and ledger.lease == lease and ledger.state is end.state and is_ours:
                return ledger
            raise

    @staticmethod
    def _completed(by: Completed, write: Callable[[], Job]) -> Job:
        """A completion; a repeated write, whose first answer was lost, finds its settle token and counts as done."""
        try:
            return write()
        except JobRefused as refused:
            if refused.settle_token == by.settle_token and isinstance(refused.ledger, Job):
                return refused.ledger
            raise

    def _make(self, seen: Job, transition: Transition, *beside: Action) -> Job:
        """Make a transition of the job that was ``seen``, all or nothing with the actions ``beside`` it."""
        change, counted = self._made(seen, transition)
        return self._change(seen.id, change, [*beside, *counted])

    def _made(self, seen: Job, transition: Transition) -> tuple[Change, list[Action]]:
        """What a transition changes in the record, and does to the concurrency counts.

        A running slot is freed only if the run ends with it; the run of a job that somebody else ends goes on for as
        long as its worker keeps the lease, and the clock looks after it. It is no longer the job's turn once it is
        done, unless those behind it are to wait.
        """
        state, now_ms, wake_at_ms = transition.state, transition.now_ms, transition.wake_at_ms
        goes_on = seen.has_slot and not (transition.run_ends or seen.taken)
        after = share_after(seen, state, goes_on=goes_on) if seen.is_counted else seen
        if goes_on and state.terminal and wake_at_ms is None:
            wake_at_ms = (seen.lease_until_ms or now_ms) + LEASE_MARGIN_MS
        story, appends = self._traced(seen, transition.event) if transition.event else ({}, {})
        sets = {
            "state": state.value,
            **self._index_keys(seen, state.value),
            "updated_at_ms": now_ms,
            "lease_until_ms": None,
            "source": None,
            "receipt": None,
            **(NO_WAKE if wake_at_ms is None else self._wake(seen.id, wake_at_ms)),
            **transition.sets,
            **given_up(seen, after),
            **({"lease_until_ms": seen.lease_until_ms} if goes_on else {}),
            **({"running_at": None} if seen.application is not None else {}),
            **story,
        }
        ran_ms = seen.running_ms(now_ms) if transition.run_ends else 0
        adds = {**transition.adds, "run_ms": ran_ms} if ran_ms else transition.adds
        change = Change((*transition.clauses, *holding(seen)), sets, adds, appends)
        return change, share_changes(seen, after) if seen.is_counted else []

    @staticmethod
    def _traced(seen: Job | None, *events: TraceEvent) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """What to set and what to append so that the trace tells ``events``.

        Appending keeps what another writer told meanwhile; a full trace is rewritten without its oldest lines.
        """
        lines = [event.to_line() for event in events]
        if seen is None or len(seen.trace) + len(lines) <= TRACE_MAX_EVENTS:
            return {}, {"trace": lines}
        return {"trace": [*newest(seen.trace, room_for=len(lines)), *lines]}, {}

    def _apply(self, job_id: int, change: Change, beside: Sequence[Action] = ()) -> None:
        """Write a change, all or nothing with the actions ``beside`` it, and read nothing of it."""
        with _refusing():
            if beside:
                self.concurrency.transact([self.table.updating(state_key(job_id), change), *beside])
            else:
                self.table.apply(state_key(job_id), change)

    def _change(self, job_id: int, change: Change, beside: Sequence[Action] = ()) -> Job:
        """Write a change, all or nothing with the actions ``beside`` it; returns the record as it then is."""
        if not beside:
            with _refusing():
                return record_of(self.table.update(state_key(job_id), change))
        self._apply(job_id, change, beside)
        ledger = self.ledger(job_id)  # a transaction answers nothing
        if not isinstance(ledger, Job):
            raise JobRefused("the job was removed at once", ledger)
        return ledger


@contextmanager
def _refusing() -> Iterator[None]:
    """Say ``JobRefused``, with the record as it stands, where its change, the first of a transaction, is refused."""
    try:
        yield
    except Refused as refused:
        raise _refusal(str(refused), refused.old) from refused
    except TransactionRefused as refused:
        if refused.refused[0]:
            raise _refusal(str(refused), refused.old[0]) from refused
        raise


def _refusal(message: str, old: Mapping[str, Any] | None) -> JobRefused:
    return JobRefused(message, decoded(old), (old or {}).get("seal"))
