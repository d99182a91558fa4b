"""The commands about flow control, against a stub of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chalicelib.cli.main import main
from tests.support.stub_service import StubService, stub_service

SINCE = "2030-01-01T02:00:00.000Z"
SETTING = {
    "type": "resize", "topic": None, "key": "c 7", "concurrency": 2, "rate": None, "order": None, "unique": None,
    "debounce": None, "since": SINCE, "by": "ops", "version": "0123456789abcdef",
}  # fmt: skip
RATE = {"count": 10, "perSeconds": 60, "burst": 5}
DECLARED = {
    "type": None,
    "topic": "news",
    "concurrency": None,
    "rate": None,
    "key": "input.k",
    "perKey": {"concurrency": 1, "rate": {**RATE, "burst": 1}},
    "order": "block",
    "unique": {"until": "end", "forS": None, "by": None},
    "debounce": None,
}
TARGET = {"type": "resize", "topic": None, "key": "c 7"}


@pytest.fixture
def service() -> Iterator[StubService]:
    with stub_service() as stub:
        yield stub


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_warning_is_shown(service: StubService) -> None:
    setting = {**SETTING, "warning": "nobody knows it"}
    service.answers["PUT /api/flow"] = (200, setting)
    assert run("flow", "set", "resize", "--concurrency", "2", "--url", service.url).stdout.splitlines()[-1] == (
        "warning      nobody knows it"
    )
    service.answers["GET /api/flow"] = (200, {"set": [setting], "declared": [], "paused": []})
    assert "  warning: nobody knows it  " in run("flow", "list", "--url", service.url).stdout


def test_list_shows_what_is_set_declared_and_paused(service: StubService) -> None:
    paused = {**TARGET, "since": SINCE, "by": "ops", "resuming": False}
    others = {**SETTING, "key": None, "concurrency": None, "order": "off", "by": None}
    debounced = {**others, "unique": "off", "debounce": {"waitS": 5, "latestS": 60.5, "by": None}}
    unique = {**others, "unique": {"until": None, "forS": 60, "by": "input.k"}}
    answer = {"set": [SETTING, debounced, unique], "declared": [DECLARED], "paused": [paused]}
    service.answers["GET /api/flow"] = (200, answer)
    assert run("flow", "list", "--url", service.url).stdout.splitlines() == [
        "set:",
        f"TYPE    TOPIC  KEY  CONCURRENCY  RATE  {'MORE':54}  {'SINCE':24}  BY",
        f"resize         c 7  2                  {'':54}  {SINCE}  ops",
        f"resize                                 order: off; unique: off; debounce: 5 s, at most 60.5 s  {SINCE}",
        f"resize                                 {'order: off; unique: 60 s, by input.k':54}  {SINCE}",
        "declared:",
        "TYPE  TOPIC  KEY      CONCURRENCY  RATE  MORE",
        "      news   input.k                     "
        "per key: 1; rate per key: 10 in 60 s; order: block; unique: until end",
        "paused keys:",
        "TYPE    TOPIC  KEY  SINCE                     BY",
        "resize         c 7  2030-01-01T02:00:00.000Z  ops",
    ]
    assert json.loads(run("flow", "list", "--json", "--url", service.url).stdout) == answer


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        (["--rate", "10/s"], {"count": 10, "perSeconds": 1}),
        (["--rate", "100/m", "--burst", "5"], {"count": 100, "perSeconds": 60, "burst": 5}),
        (["--rate", "5/30s"], {"count": 5, "perSeconds": 30}),
        (["--rate", "1/1.5h"], {"count": 1, "perSeconds": 5_400}),
        (["--rate", "1/2"], {"count": 1, "perSeconds": 2}),
    ],
)
def test_set_sends_a_rate(service: StubService, told: list[str], rate: dict[str, Any]) -> None:
    service.answers["PUT /api/flow"] = (200, {**SETTING, "rate": RATE})
    result = run("flow", "set", "--topic", "news", *told, "--url", service.url)
    assert (result.exit_code, service.asked[0].body) == (0, {"topic": "news", "rate": rate})
    assert "10 in 60 s, 5 at once" in result.stdout


def test_set_sends_a_concurrency(service: StubService) -> None:
    service.answers["PUT /api/flow"] = (200, SETTING)
    assert run("flow", "set", "resize", "--key", "c 7", "--concurrency", "2", "--url", service.url).exit_code == 0
    assert service.asked[0].body == {"type": "resize", "key": "c 7", "concurrency": 2}


def test_what_was_seen_alone_is_changed_if_asked(service: StubService) -> None:
    service.answers |= {"PUT /api/flow": (200, SETTING), "DELETE /api/flow": (200, TARGET)}
    seen = ("--if-version", "none", "--url", service.url)
    assert run("flow", "set", "resize", "--concurrency", "2", *seen).exit_code == 0
    assert run("flow", "unset", "resize", *seen).exit_code == 0
    assert service.asked[0].body == {"type": "resize", "concurrency": 2, "ifVersion": "none"}
    assert service.asked[1].query == {"type": ["resize"], "ifVersion": ["none"]}


@pytest.mark.parametrize(
    ("told", "control"),
    [
        (["--order", "step aside"], {"order": "step aside"}),
        (["--order", "off", "--unique", "off"], {"order": "off", "unique": "off"}),
        (["--unique", "start"], {"unique": {"until": "start"}}),
        (["--unique", "time", "--unique-for", "60"], {"unique": {"until": None, "forS": 60}}),
        (["--unique", "end", "--unique-by", "input.page"], {"unique": {"until": "end", "by": "input.page"}}),
        (["--debounce", "off"], {"debounce": "off"}),
        (
            ["--debounce", "5", "--debounce-latest", "60", "--debounce-by", "input.page"],
            {"debounce": {"waitS": 5, "latestS": 60, "by": "input.page"}},
        ),
    ],
)
def test_set_sends_what_is_decided_at_acceptance(
    service: StubService, told: list[str], control: dict[str, Any]
) -> None:
    service.answers["PUT /api/flow"] = (200, SETTING)
    assert run("flow", "set", "resize", *told, "--url", service.url).exit_code == 0
    assert service.asked[0].body == {"type": "resize", **control}


@pytest.mark.parametrize(
    "told",
    [
        ["--rate", "10"], ["--rate", "x/s"], ["--rate", "10/"], ["--burst", "2"], ["--unique-for", "2"],
        ["--unique", "off", "--unique-by", "input.a"], ["--debounce", "soon"], ["--debounce-latest", "5"],
    ],
)  # fmt: skip
def test_a_control_that_is_none_is_a_wrong_command_line(told: list[str]) -> None:
    assert run("flow", "set", "resize", *told).exit_code == 2


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (["--burst", "2"], "--burst: only with --rate, which is not given"),
        (["--unique-for", "2"], "--unique-for: only with --unique, which is not given"),
        (["--unique-for", "2", "--unique-by", "input.a", "--unique", "off"],
         "--unique-for and --unique-by: only with --unique, which is off"),
        (["--debounce-latest", "5"], "--debounce-latest: only with --debounce, which is not given"),
        (["--unique", "time"], "--unique time says nothing without --unique-for SECONDS"),
        (["--unique", "time", "--unique-by", "input.a"], "--unique time says nothing without --unique-for SECONDS"),
    ],
)  # fmt: skip
def test_an_option_that_misses_another_is_told_by_its_name(told: list[str], error: str) -> None:
    assert error in run("flow", "set", "resize", *told).stderr


def test_unset_names_what_is_as_declared(service: StubService) -> None:
    service.answers["DELETE /api/flow"] = (200, TARGET)
    result = run("flow", "unset", "resize", "--key", "c 7", "--url", service.url)
    assert (result.stdout, service.asked[0].query) == (
        "resize, key c 7: as declared\n",
        {"type": ["resize"], "key": ["c 7"]},
    )


def test_show_says_who_runs_and_who_waits(service: StubService) -> None:
    waiting = {what: {"count": n, "isExact": n < 100} for n, what in ((100, "slot"), (0, "token"), (3, "turn"))}
    service.answers["GET /api/flow/standing"] = (
        200,
        {
            **TARGET,
            "concurrency": 2,
            "rate": None,
            "running": 2,
            "holders": ["4", "5"],
            "blockedBy": "5",
            "waiting": waiting,
            "nextStart": None,
        },
    )
    assert run("flow", "show", "resize", "--key", "c 7", "--url", service.url).stdout.splitlines() == [
        "type                 resize",
        "key                  c 7",
        "concurrency          2",
        "running              2",
        "holders              4 5",
        "blocked by           5",
        "waiting for a slot   at least 100",
        "waiting for a token  0",
        "waiting for a turn   3",
    ]


def test_a_key_is_paused_and_resumed(service: StubService) -> None:
    service.answers |= {"POST /api/flow/pause": (200, TARGET), "POST /api/flow/resume": (200, {"sent": 4})}
    paused = run("flow", "pause", "resize", "--key", "c 7", "--url", service.url)
    resumed = run("flow", "resume", "resize", "--key", "c 7", "--url", service.url)
    assert paused.stdout == "resize, key c 7 is paused; workers notice within 5 seconds\n"
    assert resumed.stdout == "resize, key c 7 is resumed; jobs sent: 4\n"
    assert [asked.body for asked in service.asked] == [{"type": "resize", "key": "c 7"}] * 2
    assert run("flow", "pause", "resize", "--url", service.url).exit_code == 2


def test_a_job_is_passed_over(service: StubService) -> None:
    service.answers["POST /api/flow/pass"] = (200, {"id": "7", "state": "failed"})
    assert run("flow", "pass", "7", "--url", service.url).stdout == "7 is passed over\n"
    assert service.asked[0].body == {"id": "7"}
