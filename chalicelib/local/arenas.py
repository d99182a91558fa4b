"""The arenas of the C library's allocator, in this process and in those that it starts.

glibc gives nearly every thread an arena of its own, up to eight for each core, and keeps in it what the thread has
freed. A process whose threads come and go holds the most that was ever needed in each. Threads of Python allocate
one after the other, so that few arenas do as well.
"""

from __future__ import annotations

import ctypes
import os
import sys

VARIABLE = "MALLOC_ARENA_MAX"  # read by glibc as a process starts
ARENAS_MAX = 2
M_ARENA_MAX = -8  # of glibc's malloc.h


def share() -> None:
    """Let threads share arenas from now on, unless the environment says otherwise. Without glibc nothing changes."""
    if VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = str(ARENAS_MAX)
    if sys.platform == "linux" and hasattr(c_library := ctypes.CDLL(None), "mallopt"):
        c_library.mallopt(M_ARENA_MAX, ARENAS_MAX)
