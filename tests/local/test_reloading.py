"""Seeing that handlers were saved."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.local.reloading import Reloader, handler_folders
from tests.support.waiting import DEADLINE_S, until


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[queue.SimpleQueue[str]]:
    """Gets a word for each reload; the folder is watched once it has got one."""
    words: queue.SimpleQueue[str] = queue.SimpleQueue()
    reloader = Reloader([tmp_path], lambda: words.put("reload"))
    reloader.start()

    def watched() -> bool:
        (tmp_path / "probe.py").write_text(str(id(object())))
        try:
            return words.get(timeout=0.5) == "reload"
        except queue.Empty:
            return False

    until(watched)
    yield words
    reloader.stop()
    until(lambda: not reloader.alive())


def drained(words: queue.SimpleQueue[str]) -> None:
    try:
        while True:
            words.get(timeout=1)
    except queue.Empty:
        return


@pytest.mark.parametrize("name", ["mail.py", "inner/mail.py", "pools/mail.json", "pools/mail.yao"])
def test_sources_and_pool_files_at_any_depth(tmp_path: Path, saved: queue.SimpleQueue[str], name: str) -> None:
    drained(saved)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x = 1")
    assert saved.get(timeout=DEADLINE_S) == "reload"


def test_nothing_else(tmp_path: Path, saved: queue.SimpleQueue[str]) -> None:
    drained(saved)
    for name in ("notes.txt", "mail.py.swp", "__pycache__/mail.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "mail.py").write_text("x = 1")
    assert saved.get(timeout=DEADLINE_S) == "reload"
    assert saved.empty()


def test_where_packages_and_modules_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "watched_package").mkdir()
    (tmp_path / "watched_package" / "__init__.py").touch()
    (tmp_path / "watched_module.py").touch()
    found = handler_folders(["watched_package", "watched_module", "watched_nowhere"])
    assert found == [tmp_path / "watched_package", tmp_path]
