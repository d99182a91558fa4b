"""The command around the emulators: what it runs the tests with, what it answers, what it leaves behind."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import __main__ as command
from tests.emulators import servers
from tests.emulators.errors import Missing
from tests.emulators.install import Installed
from tests.emulators.servers import Server
from tests.emulators.test_servers import stub

CHECKS = """
import os

def test_localstack_environment():
    assert os.environ["LOCALSTACK_HOST"] == os.environ["EXPECTED_HOST"]
    assert os.environ["TASKYARD_TEST_DYNAMODB_LOCAL_URL"].startswith("http://127.0.0.1:")
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL", "TASKYARD_STAGE", "USE_SSL"} & os.environ.keys()

def test_moto_is_not_chosen():
    assert False

def test_dynamodb_local_is_chosen(request):
    assert request.config.getoption("numprocesses") == 0, "the arguments reach pytest"
"""
FAILS = "def test_localstack_fails(): assert False"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command makes its folder; the stubs stand in for the emulators."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setattr(command, "install", lambda *_: Installed(Path("python"), Path("jar"), Path("java")))
    monkeypatch.setattr(servers, "localstack", lambda _, folder: named_stub(folder, "one"))
    monkeypatch.setattr(servers, "dynamodb_local", lambda _, folder: named_stub(folder, "two"))
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)


def named_stub(folder: Path, name: str) -> Server:
    return replace(stub(folder), name=name)


def given_tests(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    file = folder / "test_made_up.py"
    file.write_text(program)
    monkeypatch.setattr(command, "TESTS", (str(file),))


def test_the_tests_are_told_where_both_are_and_nothing_else_of_the_shell(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given_tests(monkeypatch, tmp_path, CHECKS)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "TASKYARD_STAGE", "USE_SSL"):
        monkeypatch.setenv(name, "1")
    started: list[str] = []
    variables = command._variables

    def with_what_to_expect(localstack: Server, dynamodb_local: Server) -> dict[str, str]:
        started.append(localstack.url)
        host = localstack.url.removeprefix("http://")
        return {**variables(localstack, dynamodb_local), "EXPECTED_HOST": host}

    monkeypatch.setattr(command, "_variables", with_what_to_expect)

    assert command.main(["-n", "0", "-p", "no:cacheprovider"]) == 0

    said = capsys.readouterr().err
    assert f"one answers at {started[0]}" in said
    assert "pytest ended with 0; " in said
    assert list(temporary.iterdir()) == []


def test_the_code_is_pytests_and_the_logs_stay_when_a_test_fails(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_tests(monkeypatch, tmp_path, FAILS)

    assert command.main(["-n", "0", "-p", "no:cacheprovider"]) == 1

    (folder,) = temporary.iterdir()
    assert sorted(entry.name for entry in folder.iterdir()) == ["one.log", "two.log"]


def test_what_is_missing_is_told_with_a_code_of_its_own(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing_here(*_: Any) -> Installed:
        raise Missing("no Java was found", remedy="install one")

    monkeypatch.setattr(command, "install", nothing_here)

    assert command.main([]) == os.EX_UNAVAILABLE
    assert capsys.readouterr().err == "no Java was found; install one\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_and_leaves_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def interrupted(*_: Any) -> int:
        os.kill(os.getpid(), number)
        signal.pause()
        return 0

    monkeypatch.setattr(command, "_test", interrupted)

    with pytest.raises(SystemExit) as ended:
        command.main([])

    assert ended.value.code == code
    assert list(temporary.iterdir()) == []


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m tests.emulators [-h] [--keep]")
    assert "All other arguments are pytest's." in said
