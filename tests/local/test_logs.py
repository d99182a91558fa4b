"""What is shown of the children's words, and what is kept of them."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.local.logs import SHOWN_CHARS, Log, NoticeHandler


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def file() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(screen: io.StringIO, file: io.StringIO) -> Log:
    return Log(screen, file)


def kept(file: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def line(level: str, message: str, **more: Any) -> str:
    return json.dumps({"level": level, "message": message, **more})


def test_information_is_kept_and_not_shown(log: Log, screen: io.StringIO, file: io.StringIO) -> None:
    log.lines("worker-1", [line("INFO", "fine", job_id=7)])
    assert screen.getvalue() == ""
    assert kept(file) == [{"process": "worker-1", "level": "INFO", "message": "fine", "job_id": 7}]


def test_of_a_warning_the_gist_is_shown(log: Log, screen: io.StringIO) -> None:
    trace = "Traceback (most recent call last):\n  ...\nValueError: no such order"
    log.lines(
        "worker-1", [line("ERROR", "handler failed", job_id=7, handler="orders.keep", exception=trace, cold=True)]
    )
    assert screen.getvalue() == "worker-1: handler failed (job_id 7, handler orders.keep): ValueError: no such order\n"


@pytest.mark.parametrize("text", ["what a handler prints", '{"no": "log line"}', "{broken", '["list"]', ""])
def test_plain_lines_are_shown_as_they_are_and_kept_as_json(
    log: Log, screen: io.StringIO, file: io.StringIO, text: str
) -> None:
    log.lines("api", [text])
    assert screen.getvalue() == f"api: {text}\n"
    assert kept(file) == [{"process": "api", "message": text}]


def test_long_lines_are_shown_shortened(log: Log, screen: io.StringIO, file: io.StringIO) -> None:
    log.lines("api", ["x" * 10_000])
    assert len(screen.getvalue()) < SHOWN_CHARS + 20
    assert len(kept(file)[0]["message"]) == 10_000


def test_notices_are_shown_and_kept(log: Log, screen: io.StringIO, file: io.StringIO) -> None:
    record = logging.LogRecord("taskyard.queues", logging.WARNING, "", 0, "%s cannot be read", ("lane",), None)
    NoticeHandler(log).handle(record)
    assert screen.getvalue() == "up: lane cannot be read\n"
    assert kept(file)[0] | {"timestamp": ""} == {
        "process": "up",
        "level": "WARNING",
        "message": "lane cannot be read",
        "timestamp": "",
    }


def test_without_a_file_nothing_is_kept_and_without_a_screen_nothing_is_shown() -> None:
    Log(None, None).lines("api", [line("ERROR", "boom")])
    Log(None, None).notice("boom")


def test_no_line_can_be_forged(log: Log, screen: io.StringIO) -> None:
    log.lines("worker-1", [json.dumps({"level": "ERROR", "message": "failed", "error": "x\nup: all is well\r\x85"})])
    log.notice("a\nb")
    assert screen.getvalue().splitlines() == [
        r"worker-1: failed (error x\nup: all is well\r\x85)",
        r"up: a\nb",
    ]


def traceback_of(raise_it: Callable[[], None]) -> str:
    try:
        raise_it()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("nothing was raised")


def of_two_lines() -> None:
    raise ValueError("out of stock\nERROR another line")


def of_a_chain() -> None:
    try:
        of_two_lines()
    except ValueError as error:
        raise RuntimeError("no receipt") from error


def of_a_group() -> None:
    raise ExceptionGroup("both failed", [ValueError("a"), KeyError("b")])


@pytest.mark.parametrize(
    ("raise_it", "told"),
    [
        (of_two_lines, "ValueError: out of stock"),
        (of_a_chain, "RuntimeError: no receipt"),
        (of_a_group, "ExceptionGroup: both failed (2 sub-exceptions)"),
    ],
)
def test_what_was_raised_is_shown_in_one_line(
    log: Log, screen: io.StringIO, raise_it: Callable[[], None], told: str
) -> None:
    log.lines("worker-1", [line("ERROR", "handler failed", exception=traceback_of(raise_it))])
    assert screen.getvalue() == f"worker-1: handler failed: {told}\n"
