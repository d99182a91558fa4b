"""Threads share arenas of memory, here and in the processes that are started from here."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from chalicelib.local import arenas

PROGRAM = """
import ctypes, subprocess, sys, threading
from chalicelib.local import arenas

THREADS = 8
if "share" in sys.argv:
    arenas.share()
all_have = threading.Barrier(THREADS + 1)

def allocate():
    kept = bytearray(100_000)
    all_have.wait()

for _ in range(THREADS):
    threading.Thread(target=allocate).start()
all_have.wait()
c_library = ctypes.CDLL(None)
c_library.malloc_info(0, ctypes.c_void_p.in_dll(c_library, "stdout"))
c_library.fflush(None)
if "parent" in sys.argv:
    subprocess.run([sys.executable, *sys.orig_argv[1:-2]], check=True)
"""
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")


def arenas_of(*arguments: str, **environment: str) -> list[int]:
    """How many arenas a process with eight threads has, and then how many its child, if it is a ``parent``."""
    unset = {name: value for name, value in os.environ.items() if name != arenas.VARIABLE}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**unset, **environment},
    )
    return [each.count("<heap nr=") for each in run.stdout.split("<malloc version=")[1:]]


def test_threads_share_arenas() -> None:
    (before,) = arenas_of()
    assert before > arenas.ARENAS_MAX
    assert arenas_of("share", "parent") == [arenas.ARENAS_MAX, arenas.ARENAS_MAX]


def test_who_runs_it_may_choose_otherwise() -> None:
    assert arenas_of("share", "parent", **{arenas.VARIABLE: "3"}) == [3, 3]
