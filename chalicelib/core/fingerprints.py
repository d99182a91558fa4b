"""What failures have in common: an error without what is of one case alone, and the fingerprint of that.

``KeyError: order 4711 of 'anna' at 2026-01-31T12:00:00Z`` and the same of another order, name and time are one failure,
``KeyError: order # of "…" at <time>``. A message that is one quoted text, as Python makes of a ``KeyError``'s, counts
as what is in the quotes. The cause of the dead letter is in the fingerprint, too: what timed out and what was rejected
are two, whatever their texts.
"""

from __future__ import annotations

import hashlib
import re

from chalicelib.core.job import Job, JobError
from chalicelib.core.texts import readable, shortened

LOOKED_AT_MAX_CHARS = 2_000  # of a message: what follows decides nothing
NORMALISED_MAX_CHARS = 200
FINGERPRINT_CHARS = 12
FINGERPRINT = rf"[0-9a-f]{{{FINGERPRINT_CHARS}}}"

_QUOTED_WHOLE = re.compile(r"""'((?:[^'\\\n]|\\.)+)'|"((?:[^"\\\n]|\\.)+)\"""")
_ESCAPED = re.compile(r"""\\(['"\\])""")
_LEFT_OUT = "…"

# In this order, so that the larger is recognised before its parts. None matches what another has put in.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), stands_for)
    for pattern, stands_for in (
        (r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s\"'<>`]+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", "<address>"),
        (r"\"[^\"\n]*\"|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)|“[^”\n]*”|«[^»\n]*»", '"…"'),
        (r"\{[^{}]*\}", "{…}"),
        (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?", "<time>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<id>"),
        (r"\b0[xX][0-9a-fA-F]+\b", "<id>"),
        (r"\b(?=[a-zA-Z_-]*[0-9])(?=[0-9_-]*[a-zA-Z])[\w-]{8,}\b", "<id>"),  # letters and digits: a token, a hash
        (r"\d+(?:[.,:]\d+)*", "#"),
        (r"\s+", " "),
    )
)


def normalised(error: JobError) -> str:
    """The type of an error and its message, at most 200 characters, with names in place of what is of one case alone.

    Numbers, ids, times, addresses and what stands in quotes or braces. The same of what was normalised already.
    """
    message = _unquoted(error.message)
    text = readable(f"{error.type}: {message}", LOOKED_AT_MAX_CHARS) if message else readable(error.type)
    for pattern, stands_for in _RULES:
        text = pattern.sub(stands_for, text)
    return shortened(text.strip(), NORMALISED_MAX_CHARS)


def _unquoted(message: str) -> str:
    """A message that is a ``repr`` of a text, as that text; any other as it is."""
    quoted = _QUOTED_WHOLE.fullmatch(message.strip())
    if quoted is None:
        return message
    inner = quoted[1] or quoted[2]
    return message if inner == _LEFT_OUT else _ESCAPED.sub(r"\1", inner)


def failure_of(job: Job) -> str:
    """What a failed job has in common with others: its error, normalised, or without one its cause."""
    if job.error is not None:
        return normalised(job.error)
    return "no error was told" if job.cause is None else job.cause.value


def fingerprint_of(job: Job) -> str:
    """The fingerprint of the failure of a job that failed: 12 hexadecimal digits."""
    cause = "" if job.cause is None else job.cause.value
    return hashlib.sha256(f"{cause}\0{failure_of(job)}".encode()).hexdigest()[:FINGERPRINT_CHARS]
