"""kue's numbers, and where its routes may be; each in an installation of its own."""

from __future__ import annotations

import pytest

from tests.support.kue import created, project, put
from tests.support.service import service


def test_statistics() -> None:
    with service() as own:
        project(own)
        assert own.get("/stats").json == {
            "inactiveCount": 0,
            "completeCount": 0,
            "activeCount": 0,
            "failedCount": 0,
            "delayedCount": 0,
            "workTime": None,
        }
        for state in ("active", "complete", "failed", "failed"):
            put(own, f"/job/{created(own, 'email')}/state/{state}")
        created(own, "email", delay=60_000)
        created(own, "video")
        project(own)
        assert own.get("/stats").json == {
            "inactiveCount": 1,
            "completeCount": 1,
            "activeCount": 1,
            "failedCount": 2,
            "delayedCount": 1,
            "workTime": 0,
        }
        assert list(own.get("/stats").json) == [
            "inactiveCount", "completeCount", "activeCount", "failedCount", "delayedCount", "workTime",
        ]  # fmt: skip
        counts = {state: own.get(f"/jobs/email/{state}/stats").json for state in ("inactive", "delayed", "failed", "x")}
        assert counts == {"inactive": {"count": 0}, "delayed": {"count": 1}, "failed": {"count": 2}, "x": {"count": 0}}
        assert own.get("/jobs/nobody/failed/stats").json == {"count": 0}
        assert own.get("/job/types").json == ["email", "video"]
        own.clock.move(60_000)
        assert own.get("/stats").json["delayedCount"] == 0


@pytest.mark.parametrize("prefix", ["/kue", "/admin/kue-api"])
def test_behind_a_prefix(prefix: str) -> None:
    with service(kue_prefix=prefix) as behind:
        assert behind.post(f"{prefix}/job", {"type": "email"}).status == 200
        assert len(behind.get(f"{prefix}/jobs/0..9").json) == 1
        assert behind.get("/jobs/0..9").status in (403, 404)


def test_where_search_is_off_it_says_so() -> None:
    with service(search="off") as off:
        reply = off.get("/job/search", {"q": "avi"})
        assert (reply.status, "search is off" in reply.json["error"]) == (200, True)
