"""Passwords: what is stored of one, and whether one is right.

Stored is what scrypt makes of it, with the salt and the parameters of its time: ``scrypt$16384$8$1$<salt>$<hash>``. A
guess costs 16 MB and about 50 ms of a core.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata

from chalicelib.core.errors import InvalidInput
from chalicelib.core.naming import is_name

SALT_BYTES = 16
HASH_BYTES = 32
COST, BLOCK_SIZE, PARALLEL = 1 << 14, 8, 1
MEMORY_MAX_BYTES = 64 * 1024 * 1024
PASSWORD_MIN_CHARS, PASSWORD_MAX_CHARS = 8, 256
USER_MAX_CHARS = 64


def stretched(password: str, salt: bytes) -> str:
    """What is stored of a password; ``salt`` is 16 random bytes."""
    made = _scrypt(password, salt, COST, BLOCK_SIZE, PARALLEL, HASH_BYTES)
    return f"scrypt${COST}${BLOCK_SIZE}${PARALLEL}${_text(salt)}${_text(made)}"


def is_right(password: str, stored: str) -> bool:
    """Whether ``stored`` was made of ``password``."""
    _, cost, block_size, parallel, salt, made = stored.split("$")
    wanted = base64.b64decode(made)
    found = _scrypt(password, base64.b64decode(salt), int(cost), int(block_size), int(parallel), len(wanted))
    return hmac.compare_digest(found, wanted)


def checked_user(name: str) -> str:
    """The name of a user: 1 to 64 characters on one line, no colon. Raises ``InvalidInput``."""
    if not is_name(name, USER_MAX_CHARS) or ":" in name:
        expected = f"1 to {USER_MAX_CHARS} characters on one line, without a colon"
        raise InvalidInput("this is no name of a user", field="user", expected=expected, got=name)
    return name


def checked_password(password: str) -> str:
    """A password: 8 to 256 characters on one line. Raises ``InvalidInput``, which does not show it."""
    if len(password) < PASSWORD_MIN_CHARS or not is_name(password, PASSWORD_MAX_CHARS):
        expected = f"{PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters on one line"
        raise InvalidInput("this is no password", field="password", expected=expected)
    return password


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallel: int, size_bytes: int) -> bytes:
    text = unicodedata.normalize("NFC", password).encode("utf-8")  # one password, however its accents are typed
    return hashlib.scrypt(text, salt=salt, n=cost, r=block_size, p=parallel, dklen=size_bytes, maxmem=MEMORY_MAX_BYTES)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


NOBODYS = f"scrypt${COST}${BLOCK_SIZE}${PARALLEL}${_text(bytes(SALT_BYTES))}${_text(bytes(HASH_BYTES))}"
"""What no password makes: against it, the password of a user that there is not is looked at."""
