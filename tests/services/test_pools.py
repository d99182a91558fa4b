"""Pools and pauses in Python, over HTTP and by the command line: the documented calls, shapes and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

from chalicelib.api import pools as routes
from chalicelib.cli.pause import pause as pause_command
from chalicelib.cli.pause import paused as paused_command
from chalicelib.cli.pause import resume as resume_command
from chalicelib.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from chalicelib.core.job_documents import from_envelope
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.lifecycle import delete
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker.claim import claim
from chalicelib.services import installation, pauses
from chalicelib.services.pools import pool
from chalicelib.store.transitions.running import Lease
from tests.support.edge import app_of, call
from tests.support.pool_handlers.scripts import witness
from tests.support.yards import Bench, moto_bench

FIVE, LONE = Lane("pools.five", Band.NORMAL), Lane("pools.lone", Band.NORMAL)


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    registry = Registry.of_packages([import_module("tests.support.pool_handlers")])
    functions = [handler.function for handler in registry.tasks.values()]
    with moto_bench(functions) as made:
        for lane in (FIVE, LONE):
            made.yard.transport.open_lane(lane)
        yield made


@pytest.fixture
def bench(ground: Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    job_details = tmp_path_factory.mktemp("notes")
    (job_details / "go").touch()
    monkeypatch.setenv(witness.NOTES, str(job_details))
    with installation.using(ground.yard):
        yield ground


def numbered(start: int, monkeypatch: pytest.MonkeyPatch, *more: Any) -> None:
    """What event.next answers: numbers from ``start`` on, or the ones given."""
    answers = iter(more or range(start, start + 100))
    found = installation.yard().handlers.pools["five"]
    monkeypatch.setitem(found.events, "next", lambda: next(answers))  # type: ignore[arg-type]


def test_a_job_from_add_to_its_response(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(101, monkeypatch)
    five = pool("five")
    assert [five.add("good"), five.add("bad")] == [101, 102]
    waiting = {"id": 101, "status": "WAITING", "current": 0, "total": 0, "message": "", "response": None}
    assert five.get(101) == waiting
    for _ in range(2):
        bench.work(FIVE)
        bench.clock.move(1_000)
    half = {"current": 1, "total": 2, "message": "half of good"}
    assert five.get(101) == {"id": 101, "status": "SUCCESS", **half, "response": {"word": "good"}}
    assert five.get(102)["status"] == "WAITING", "one attempt is left"
    job_id = bench.yard.directory.aliased("pools.five", 102)
    assert job_id is not None
    lifecycle.cancel(bench.yard, job_id, Kind.TASK)
    assert (five.get(102)["status"], five.get(102)["response"]) == ("FAILURE", "canceled")
    numbered(0, monkeypatch, 101)
    with pytest.raises(Conflict, match=r"another job of the type pools\.five has this id"):
        five.add("twin")
    delete(bench.yard, job_id, Kind.TASK)
    with pytest.raises(NotFound, match="the pool five has no job 102"):
        five.get(102)
    numbered(0, monkeypatch, 102)
    assert five.add("heir") == 102, "the number of a removed job is free"
    bench.work(FIVE)
    assert five.get(102)["response"] == {"word": "heir"}


def test_a_full_pool_answers_zero(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(201, monkeypatch)
    assert [pool("five").add(str(n)) for n in range(6)] == [201, 202, 203, 204, 205, 0]
    bench.work(FIVE)
    assert {pool("five").get(number)["status"] for number in range(201, 206)} == {"SUCCESS"}
    assert bench.yard.concurrency.of("pools.five").unfinished == 0


def test_what_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match=r"there is no pool 'six'.*five, lone"):
        pool("six")
    lone = pool("lone")
    number = lone.add("/tmp")  # noqa: S108  # nothing is written: it is canceled
    assert lone.get(number)["id"] == number == bench.job(number).id
    with pytest.raises(Conflict, match="expected RUNNING; got WAITING"):
        lone.progress(number, 1, 2)
    with pytest.raises(InvalidInput, match="a finite number"):
        lone.progress(number, float("nan"), 2)
    with pytest.raises(NotFound):
        pool("five").get(number)
    lifecycle.cancel(bench.yard, number, Kind.TASK)
    for answer, error in [("x", InvalidInput), (0, InvalidInput), (True, InvalidInput)]:
        numbered(0, monkeypatch, answer)
        with pytest.raises(error, match=r"a whole number from 1 to 2\^53 - 1"):
            pool("five").add()
    monkeypatch.setitem(bench.yard.handlers.pools["five"].events, "next", lambda: 1 / 0)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match=r"event\.next of the pool five failed"):
        pool("five").add()


def test_the_same_over_http(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(301, monkeypatch)
    app = app_of(routes.router, provider=lambda: bench.yard)

    def post(name: str, what: str, body: Any) -> tuple[int, Any]:
        reply = call(app, "POST", f"/pools/{{name}}/{what}", path={"name": name}, body=json.dumps(body))
        return reply.status, reply.json if reply.status != 204 else None

    def get(name: str, job_id: str) -> tuple[int, Any]:
        reply = call(app, "GET", "/pools/{name}/jobs/{id}", path={"name": name, "id": job_id})
        return reply.status, reply.json

    assert post("five", "add", {"args": ["good"]}) == (200, {"id": 301})
    assert post("five", "progress", {"id": 301, "current": 1, "total": 2})[0] == 409
    shown = {"id": 301, "status": "WAITING", "current": 0, "total": 0, "message": "", "response": None}
    assert get("five", "301") == (200, shown)
    (envelope,) = [
        job
        for message in bench.receive(FIVE)
        if (job := from_envelope(message.text)).id == bench.yard.directory.aliased("pools.five", 301)
    ]
    claim(bench.yard, envelope, Lease("lease", bench.clock() + 60_000, "w"))
    assert post("five", "progress", {"id": "301", "current": 1, "total": 2.5, "message": "so far"}) == (204, None)
    so_far = call(app, "GET", "/pools/{name}/jobs/{id}", path={"name": "five", "id": "301"})
    assert '"current":1,"total":2.5,"message":"so far"' in so_far.text
    assert so_far.json["status"] == "RUNNING"
    for name, job_id in (("six", "1"), ("five", "999"), ("five", "none")):
        assert get(name, job_id)[0] == 404
    assert post("five", "add", {"tenant": "acme", "flowKey": 7}) == (200, {"id": 302})
    assert pool("five").add(tenant="b", flow_key="c") == 303
    made = [bench.job(bench.yard.directory.aliased("pools.five", number) or 0) for number in (301, 302, 303)]
    assert [(job.tenant, job.flow_key) for job in made] == [(None, None), ("acme", "7"), ("b", "c")]
    assert post("six", "add", {})[0] == 404
    assert post("five", "add", {"args": "text"})[0] == 422
    assert [post("five", "add", {})[1] for _ in range(3)][-1] == {"id": 0}
    assert bench.yard.concurrency.of("pools.five").unfinished == 5
    for number in range(301, 306):
        found = bench.yard.directory.aliased("pools.five", number)
        assert found is not None
        lifecycle.cancel(bench.yard, found, Kind.TASK)


def test_a_pool_is_paused_and_resumed_by_services_and_commands(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.cli.keys.choose_installation", lambda *_: None)
    pauses.pause("pools.lone")
    bench.clock.move(1)
    command = CliRunner().invoke(pause_command, ["--queue", "orders"])
    assert (command.exit_code, command.stdout) == (0, "orders is paused; workers notice within 5 seconds\n")
    assert [(found.type, found.queue, found.resuming) for found in pauses.paused()] == [
        ("pools.lone", None, False),
        (None, "orders", False),
    ]
    number = pool("lone").add("/tmp")  # noqa: S108  # as above
    bench.work(LONE)
    assert pool("lone").get(number)["status"] == "WAITING"
    listed = CliRunner().invoke(paused_command, ["--json"])
    assert [row["state"] for row in json.loads(listed.stdout)] == ["paused", "paused"]
    lifecycle.cancel(bench.yard, number, Kind.TASK)
    resumed = CliRunner().invoke(resume_command, ["pools.lone", "--json"])
    assert json.loads(resumed.stdout) == {"resumed": "pools.lone", "sent": 0}  # what was canceled is not sent
    assert pauses.resume(queue="orders") == 0
    assert pauses.paused() == []
    again = CliRunner().invoke(resume_command, ["pools.lone"])
    assert (again.exit_code, "this is not paused" in again.stderr) == (1, True)
    for wrong in ([], ["t", "--queue", "q"]):
        refused = CliRunner().invoke(pause_command, wrong)
        assert (refused.exit_code, "either a type or a queue" in refused.stderr) == (2, True)
