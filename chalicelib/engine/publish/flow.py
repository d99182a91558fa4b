"""How a new job may follow others: its key, its place in an order, and the mark of those that are like it.

A **unique** job is not made while one like it keeps it away: who asks gets that one. A **debounced** one supersedes the
one before, if that has not begun, and waits anew. Both hold for what is asked for one by one or in bulk; what chains,
graphs, parents and schedules make is made in any case.
"""

from __future__ import annotations

import hashlib
from typing import Any

from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.flow import KEY_MAX_CHARS, NO_FLOW, Debounce, Flow, Key, Unique, key_in, superseded_by
from chalicelib.core.job import MANUAL, Job, changed
from chalicelib.core.limits import count_of_key, count_of_type
from chalicelib.core.naming import is_name
from chalicelib.core.states import State
from chalicelib.engine.failures import log_failure
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import flow_of
from chalicelib.engine.yard import Yard
from chalicelib.store.concurrency import Action
from chalicelib.store.flow_marks import Mark


def content_of(new_job: NewJob) -> dict[str, Any]:
    """What a key is looked for in."""
    return {"input": new_job.input, "options": new_job.options, "context": new_job.context}


class Keys:
    """What the keys of a new job are, each found once: users' functions may take long, or say something else then."""

    def __init__(self, new_job: NewJob) -> None:
        self._new_job = new_job
        self._known: dict[Key, str | None] = {}

    def find(self, key: Key | None) -> str | None:
        """The key; raises ``InvalidInput`` where the user's function for it fails on the input."""
        if key is None:
            return None
        if key not in self._known:
            self._known[key] = _found(key, self._new_job)
        return self._known[key]

    def find_or_none(self, key: Key | None) -> str | None:
        """The same; none where the function fails, as the log tells."""
        try:
            return self.find(key)
        except InvalidInput:
            return None


def check_flow(yard: Yard, new_job: NewJob, keys: Keys) -> None:
    """Raise ``InvalidInput`` for a job whose key cannot be told, or named so."""
    if new_job.flow_key is not None and not is_name(new_job.flow_key, KEY_MAX_CHARS):
        expected = f"1 to {KEY_MAX_CHARS} characters on one line, not all blank"
        raise InvalidInput("this is no key", field="flow_key", expected=expected, got=new_job.flow_key)
    flow = NO_FLOW if new_job.runner == MANUAL or new_job.input_follows else flow_of(yard, new_job)
    collapsing = [control.by for control in (flow.unique, flow.debounce) if control is not None]
    for key in (flow.key if new_job.flow_key is None else None, *collapsing):
        keys.find(key)


def flow_fields(yard: Yard, new_job: NewJob, keys: Keys) -> dict[str, Any]:
    """The fields of a new job's record that say how it may follow others.

    A key that cannot be told, of a job that nobody could check before (its input was another's output), is none.
    """
    flow = NO_FLOW if new_job.runner == MANUAL else flow_of(yard, new_job)
    if not flow and new_job.flow_key is None:
        return {}
    key = new_job.flow_key if new_job.flow_key is not None else keys.find_or_none(flow.key)
    fields: dict[str, Any] = {"flow_key": key}
    if flow.order is not None:
        of_type = count_of_type(new_job.kind, new_job.type)
        fields |= {"order": flow.order, "order_seq": yard.wait_lists.next_place(count_of_key(of_type, key))}
    if is_asked_for(new_job):
        fields["unique_as"] = _mark_of(flow, new_job, key, keys)
    return fields


def mark_of(yard: Yard, new_job: NewJob) -> str | None:
    """The mark of all jobs that are like one that is asked for; ``None``: it is like none, or not bounded so."""
    flow = NO_FLOW if new_job.runner == MANUAL or not is_asked_for(new_job) else flow_of(yard, new_job)
    keys = Keys(new_job)
    key = new_job.flow_key if new_job.flow_key is not None else keys.find_or_none(flow.key)
    return _mark_of(flow, new_job, key, keys)


def is_kept_away(yard: Yard, new_job: NewJob, mark: str) -> bool:
    """Whether a unique job would not be made now, as one with its mark is there."""
    unique, seen = flow_of(yard, new_job).unique, yard.flow_marks.find(mark)
    if unique is None or seen is None:
        return False
    return _keeps_away(unique, seen, yard.jobs.find(seen.job_id), yard.now_ms())


def is_asked_for(new_job: NewJob) -> bool:
    """Whether a client asks for a job by itself, rather than another job, a graph or a schedule."""
    made_by_others = (new_job.parent_id, new_job.graph, new_job.schedule, new_job.replay_of)
    return all(maker is None for maker in made_by_others) and not new_job.input_follows


def _mark_of(flow: Flow, new_job: NewJob, key: str | None, keys: Keys) -> str | None:
    """The mark of all jobs that are like this one; ``None``: it is like none, or not bounded so."""
    if flow.unique is not None:
        by = flow.unique.by
        alike = key if by is None and key is not None else keys.find(by or "input")
    elif flow.debounce is not None:
        by = flow.debounce.by
        alike = key if by is None else keys.find(by)
        if alike is None and (by or flow.key) is not None:
            return None
    else:
        return None
    text = f"{new_job.kind}\n{new_job.type}\n{alike or ''}"
    return hashlib.sha256(text.encode()).hexdigest()


def _found(key: Key, new_job: NewJob) -> str | None:
    try:
        return key_in(key, content_of(new_job))
    except Interruption:
        raise
    except BaseException as error:  # user code
        log_failure("the function of a key fails", error, type=new_job.type)
        raise InvalidInput(
            f"the key of {new_job.type} cannot be told of this input",
            field="input",
            expected="what its key function takes",
            got=type(error).__name__,
            remedy="look into the log, and let the function return None where there is no key",
        ) from error


# -- one of many that are alike -----------------------------------------------------------------------


class Kept(Exception):
    """A job like the one that is asked for is there, and keeps it away."""

    def __init__(self, job: Job | None, mark: Mark) -> None:
        super().__init__(mark.job_id)
        self.job = job
        self.mark = mark


def marked(yard: Yard, new_job: NewJob, job: Job) -> tuple[Job, list[Action]]:
    """A new job, due when its debounce says, and the actions that make it the one that has their mark.

    They are refused where the mark, or the job that it names, has changed meanwhile. Raises ``Kept``.
    """
    if job.unique_as is None:
        return job, []
    flow, now_ms = flow_of(yard, new_job), yard.now_ms()
    seen = yard.flow_marks.find(job.unique_as)
    other = None if seen is None else yard.jobs.find(seen.job_id)
    if other is not None and other.uid == job.uid:  # our own write, whose answer was lost
        raise Kept(other, Mark(other.id, other.created_at_ms))
    if flow.unique is not None:
        return job, _keeping(yard, flow.unique, job, seen, other, now_ms)
    return (job, []) if flow.debounce is None else _superseding(yard, flow.debounce, job, seen, other, now_ms)


def _keeping(yard: Yard, unique: Unique, job: Job, seen: Mark | None, other: Job | None, now_ms: int) -> list[Action]:
    if seen is not None and _keeps_away(unique, seen, other, now_ms):
        raise Kept(other, seen)
    until_ms = now_ms + round(unique.for_s * 1_000) if unique.for_s is not None else 0
    mark = Mark(job.id, job.created_at_ms, until_ms)
    actions: list[Action] = [yard.flow_marks.giving(job.unique_as or "", mark, seen)]
    return actions + ([yard.jobs.looking(other)] if other is not None else [])


def _keeps_away(unique: Unique, seen: Mark, other: Job | None, now_ms: int) -> bool:
    state = State.SUCCESS if other is None else other.state
    pending, accepted_at_ms = state is State.PENDING, seen.first_at_ms
    return unique.keeps_away(pending=pending, terminal=state.terminal, accepted_at_ms=accepted_at_ms, now_ms=now_ms)


def _superseding(
    yard: Yard, debounce: Debounce, job: Job, seen: Mark | None, other: Job | None, now_ms: int
) -> tuple[Job, list[Action]]:
    waits = other is not None and other.state is State.PENDING and not other.attempts and other.due_at_ms > now_ms
    first_at_ms = seen.first_at_ms if seen is not None and waits else now_ms
    due_at_ms = max(debounce.due_at_ms(first_at_ms, now_ms), job.due_at_ms)
    mark = Mark(job.id, first_at_ms)
    actions: list[Action] = [yard.flow_marks.giving(job.unique_as or "", mark, seen)]
    if other is not None and waits:
        actions += yard.jobs.skipping(other, superseded_by(job.id), now_ms)
    return changed(job, due_at_ms=due_at_ms, start_at_ms=due_at_ms), actions


def reclaiming(yard: Yard, job: Job) -> list[Action]:
    """The actions by which a unique job that is done, and is to run again, has its mark again.

    Raises ``Conflict`` where one like it has come meanwhile.
    """
    if job.unique_as is None or flow_of(yard, job).unique is None:
        return []
    seen = yard.flow_marks.find(job.unique_as)
    other = None if seen is None or seen.job_id == job.id else yard.jobs.find(seen.job_id)
    if other is not None and not other.state.terminal:
        expected = f"no other job like it, but job {other.id} is {other.state}"
        raise Conflict("a job like this one is there", field="id", expected=expected, got=str(job.id))
    mark = Mark(job.id, job.created_at_ms)
    if seen is not None:  # one that came since keeps others away for as long as it said
        mark = Mark(job.id, max(job.created_at_ms, seen.first_at_ms), seen.until_ms)
    actions: list[Action] = [yard.flow_marks.giving(job.unique_as, mark, seen)]
    return actions + ([yard.jobs.looking(other)] if other is not None else [])
