"""The commands about many jobs at once, against a stub of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chalicelib.cli import bulk
from chalicelib.cli.main import main
from tests.support.stub_service import StubService, stub_service

ID = "1767225600000-0123456789abcdef"
SINCE = "2030-01-01T02:00:00.000Z"
NO_FILTER = {"kind": None, "state": [], "type": None, "since": None}
PREVIEW = {
    "matches": 3,
    "byType": [{"kind": "task", "type": "resize", "count": 3}],
    "sentence": "This will retry 3 tasks of the type resize.",
}


def act(**more: Any) -> dict[str, Any]:
    given = {"matched": 3, "done": 0, "refused": 0, "changed": None, "named": None, "newestErrors": []}
    found = {"id": ID, "act": "retry", "state": "running", "by": "ops", "startedAt": SINCE, "endedAt": None}
    return {**found, "filter": {**NO_FILTER, "type": "resize"}, **given, **more}


DONE = act(state="done", done=2, refused=1, newestErrors=[{"id": "42", "error": "it is gone"}])


@pytest.fixture
def service() -> Iterator[StubService]:
    with stub_service() as stub:
        stub.answers[f"POST /api/bulk/{ID}/step"] = [(200, act(done=1)), (200, DONE)]
        yield stub


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(main, arguments, **more)


def test_it_says_what_it_will_do_asks_and_makes_the_steps(service: StubService) -> None:
    service.answers["POST /api/bulk"] = [(200, PREVIEW), (201, act())]
    told = run("bulk", "start", "retry", "--type", "resize", "--state", "failed", "--url", service.url, input="y\n")
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[:4] == [PREVIEW["sentence"], "KIND  TYPE    COUNT", "task  resize  3", "Do it? [y/N]: y"]
    assert lines[4:6] == ["1 done, 0 refused of 3", "2 done, 1 refused of 3"]
    assert "42: it is gone" in told.stderr
    wanted = {"act": "retry", "filter": {"type": "resize", "state": ["failed"]}}
    assert [asked.body for asked in service.asked[:2]] == [{**wanted, "dryRun": True}, wanted]


def test_nothing_is_done_without_a_yes(service: StubService) -> None:
    for arguments, answers in ((("--dry-run",), ""), ((), "n\n")):
        service.answers["POST /api/bulk"] = [(200, PREVIEW)]
        run("bulk", "start", "retry", "--all", *arguments, "--url", service.url, input=answers)
    assert [asked.body["dryRun"] for asked in service.asked] == [True, True]
    service.answers["POST /api/bulk"] = [(200, {**PREVIEW, "matches": 0})]
    assert "Do it?" not in run("bulk", "start", "retry", "--all", "--url", service.url).stdout


def test_named_jobs_and_json_for_programs(service: StubService) -> None:
    service.answers["POST /api/bulk"] = (201, act(named=2))
    given = ("bulk", "start", "delete", "--id", "1", "--id", "2", "--yes", "--json", "--url", service.url)
    assert json.loads(run(*given).stdout) == DONE
    assert service.asked[0].body == {"act": "delete", "ids": ["1", "2"]}
    started = run("bulk", "start", "delete", "--id", "1", "--yes", "--no-wait", "--json", "--url", service.url)
    assert json.loads(started.stdout) == act(named=2)


def test_how_many_that_are_named_are_in_no_state_for_it(service: StubService) -> None:
    service.answers["POST /api/bulk"] = (201, act(named=5, state="done"))
    named = ("--id", "1", "--id", "2", "--yes", "--url", service.url)
    assert re.search("unsuited +2", run("bulk", "start", "retry", *named).stdout, re.IGNORECASE)
    service.answers["POST /api/bulk"] = (201, act(named=3, state="done"))
    assert "unsuited" not in run("bulk", "start", "retry", *named).stdout.lower()


def test_what_others_have_changed_is_said(service: StubService) -> None:
    service.answers["POST /api/bulk"] = (201, act())
    service.answers[f"POST /api/bulk/{ID}/step"] = [(200, act(state="done", done=2, changed=1))]
    told = run("bulk", "start", "retry", "--all", "--yes", "--url", service.url).stdout
    assert "2 done, 0 refused, 1 changed meanwhile of 3" in told


def test_what_is_stopping_is_waited_for(service: StubService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    service.answers["POST /api/bulk"] = (201, act())
    stopping, stopped = act(state="stopping"), act(state="stopped", done=2)
    service.answers[f"POST /api/bulk/{ID}/step"] = [(200, stopping), (200, stopping), (200, stopped)]
    told = run("bulk", "start", "retry", "--all", "--yes", "--json", "--url", service.url).stdout
    assert json.loads(told) == stopped


def test_who_is_not_alone_waits(service: StubService, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    service.answers["POST /api/bulk"] = (201, act())
    service.answers[f"POST /api/bulk/{ID}/step"] = [(200, act()), (200, DONE)]
    assert run("bulk", "start", "retry", "--all", "--yes", "--url", service.url).exit_code == 0
    assert waited == [bulk.OTHERS_S]


@pytest.mark.parametrize(
    "wrong", [(), ("--all", "--type", "x"), ("--id", "1", "--all"), ("--all", "--json"), ("--state", "lost")]
)
def test_a_wrong_command_line(wrong: tuple[str, ...]) -> None:
    assert run("bulk", "start", "retry", *wrong).exit_code == 2


def test_how_acts_stand_and_what_became_of_jobs(service: StubService) -> None:
    named = act(filter=NO_FILTER, named=2)
    service.answers["GET /api/bulk"] = (200, {"items": [DONE, named, act(filter=NO_FILTER)]})
    rows = run("bulk", "list", "--url", service.url).stdout.splitlines()
    assert [re.split(" {2,}", row)[3] for row in rows] == ["OF", "type resize", "2 named", "all"]
    service.answers[f"GET /api/bulk/{ID}"] = (200, DONE)
    service.answers[f"POST /api/bulk/{ID}/stop"] = (200, act(state="stopped"))
    assert "type resize" in run("bulk", "show", ID, "--url", service.url).stdout
    assert "stopped" in run("bulk", "stop", ID, "--url", service.url).stdout
    first, second = {"id": "1", "ok": True, "error": None}, {"id": "2", "ok": False, "error": "no"}
    pages = [(200, {"items": [first], "nextCursor": "8"}), (200, {"items": [second], "nextCursor": None})]
    service.answers[f"GET /api/bulk/{ID}/result"] = pages
    assert json.loads(run("bulk", "result", ID, "--json", "--url", service.url).stdout) == [first, second]


def test_failures_that_are_alike(service: StubService) -> None:
    group = {"fingerprint": "012d413bc0b7", "type": "resize", "count": 3, "total": 9, "error": "no codec"}
    answer = {"groups": [{**group, "firstSeenAt": SINCE, "lastSeenAt": SINCE}], "leftOut": 4}
    service.answers["GET /api/failures"] = (200, answer)
    lines = run("failures", "--type", "resize", "--url", service.url).stdout.splitlines()
    assert lines[1].split() == ["012d413bc0b7", "resize", "3", "9", SINCE, SINCE, "no", "codec"]
    assert lines[2] == "and 4 groups more"
    assert service.asked[0].query == {"type": ["resize"]}
