"""What runs on this machine, and what programs that tests start are given."""

from __future__ import annotations

import os

import psutil


def clean_environment() -> dict[str, str]:
    """This process's environment without what other tests may have set, or what makes programs compile anew."""
    unwanted = ("AWS_", "TASKYARD_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended (a zombie has)."""
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; another one that has got its id since is not it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def below(pid: int) -> dict[psutil.Process, str]:
    """The command lines of the processes below ``pid`` that have not ended."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return {}
    commands = {process: _command(process) for process in found}
    return {process: command for process, command in commands.items() if command}


def descendants(pid: int) -> dict[int, str]:
    """The same, by their ids."""
    return {process.pid: command for process, command in below(pid).items()}


def _command(process: psutil.Process) -> str:
    """Empty once it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:  # a zombie among them
        return ""
