"""What must hold, whatever went wrong. It knows only what a ``History`` holds, and what clients are told in the end.

Each rule returns what it found broken, in a sentence. The invariants are those of the design: I1 to I8.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.proof.history import ABSENT, Ending, History, Run

TERMINAL = frozenset({"success", "failed", "canceled"})
FINAL = frozenset({"rejected", "never_started", "malformed", "no_handler"})  # whatever attempts were left
TOLD_OF = {"success": "-complete", "failed": "-failed", "canceled": "-cancel"}
SKEW_MS = 3_000  # how far clocks may differ


def verdict(
    history: History, ending: Ending, limits: Mapping[str, int], *, calm: bool, skew_ms: int = SKEW_MS
) -> list[str]:
    """Everything that is broken. ``calm``: no process stood still for so long that it lost a lease.

    ``skew_ms``: how far clocks may differ.
    """
    rules = (
        _nothing_is_lost(history, ending),
        _ends_are_as_ordered(history, ending),
        _outputs_are_of_the_last_attempt(history, ending),
        _terminal_states_stay(history, ending),
        _no_attempt_ran_twice(history),
        _no_more_attempts_than_allowed(history),
        _nothing_ran_early(history, skew_ms),
        _nothing_is_settled_twice(history, ending),
        _what_follows_runs_once(history, ending),
        _keys_are_one_job(history),
        _slots_are_one_job(history),
        _events_are_told(history, ending),
        _counters_are_right(ending),
        iter(ending.left_over),
    )
    found = [broken for rule in rules for broken in rule]
    return [*found, *_limits_hold(history, limits)] if calm else found


def _nothing_is_lost(history: History, ending: Ending) -> Iterator[str]:
    """I1, I4, I7: what was accepted is there whenever it is asked for, and has ended."""
    for told in history.told:
        if told.state == ABSENT and told.job_id not in history.deleted:
            yield f"I7: {told.job_id} was accepted, and {told.asked_ms} ms since 1970 nobody knew it"
    for job_id, accepted in history.accepted.items():
        if job_id in history.deleted:
            continue
        if job_id not in ending.states:
            yield f"I1: {accepted.type} {job_id} was accepted and is lost"
        elif ending.states[job_id][0] not in TERMINAL and _succeeded(ending, accepted.after):
            yield f"I1: {accepted.type} {job_id} never ends: it is {ending.states[job_id][0]}"


def _succeeded(ending: Ending, jobs: Iterable[int]) -> bool:
    return all(ending.states.get(job_id, ("", 0))[0] == "success" for job_id in jobs)


def _what_follows_runs_once(history: History, ending: Ending) -> Iterator[str]:
    """What comes after others begins once these have succeeded, and as one job."""
    by_ref: defaultdict[str, list[Run]] = defaultdict(list)
    by_job: defaultdict[int, list[Run]] = defaultdict(list)
    for run in history.runs:
        by_job[run.job_id].append(run)
        if run.ref is not None:
            by_ref[run.ref].append(run)
    for expected in history.expected:
        runs = by_ref[expected.ref]
        jobs = {run.job_id for run in runs}
        if len(jobs) > expected.most:
            yield f"{expected.ref} was to run as {expected.most}, and ran as {sorted(jobs)}"
        if not jobs and expected.surely and _succeeded(ending, expected.after):
            yield f"I1: {expected.ref} never runs"
        before = [run for ref in expected.after_refs for run in by_ref[ref]]
        before += [run for job_id in expected.after for run in by_job[job_id]]
        well = min((run.ended_ms or 0 for run in before if run.how == "ok"), default=None)
        if runs and well is None:
            yield f"{expected.ref} ran, and nothing before it has succeeded"
        elif runs and expected.after_refs:
            for ref in expected.after_refs:
                ends = [run.ended_ms or 0 for run in by_ref[ref] if run.how == "ok"]
                if not ends or min(ends) > min(run.began_ms for run in runs):
                    yield f"{expected.ref} began before {ref} had succeeded"


def _ends_are_as_ordered(history: History, ending: Ending) -> Iterator[str]:
    """A success was made by a run that says so, or by a client; a failure only where it could come to one."""
    well = {(run.job_id, run.attempt) for run in history.runs if run.how == "ok"}
    for job_id, accepted in history.accepted.items():
        state, attempts = ending.states.get(job_id, ("", 0))
        if state in TERMINAL and state not in accepted.ends:
            yield f"{accepted.type} {job_id} is {state}, and may only end as {' or '.join(sorted(accepted.ends))}"
        if job_id in history.asked or "canceled" in accepted.ends:
            continue
        if state == "success" and not any((job_id, number) in well for number in range(attempts + 1)):
            yield f"{accepted.type} {job_id} is a success that no run and no client has made"
        cause = ending.causes.get(job_id)
        if state == "failed" and cause not in FINAL and attempts < accepted.attempts:
            yield f"{accepted.type} {job_id} failed ({cause}) in attempt {attempts} of {accepted.attempts}"


def _outputs_are_of_the_last_attempt(history: History, ending: Ending) -> Iterator[str]:
    """I2: what a success tells was made by the attempt that held the job last; a handler's output names its attempt."""
    for job_id, output in ending.outputs.items():
        accepted, (state, attempts) = history.accepted.get(job_id), ending.states[job_id]
        made_by = output.get("attempt") if isinstance(output, dict) else None
        if accepted and not accepted.light and state == "success" and made_by not in (None, attempts):
            yield f"I2: {accepted.type} {job_id} is in attempt {attempts}, and has the output of attempt {made_by}"


def _terminal_states_stay(history: History, ending: Ending) -> Iterator[str]:
    """I2: what a client was told of an end stays so, unless another life was asked for."""
    restarted = {job_id for job_id, _ in history.restarted}
    ends: dict[int, tuple[str, int | None]] = {}
    for told in sorted(history.told, key=lambda told: told.told_ms):
        if told.job_id in restarted or told.state not in TERMINAL:
            continue
        first = ends.setdefault(told.job_id, (told.state, told.attempts))
        if first != (told.state, told.attempts):
            yield f"I2: {told.job_id} was told as {first} and then as {(told.state, told.attempts)}"
    since: dict[int, int] = {}
    for told in history.told:
        if told.state in TERMINAL:
            since[told.job_id] = min(told.told_ms, since.get(told.job_id, told.told_ms))
    for told in history.told:
        end, since_ms = ends.get(told.job_id), since.get(told.job_id, 0)
        if end is not None and told.asked_ms > since_ms and told.state not in TERMINAL:
            yield f"I2: {told.job_id} had ended as {end[0]}, and is {told.state} again"
    for job_id, end in ends.items():
        final = ending.states.get(job_id)
        if final is not None and (final[0] != end[0] or end[1] not in (None, final[1])):
            yield f"I2: {job_id} was told as {end} and is {final} in the end"


def _no_attempt_ran_twice(history: History) -> Iterator[str]:
    """I3, I5: an attempt number is run once."""
    light = {job_id for job_id, accepted in history.accepted.items() if accepted.light}
    times = Counter(
        (run.job_id, run.attempt, run.part) for run in history.runs if run.job_id not in light and run.type != "light"
    )
    for (job_id, attempt, _), number in times.items():
        if number > 1:
            yield f"I3: attempt {attempt} of {job_id} was begun {number} times"


def _no_more_attempts_than_allowed(history: History) -> Iterator[str]:
    lives = Counter(job_id for job_id, _ in history.restarted)
    attempts: defaultdict[int, set[int]] = defaultdict(set)
    for run in history.runs:
        if run.how == "failed":
            attempts[run.job_id].add(run.attempt)
    for job_id, accepted in history.accepted.items():
        most = accepted.attempts * (1 + lives[job_id])
        if len(attempts[job_id]) > most and not accepted.light:
            yield f"{accepted.type} {job_id} has failed in {len(attempts[job_id])} attempts, and {most} are allowed"


def _nothing_ran_early(history: History, skew_ms: int) -> Iterator[str]:
    for run in history.runs:
        accepted = history.accepted.get(run.job_id)
        if run.job_id in history.promoted:
            continue
        due_at_ms = max(run.due_at_ms, accepted.due_at_ms if accepted else 0)
        if run.began_ms < due_at_ms - skew_ms:
            yield f"{run.type} {run.job_id} ran {due_at_ms - run.began_ms} ms before its time"


def _nothing_is_settled_twice(history: History, ending: Ending) -> Iterator[str]:
    for (job_id, _), tellers in history.settled.items():
        if len(tellers) > 1:
            yield f"{job_id} was settled by {' and by '.join(tellers)}"
    for job_id, ends in ending.ends.items():
        if ends > 1:
            yield f"{job_id} has {ends} ends in its trace"


def _keys_are_one_job(history: History) -> Iterator[str]:
    for key, jobs in history.keys.items():
        if len(jobs) > 1:
            yield f"under the key {key}, {len(jobs)} jobs were accepted: {sorted(jobs)}"


def _slots_are_one_job(history: History) -> Iterator[str]:
    """I6: each makes one job, and no slot is passed over of those that are to run."""
    by_slot: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for run in history.runs:
        if run.slot is not None:
            by_slot[run.slot].add(run.job_id)
    for slot in history.slots - by_slot.keys():
        yield f"I6: the slot {slot} never ran"
    for slot, jobs in by_slot.items():
        if len(jobs) > 1:
            yield f"I6: the slot {slot} made {len(jobs)} jobs: {sorted(jobs)}"


def _events_are_told(history: History, ending: Ending) -> Iterator[str]:
    """Of each job, in order, and to its end."""
    for job_id, events in history.events.items():
        changes = [event.split("-")[1] for event in events]
        if changes != sorted(changes):
            yield f"of {job_id}, a webhook was told out of order: {events}"
        state = ending.states.get(job_id, ("", 0))[0]
        if state in TERMINAL and not any(event.endswith(TOLD_OF[state]) for event in events):
            yield f"{job_id} is {state}, and a webhook was not told of it: {events}"


def _counters_are_right(ending: Ending) -> Iterator[str]:
    """I7: once the stream is drained, the counters say what the lists do."""
    if +ending.counters != +ending.listed:
        more, less = ending.counters - ending.listed, ending.listed - ending.counters
        yield f"I7: the counters have too much {dict(more)} and too little {dict(less)}"


def _limits_hold(history: History, limits: Mapping[str, int]) -> Iterator[str]:
    """At most so many run at once, of a type or of a key."""
    by_name: defaultdict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for run in history.runs:
        if run.type in limits:
            by_name[run.type, run.key if run.type != "lone" else None].append(run)
    for (type_, key), runs in by_name.items():
        most = _most_at_once(runs)
        if most > limits[type_]:
            yield f"{most} of {type_} {key or ''} ran at once, and {limits[type_]} may"


def _most_at_once(runs: list[Run]) -> int:
    moves = [(run.began_ms, 1) for run in runs]
    moves += [(run.ended_ms, -1) for run in runs if run.ended_ms is not None]
    now = most = 0
    for _, step in sorted(moves):
        now += step
        most = max(most, now)
    return most
