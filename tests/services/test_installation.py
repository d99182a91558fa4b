"""Which installation the services act on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from unittest.mock import patch

import pytest

from chalicelib.engine.yard import Yard
from chalicelib.services import installation, messages, queues
from tests.support.yards import Bench, forget_clients


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    installation.use(None)
    yield
    installation.use(None)


def test_the_nearest_word_counts(ground: Bench) -> None:
    first, second = object(), object()
    installation.use(ground.yard)
    assert installation.yard() is ground.yard
    with installation.using(first):  # type: ignore[arg-type]
        assert installation.yard() is first
        with installation.using(second):  # type: ignore[arg-type]
            assert installation.yard() is second
        assert installation.yard() is first
    assert installation.yard() is ground.yard


def test_a_thread_sees_the_processs_own_unless_it_runs_in_a_copy_of_the_context(ground: Bench) -> None:
    seen: list[object] = []
    other = object()
    installation.use(ground.yard)
    with installation.using(other):  # type: ignore[arg-type]
        context = copy_context()
        for target in (lambda: seen.append(installation.yard()), lambda: context.run(_note, seen)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [ground.yard, other]


def test_without_any_word_the_environment_describes_it_once(ground: Bench, topic: str) -> None:
    made: list[Yard] = []

    def build(_: object) -> Yard:
        made.append(ground.yard)
        return ground.yard

    with patch.object(installation, "build", build):
        messages.publish(topic, {})
        assert queues.depth(topic).depth == 1
    assert len(made) == 1


def test_without_credentials_the_way_to_them_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    forget_clients()
    with pytest.raises(installation.NoCredentials, match="set AWS_PROFILE"):
        messages.publish("t", {})
    forget_clients()


def _note(seen: list[object]) -> None:
    seen.append(installation.yard())
