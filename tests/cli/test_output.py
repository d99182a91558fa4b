"""How tables look: in a pipe a row is a line, a terminal's width folds the widest column."""

from __future__ import annotations

import io
import shutil
import sys
from os import terminal_size

import pytest

from chalicelib.cli.output import show_record, show_rows

ROWS = [{"id": 7, "type": "订单", "error": "no such order: 1234"}, {"id": 12, "type": "mail", "status": "success"}]
COLUMNS = {"ID": "id", "TYPE": "type", "STATUS": "status", "ERROR": "error"}


class Terminal(io.StringIO):
    """Standard output as a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in a test, as pytest has a standard output of its own for each phase of it."""
    screen = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: terminal_size((33, 20)))
    return screen


def test_in_a_pipe_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, COLUMNS)
    assert capsys.readouterr().out.splitlines() == [
        "ID  TYPE  STATUS   ERROR",
        "7   订单           no such order: 1234",
        "12  mail  success",
    ]


def test_no_payload_makes_a_line_or_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_record({"error": "a\nb\x1b[2J", "cause": None, "input": {"n": 1}})
    assert capsys.readouterr().out.splitlines() == [r"error  a\nb\x1b[2J", 'input  {"n": 1}']


def test_on_a_terminal_the_widest_column_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    show_rows(ROWS, COLUMNS)
    assert [line.rstrip() for line in screen.getvalue().splitlines()] == [
        "ID  TYPE  STATUS   ERROR",
        "7   订单           no such order:",
        "                   1234",
        "12  mail  success",
    ]


def test_on_a_terminal_states_have_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    show_record({"status": "failed"})
    assert screen.getvalue() == "\x1b[2mstatus\x1b[0m  \x1b[31mfailed\x1b[0m\n"
