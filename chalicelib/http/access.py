"""Who may call: access keys, and users with their passwords, in the ``Authorization`` header, each with its scopes."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from chalicelib.core import access
from chalicelib.core.access import AccessKey, Lookup, Scope
from chalicelib.http.basic import REMEMBERED_S, Users
from chalicelib.http.problems import Forbidden, Unauthorized
from chalicelib.settings import Settings

REMEMBERED_KEYS = 256
USE_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller's name and what it may do."""

    name: str
    scopes: frozenset[str]


Authenticate = Callable[[Mapping[str, str], Scope | None], Identity]
"""From a request's headers (names in lower case) and the scope it needs to its caller, or an error."""

ANONYMOUS = Identity("anonymous", frozenset())
LOCAL = Identity("local", frozenset({access.EVERYTHING}))


def not_noted(key: AccessKey) -> None:
    """That a key was used is of no interest."""


def authenticate(
    headers: Mapping[str, str],
    scope: Scope | None,
    lookup: Lookup,
    users: Users,
    settings: Settings,
    used: Callable[[AccessKey], object] = not_noted,
) -> Identity:
    """Who sent ``headers``, if they may do what needs ``scope``; a route with no scope is open to all.

    Stage local needs no key. Elsewhere ``Unauthorized`` is raised for a missing, unknown or revoked key or user,
    always in the same words, ``Forbidden`` for one without the scope, and ``Full`` for too many wrong passwords. The
    key itself goes nowhere but into its digest. ``used`` hears of the key of a request that is let in.
    """
    if scope is None:
        return ANONYMOUS
    if settings.local:
        return LOCAL
    scheme, _, presented = headers.get("authorization", "").partition(" ")
    key = None
    if scheme.lower() == "bearer":
        key = _key_in_force(presented, lookup)
    elif scheme.lower() == "basic":
        key = users.signed_in(presented)
    if key is None:
        raise Unauthorized(
            "an access key is needed",
            remedy="send the header Authorization: Bearer <key> with a key that is in force, or a user's with Basic",
            basic=users.exist(),
        )
    require_scope(key.scopes, scope)
    used(key)
    return Identity(key.name, key.scopes)


def require_scope(scopes: frozenset[str], scope: Scope) -> None:
    """Raise ``Forbidden`` for a caller who may not do what needs ``scope``."""
    if not access.allows(scopes, scope):
        needed = access.any_of(scope)
        raise Forbidden(f"this access key lacks the scope {' or '.join(needed)}", scope=" ".join(needed))


def _key_in_force(presented: str, lookup: Lookup) -> AccessKey | None:
    if not access.is_key(presented):
        return None
    digest = access.digest_of(presented)
    stored = lookup(digest)
    if stored is None or stored.revoked or not hmac.compare_digest(stored.digest, digest):
        return None
    return stored


class KeyUses:
    """Has noted that a key was used: of each at most once in ``every_s`` seconds, as far as this process knows."""

    def __init__(
        self, note: Callable[[str], object], *, clock_s: Callable[[], float] = time.monotonic, every_s: float = USE_S
    ) -> None:
        self._note = note
        self._clock_s = clock_s
        self._every_s = every_s
        self._noted: OrderedDict[str, float] = OrderedDict()  # digest: when

    def __call__(self, key: AccessKey) -> None:
        """A request was let in by ``key``; of several at once each may have it noted."""
        now_s = self._clock_s()
        if now_s - self._noted.get(key.digest, -self._every_s) < self._every_s:
            return
        self._noted.pop(key.digest, None)
        self._noted[key.digest] = now_s
        if len(self._noted) > REMEMBERED_KEYS:
            self._noted.popitem(last=False)
        self._note(key.digest)


class RememberedKeys:
    """A look-up that asks for the same key at most once in 30 s, so that a request seldom pays for it.

    A revoked key therefore works for up to 30 s more in a process that has just seen it. Only keys that exist are
    remembered: a new key works at once, and a flood of wrong ones cannot push the right ones out.
    """

    def __init__(
        self, lookup: Lookup, *, clock_s: Callable[[], float] = time.monotonic, keep_s: float = REMEMBERED_S
    ) -> None:
        self._lookup = lookup
        self._clock_s = clock_s
        self._keep_s = keep_s
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[float, AccessKey]] = OrderedDict()  # digest: when it was read, the key

    def __call__(self, digest: str) -> AccessKey | None:
        """What is stored of the key with ``digest``."""
        with self._lock:
            read_s, known = self._known.get(digest, (0.0, None))
        now_s = self._clock_s()
        if known is not None and now_s - read_s < self._keep_s:
            return known
        found = self._lookup(digest)
        with self._lock:
            self._known.pop(digest, None)
            if found is not None:
                self._known[digest] = (now_s, found)
                if len(self._known) > REMEMBERED_KEYS:
                    self._known.popitem(last=False)
        return found
