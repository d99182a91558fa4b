"""What a command sets before anything reads it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from infra.deploy.target import work_from_here

INLINE = '[{"topic": "a", "direction": "in"}]'


def test_files_that_settings_name_are_found_by_children_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topics.json").write_text(INLINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "lib")
    for variables, expected in (
        (("127.0.0.1:9092", "topics.json", ""), ("127.0.0.1:9092", str(tmp_path / "topics.json"), "")),
        (("k.json", INLINE, "{}"), ("k.json", INLINE, "{}")),  # one that is not there is told as it was given
    ):
        for name, value in zip(("", "_TOPICS", "_SOURCE"), variables, strict=True):
            monkeypatch.setenv(f"TASKYARD_KAFKA{name}", value)
        work_from_here()
        assert tuple(os.environ[f"TASKYARD_KAFKA{name}"] for name in ("", "_TOPICS", "_SOURCE")) == expected
    assert os.environ["PYTHONPATH"].split(os.pathsep)[-1] == str(tmp_path / "lib")
    assert sys.path[-1] == str(tmp_path)
