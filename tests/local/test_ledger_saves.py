"""How a process learns how far the ledger is saved that it accepts records into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.core.errors import Unavailable
from chalicelib.engine.bridge.commits import DURABLE, durable
from chalicelib.local.emulator import Emulator
from chalicelib.local.emulator_saving import STATUS_PATH
from chalicelib.local.ledger_saves import EmulatorSaves, saves_here
from infra.deploy.target import ENDPOINT_VARIABLE
from tests.support.endpoint import client
from tests.support.stub_service import stub_service
from tests.support.waiting import until


def address(endpoint_url: str) -> str:
    return endpoint_url.removeprefix("http://")


def write(emulator: Emulator, name: str) -> None:
    client("sqs", emulator.endpoint_url).create_queue(QueueName=name)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator.start(tmp_path / "data") as running:
        yield running


def test_what_is_written_is_counted_by_the_time_it_is_answered_and_saved_on_demand(emulator: Emulator) -> None:
    saves = EmulatorSaves(address(emulator.endpoint_url))
    before = saves()
    write(emulator, "one")
    written = saves()
    assert (written.run, written.writes) == (before.run, before.writes + 1)
    assert saves(save_now=True) == (before.run, written.writes, written.writes)


def test_what_is_written_is_saved_before_long(emulator: Emulator) -> None:
    saves = EmulatorSaves(address(emulator.endpoint_url))
    write(emulator, "one")
    writes = saves().writes
    until(lambda: saves().saved_writes >= writes)


def test_what_cannot_be_saved_does_not_count(emulator: Emulator, tmp_path: Path) -> None:
    saves = EmulatorSaves(address(emulator.endpoint_url))
    state = tmp_path / "data" / "state"
    saved = saves(save_now=True)
    state.rename(state.with_name("away"))
    state.write_text("a file where the folder was")
    write(emulator, "one")
    assert saves(save_now=True) == (saved.run, saved.writes + 1, saved.writes)
    state.unlink()
    state.with_name("away").rename(state)
    assert saves(save_now=True) == (saved.run, saved.writes + 1, saved.writes + 1)


def test_each_start_is_another_run(tmp_path: Path) -> None:
    runs = set()
    for _ in range(2):
        with Emulator.start(tmp_path / "data") as running:
            runs.add(EmulatorSaves(address(running.endpoint_url))().run)
    assert len(runs) == 2


def test_one_that_keeps_nothing_is_asked_once() -> None:
    with Emulator.start() as running:
        saves = EmulatorSaves(address(running.endpoint_url))
        assert saves() is DURABLE
    assert saves(save_now=True) is DURABLE  # nothing listens any more


@pytest.mark.parametrize("answer", [(404, {"message": "no such path"}), (200, b"<html>")])
def test_so_is_any_other_program(answer: tuple[int, object], monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_service() as other:
        other.answers[f"GET {STATUS_PATH}"] = answer
        monkeypatch.setenv(ENDPOINT_VARIABLE, other.url)
        saves = saves_here()
        assert (saves(), saves(), len(other.asked)) == (DURABLE, DURABLE, 1)


def test_one_that_does_not_answer_may_be_asked_again() -> None:
    with stub_service() as gone:
        pass
    saves = EmulatorSaves(address(gone.url))
    for _ in range(2):
        with pytest.raises(Unavailable, match="the emulator does not answer"):
            saves()


@pytest.mark.parametrize("endpoint", ["", "https://dynamodb.eu-central-1.amazonaws.com", "http://localstack:4566"])
def test_what_is_not_on_this_machine_is_not_asked(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, endpoint)
    assert saves_here() is durable
