"""Tasks and messages in one list in Python, and what is done about them."""

from __future__ import annotations

import pytest

from chalicelib import services
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.states import State
from chalicelib.services import jobs, messages, tasks
from tests.support.yards import Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on


def test_they_are_listed_shown_and_acted_on(bench: Bench, topic: str) -> None:
    task = tasks.create(topic, target_id="1", target_type="t", input={"n": 1})
    bench.clock.move(1)
    message = messages.publish(topic, {})
    page = jobs.list(type=topic, per_page=1)
    assert ([row.id for row in page], len(page), page.complete) == ([message.id], 1, True)
    following = jobs.list(type=topic, per_page=1, cursor=page.next_cursor)
    assert [(row.id, row.summary) for row in following] == [(task.id, '{"n":1}')]
    assert jobs.list(type=topic, kind="task", states=["failed"]).items == []
    done = jobs.act(task.id, "complete", by="ann", status="failed", output="no paper")
    assert done.row is not None
    assert (done.row.state, done.row.error) == (State.FAILED, "no paper")
    shown = jobs.detail(task.id)
    assert (shown.completed_by, shown.acts) == ("ann", ("retry", "replay", "delete", "rerun"))
    made = jobs.act(done.row, "rerun").made
    assert made is not None
    assert tasks.detail(made).input == {"n": 1}


def test_what_cannot_be_is_refused(topic: str) -> None:
    message = messages.publish(topic, {})
    with pytest.raises(Conflict, match="this message is pending: retry does not apply"):
        jobs.act(message.id, "retry")
    with pytest.raises(NotFound):
        jobs.detail(999_999)
    for wrong in (
        lambda: jobs.act(message.id, "explode"),
        lambda: jobs.act(message.id, "complete", status="pending"),
        lambda: jobs.list(order="size"),
        lambda: jobs.list(states=["lost"]),
        lambda: jobs.list(cursor="none of it"),
        lambda: services.overview("2h"),
    ):
        with pytest.raises(InvalidInput):
            wrong()


def test_how_all_is_doing(topic: str) -> None:
    messages.publish(topic, {})
    seen = services.overview()
    assert (len(seen.series.starts), seen.series.step_ms, seen.window.accepted) == (60, 60_000, 0)  # not counted yet
