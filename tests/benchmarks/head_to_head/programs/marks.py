"""When jobs were done: every handler, of every contender, appends eight bytes to one file."""

from __future__ import annotations

import os
import struct
import time
from functools import lru_cache

VARIABLE = "HEAD_TO_HEAD_MARKS"  # the file's path
STAMP = struct.Struct("<q")  # nanoseconds since 1970


def done() -> None:
    """Note that a job is done now."""
    os.write(_file(), STAMP.pack(time.time_ns()))


@lru_cache(maxsize=1)
def _file() -> int:
    return os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
