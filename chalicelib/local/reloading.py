"""Seeing that handlers were saved: the folders of the handler packages, with their pool files, are watched."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, DefaultFilter, watch

from chalicelib.local.background import Background

SUFFIXES = frozenset({".py", ".json", ".yao"})
DEBOUNCE_MS = 200  # how long further saves are waited for, at most
STEP_MS = 30  # of silence, after which no further save is waited for


class Reloader(Background):
    """Calls ``reload`` in a thread of its own whenever something below ``paths`` was saved, one call at a time."""

    def __init__(self, paths: Iterable[Path], reload: Callable[[], None]) -> None:
        self._paths = list(paths)
        self._reload = reload
        self._stopping = threading.Event()
        super().__init__("reloader")

    def stop(self) -> None:
        """Watch no more; a reload that is under way is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        saves = watch(
            *self._paths, watch_filter=_Sources(), debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=self._stopping
        )
        for _ in saves:
            self._reload()


class _Sources(DefaultFilter):
    """What handlers and pools are written in; neither byte code nor what an editor keeps beside a file."""

    def __call__(self, change: Change, path: str) -> bool:
        is_new_folder = change is Change.added and Path(path).is_dir()  # whose first files may come before its watch
        return (Path(path).suffix in SUFFIXES or is_new_folder) and super().__call__(change, path)


def handler_folders(packages: Iterable[str]) -> list[Path]:
    """Where the sources of packages, or of single modules, lie; those that cannot be found are left out."""
    found: list[Path] = []
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            found += map(Path, spec.submodule_search_locations)
        elif spec is not None and spec.origin:
            found.append(Path(spec.origin).parent)  # editors put a new file in the place of the old one
    return list(dict.fromkeys(found))
