"""What runs on this machine, as ``ps`` tells it, and what programs that tests start are given."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict


def clean_environment() -> dict[str, str]:
    """This process's environment without what other tests may have set, or what makes programs compile anew."""
    unwanted = ("AWS_", "TASKYARD_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended (a zombie has)."""
    return pid in _parents()


def descendants(pid: int) -> dict[int, str]:
    """The command lines of the processes below ``pid``, by their ids."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for child, parent in _parents().items():
        children[parent].append(child)
    found: list[int] = []
    open_ends = [pid]
    while open_ends:
        below = children[open_ends.pop()]
        found += below
        open_ends += below
    return {child: _ps(f"-ocommand= -p{child}").strip() for child in found}


def _parents() -> dict[int, int]:
    rows = [line.split() for line in _ps("-axo pid=,ppid=,stat=").splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def _ps(arguments: str) -> str:
    run = subprocess.run(["ps", *arguments.split()], capture_output=True, text=True, check=False)  # noqa: S607
    return run.stdout
