"""A job's share in the concurrency counts, its slots and its turn: what it keeps and what is counted as it moves."""

from __future__ import annotations

from chalicelib.core.job import Job, changed
from chalicelib.core.limits import NOTHING
from chalicelib.core.states import State
from chalicelib.store.concurrency import Action, Count


def share_after(seen: Job, state: State, *, goes_on: bool) -> Job:
    """A job with the slots, and the turn, that it still has in ``state``; ``goes_on``: its run does not end with it."""
    after = changed(seen, state=state, slot=goes_on and seen.slot, key_slot=goes_on and seen.key_slot)
    return changed(after, turn=after.keeps_turn)


def given_up(before: Job, after: Job) -> dict[str, None]:
    """What to remove from a record: the slots, and the turn, that it holds no more."""
    return {name: None for name in ("slot", "key_slot", "turn") if getattr(before, name) and not getattr(after, name)}


def share_changes(before: Job, after: Job) -> list[Action]:
    """What a change of a record does to the concurrency counts in which it has a share, if anything."""
    earlier, later = before.shares, after.shares
    changes = {name: later.get(name, NOTHING) - earlier.get(name, NOTHING) for name in {**earlier, **later}}
    return [Count(name, change, holder=before.id) for name, change in changes.items() if change]
