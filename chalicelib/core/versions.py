"""The version of what people set: it tells that from what was set before it and after.

A change that names the version it takes the place of is refused where somebody has set something else meanwhile.
"""

from __future__ import annotations

import hashlib

from chalicelib.core.errors import Conflict

NOTHING = "none"  # the version where nothing is set
VERSION_CHARS = 16


def version_of(said: str) -> str:
    """The version of what says this: 16 hexadecimal digits."""
    return hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:VERSION_CHARS]


def expect_version(wanted: str | None, seen: str | None, by: str | None = None) -> None:
    """Raise ``Conflict`` unless ``seen``, what is set now (``None``: nothing), is what a change takes the place of.

    ``wanted``: its version, or ``NOTHING``; ``None``: whatever is set. ``by``: who set what is seen, if known.
    """
    if wanted not in (None, NOTHING if seen is None else seen):
        raise changed_meanwhile(seen, by)


def changed_meanwhile(seen: str | None, by: str | None = None) -> Conflict:
    """Something else was set meanwhile: of version ``seen``, ``by`` somebody; ``None``: nothing is set any more."""
    return Conflict(
        "this was changed meanwhile",
        expected="what was set when it was looked at",
        got="nothing set" if seen is None else f"what {by or 'somebody'} has set since, version {seen}",
        remedy="look at what is set now, and change that",
    )
