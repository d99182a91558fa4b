"""Access keys and users: what a key looks like, what is stored of them, and what they open.

Only the SHA-256 digest of a key is stored. A key is 32 random bytes, so the digest needs neither salt nor stretching.
A user has a name and a password instead (``passwords.py``), and is found by the digest of the name.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from chalicelib.core.dialects import SCOPES
from chalicelib.core.errors import InvalidInput
from chalicelib.core.ids import RandomBytes

KEY_PREFIX = "ty_"
KEY_BYTES = 32
EVERYTHING = "*"
ID_CHARS = 12  # of the digest; enough to tell keys apart, and no help in guessing one

Scope = str | tuple[str, ...]
"""What something needs: a scope, or one of several."""

_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """What is stored of a key. Times are in milliseconds since 1970."""

    name: str  # chosen by whoever made the key; appears in logs
    scopes: frozenset[str]
    digest: str = field(repr=False)
    created_at_ms: int
    revoked_at_ms: int | None = None  # None: in force
    user: str | None = None  # whose password opens the same, where there is no key
    password: str | None = field(default=None, repr=False)  # as it is stored
    used_at_ms: int | None = (
        None  # when it last opened something, an hour about right; None: never, or not since that is noted
    )

    @property
    def revoked(self) -> bool:
        """Whether the key opens nothing any more."""
        return self.revoked_at_ms is not None


Lookup = Callable[[str], AccessKey | None]
"""From a digest to what is stored of the key, or the user, that has it."""


def new_key(random_bytes: RandomBytes) -> str:
    """A fresh key: ``ty_`` and 43 characters of base64url. It is shown once, to whoever asked for it."""
    return KEY_PREFIX + base64.urlsafe_b64encode(random_bytes(KEY_BYTES)).decode("ascii").rstrip("=")


def is_key(text: str) -> bool:
    """Whether ``text`` has the form of a key, so that a look-up could find it."""
    return _KEY.fullmatch(text) is not None


def digest_of(key: str) -> str:
    """The stored form of ``key``: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


def id_of(key: AccessKey) -> str:
    """What a key is called where its label may not be enough: the beginning of its digest."""
    return key.digest[:ID_CHARS]


def digest_of_user(name: str) -> str:
    """By what a user is found: no key has this digest."""
    return digest_of(f"user:{name}")


def any_of(scope: Scope) -> tuple[str, ...]:
    """The scopes of which one is enough."""
    return (scope,) if isinstance(scope, str) else scope


def allows(scopes: Iterable[str], scope: Scope) -> bool:
    """Whether a holder of ``scopes`` may do what needs ``scope``; no scope implies another, except ``*`` all."""
    return not frozenset(scopes).isdisjoint((*any_of(scope), EVERYTHING))


def checked_scopes(names: Iterable[str]) -> frozenset[str]:
    """``names`` as a set; raises ``InvalidInput`` for none at all or for one that does not exist."""
    scopes = frozenset(names)
    unknown = sorted(scopes.difference(SCOPES, {EVERYTHING}))
    if unknown or not scopes:
        raise InvalidInput(
            "an access key needs scopes that exist",
            field="scopes",
            expected=f"one or more of {', '.join((*SCOPES, EVERYTHING))}",
            got=", ".join(unknown) or "none",
        )
    return scopes
