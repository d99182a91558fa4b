"""Processes of Lambda functions share their code, by MiniStack's own workers in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from chalicelib.local.emulator_code import share_code

CODE = """
def told(event, context):
    return [{version!r}, __file__]
"""
CONFIG = {
    "FunctionName": "tell",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:tell",
    "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
    "Handler": "tell.told",
    "Timeout": 10,
}


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MiniStack with shared code, and afterwards as it was."""
    monkeypatch.setattr(lambda_runtime, "zipfile", lambda_runtime.zipfile)
    monkeypatch.setattr(lambda_svc, "_DOCKER_EXTRACT_CACHE", str(tmp_path / "shared"))
    monkeypatch.setattr(lambda_svc, "_docker_extract_dirs", {})
    share_code()


@pytest.fixture
def workers() -> Iterator[list[Any]]:
    """Two processes of one version of the code, one of another."""
    made = [lambda_runtime.Worker("tell", CONFIG, archive(version)) for version in (1, 1, 2)]
    yield made
    lambda_runtime.kill_workers(made)


def archive(version: int) -> bytes:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as zipped:
        zipped.writestr("tell.py", CODE.format(version=version))
    return packed.getvalue()


def test_one_archive_is_unpacked_once_and_outlives_its_processes(workers: list[Any], tmp_path: Path) -> None:
    answers = [worker.invoke({}, "request") for worker in workers]
    assert [answer["result"][0] for answer in answers] == [1, 1, 2]
    first, second, other = (Path(answer["result"][1]).resolve().parent for answer in answers)
    assert first == second != other
    assert len(list((tmp_path / "shared").iterdir())) == 2
    workers[0].kill()
    assert not Path(answers[0]["result"][1]).exists()
    assert (second / "tell.py").exists()
    assert workers[1].invoke({}, "again")["result"] == answers[1]["result"]
