"""Children: jobs that wait for another one's success."""

from __future__ import annotations

from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.waking import wake_for_send, wake_for_wait
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused


def release_children(yard: Yard, parent: Job) -> None:
    """Start every child that waits for ``parent``. What is left undone by a crash, the clock does."""
    for child in yard.jobs.find_many(yard.jobs.children(parent.id)):
        unblock(yard, child)


def unblock(yard: Yard, child: Job) -> None:
    """Start one waiting child; harmless if it is started or canceled already."""
    now_ms = yard.now_ms()
    try:
        released = yard.jobs.unblock(child, wake_for_send(child.due_at_ms, now_ms), now_ms)
    except JobRefused:
        return
    send_marked(yard, released)


def look_after(yard: Yard, child: Job) -> None:
    """What the clock does for a waiting child: start it if its parent succeeded, else look again later.

    A parent that was removed without having succeeded never will: the child is canceled.
    """
    parent = yard.jobs.find(child.parent_id) if child.parent_id is not None else None
    if parent is None:
        yard.jobs.cancel(child, yard.now_ms())
    elif parent.state is State.SUCCESS:
        unblock(yard, child)
    else:
        yard.jobs.wake_later(child, wake_for_wait(child.created_at_ms, yard.now_ms()))
