"""Identifiers: job ids, uids, leases and trace ids. Randomness is passed in.

A job id is an integer below 2^53, so that JavaScript holds it exactly. A process takes a block of 1,024
ids with one write and counts within it (see ``store/directory.py``).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

ID_LIMIT = 1 << 53
ID_BLOCK = 1_024
TOKEN_BYTES = 8
RandomBytes = Callable[[int], bytes]

_TRACE_VERSION = 0x8 << 76
_TRACE_VARIANT = 0x2 << 62


def token(random_bytes: RandomBytes) -> str:
    """A uid or a lease: 16 hexadecimal digits nobody can guess or repeat by chance."""
    return random_bytes(TOKEN_BYTES).hex()


def trace_id_of(job_id: int, random_bytes: RandomBytes) -> str:
    """A trace id (UUID version 8, RFC 9562) that carries the job's id, so that no index is needed to find it.

    Layout: id bits 52..5 in the first 48 bits, id bits 4..0 and 7 random bits in the next 12, 62 random bits last.
    """
    noise = int.from_bytes(random_bytes(9), "big")
    high = job_id >> 5
    middle = ((job_id & 0x1F) << 7) | (noise & 0x7F)
    low = (noise >> 7) & ((1 << 62) - 1)
    return str(uuid.UUID(int=(high << 80) | _TRACE_VERSION | (middle << 64) | _TRACE_VARIANT | low))


def job_id_in(trace_id: str) -> int | None:
    """The job id that a trace id made here carries; ``None`` for anything else.

    A foreign version 8 UUID may answer a number too, so the caller compares the job's own trace id.
    """
    try:
        value = uuid.UUID(trace_id)
    except ValueError:
        return None
    if value.version != 8:
        return None
    bits = value.int
    return ((bits >> 80) << 5) | ((bits >> 71) & 0x1F)


def parse_job_id(text: str | int) -> int | None:
    """The id that a client wrote as a number or as its decimal digits; ``None`` if it is neither."""
    if isinstance(text, bool):  # JSON's true is no 1
        return None
    if isinstance(text, int):
        number = text
    elif text.isascii() and text.isdigit() and len(text) <= 16:
        number = int(text)
    else:
        return None
    return number if 0 < number < ID_LIMIT else None
