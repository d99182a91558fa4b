"""Basic authentication (RFC 7617): users with a password, beside access keys. It is off until there is a user.

That a password is right is found out once in a process; from then on a digest of it is compared, which only this
process can make. Whatever is not known to be right costs the same, whether there is such a user or not, and a process
spends that only so often: a flood of guesses is turned away unseen, and users whom the process knows do not notice.
"""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from chalicelib.core import access, passwords
from chalicelib.core.access import AccessKey, Lookup
from chalicelib.core.errors import Full
from chalicelib.core.naming import is_name

PRESENTED_MAX_CHARS = 2_048  # of base64: more than any name and password come to
REMEMBERED_S = 30.0
NOBODY_REMEMBERED_S = 1.0
PROVEN_MAX = 256
GUESSES_AT_ONCE = 20
GUESSES_A_SECOND = 2.0


class Users:
    """The users of an installation, as one process knows them; ``any_user`` says whether there ever was one."""

    def __init__(
        self, any_user: Callable[[], bool], lookup: Lookup, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._any_user = any_user
        self._lookup = lookup
        self._clock_s = clock_s
        self._secret = os.urandom(32)
        self._lock = Lock()
        self._proven: OrderedDict[str, bytes] = OrderedDict()  # what is stored of a password: the right one's digest
        self._exist = False
        self._looked_s: float | None = None
        self._guesses, self._counted_s = float(GUESSES_AT_ONCE), clock_s()

    def exist(self) -> bool:
        """Whether somebody could sign in; looked up at most once in 30 s, and while nobody could, once in a second."""
        now_s = self._clock_s()
        fresh_s = REMEMBERED_S if self._exist else NOBODY_REMEMBERED_S
        if self._looked_s is None or now_s - self._looked_s >= fresh_s:
            self._exist, self._looked_s = self._any_user(), now_s
        return self._exist

    def signed_in(self, presented: str) -> AccessKey | None:
        """The user in force whose name and password are ``presented``, in base64.

        Raises ``Full`` where too many were presented that are not known to be right.
        """
        given = credentials_in(presented) if self.exist() else None
        if given is None:
            return None
        name, password = given
        user = self._lookup(access.digest_of_user(name))
        stored = passwords.NOBODYS if user is None or user.revoked else user.password or passwords.NOBODYS
        return user if self._is_right(password, stored) else None

    def _is_right(self, password: str, stored: str) -> bool:
        digest = hmac.digest(self._secret, f"{stored}\n{password}".encode(), "sha256")
        if hmac.compare_digest(self._proven.get(stored, b""), digest):
            return True
        self._count_guess()
        if not passwords.is_right(password, stored):
            return False
        with self._lock:
            self._proven[stored] = digest
            if len(self._proven) > PROVEN_MAX:
                self._proven.popitem(last=False)
        return True

    def _count_guess(self) -> None:
        with self._lock:
            now_s = self._clock_s()
            gained = (now_s - self._counted_s) * GUESSES_A_SECOND
            self._guesses, self._counted_s = min(self._guesses + gained, GUESSES_AT_ONCE), now_s
            if self._guesses < 1:
                raise Full("too many passwords were sent that are not known to be right", remedy="try again later")
            self._guesses -= 1


def credentials_in(presented: str) -> tuple[str, str] | None:
    """The name and the password in base64, or ``None`` where it has none that could be somebody's."""
    if len(presented) > PRESENTED_MAX_CHARS:
        return None
    try:
        name, colon, password = base64.b64decode(presented, validate=True).decode("utf-8").partition(":")
    except ValueError:
        return None
    might_be = is_name(name, passwords.USER_MAX_CHARS) and is_name(password, passwords.PASSWORD_MAX_CHARS)
    return (name, password) if colon and might_be else None
