"""Access keys, made and ended where they are kept: in the directory table, with AWS credentials and not over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence

from chalicelib import aws, settings
from chalicelib.core import passwords
from chalicelib.core.access import AccessKey, checked_scopes, digest_of, digest_of_user, id_of, new_key
from chalicelib.core.errors import Conflict, NotFound
from chalicelib.store.directory import Directory
from chalicelib.store.table import Refused, Table


def create(label: str, scopes: Sequence[str], now_ms: int) -> str:
    """A new access key. Only its digest is stored, so this is the only time that it can be shown."""
    chosen = checked_scopes(scopes)
    key = new_key(os.urandom)
    _directory().put_access_key(AccessKey(name=label, scopes=chosen, digest=digest_of(key), created_at_ms=now_ms))
    return key


def create_user(user: str, password: str, label: str, scopes: Sequence[str], now_ms: int) -> None:
    """Let a user sign in with a password, of which only what scrypt makes of it is stored.

    Raises ``InvalidInput``, and ``Conflict`` where there is such a user in force.
    """
    stored = passwords.stretched(passwords.checked_password(password), os.urandom(passwords.SALT_BYTES))
    key = AccessKey(
        name=label,
        scopes=checked_scopes(scopes),
        digest=digest_of_user(passwords.checked_user(user)),
        created_at_ms=now_ms,
        user=user,
        password=stored,
    )
    try:
        _directory().put_access_key(key)
    except Refused as refused:
        remedy = "revoke it first: `taskyard keys revoke`"
        raise Conflict("there is a user of this name in force", field="user", got=user, remedy=remedy) from refused


def listed() -> list[AccessKey]:
    """All keys, revoked ones included, oldest first."""
    return _directory().access_keys()


def revoke(wanted: str, now_ms: int) -> AccessKey:
    """End the life of the key whose id begins with ``wanted``, or whose label it is; returns what it was.

    Raises ``NotFound`` when there is none in force, ``Conflict`` when there are several.
    """
    in_force = [key for key in listed() if not key.revoked]
    found = [key for key in in_force if key.name == wanted or key.digest.startswith(wanted)]
    if not found:
        raise NotFound("there is no such key in force", got=wanted, remedy="see `taskyard keys list`")
    if len(found) > 1:
        ids = ", ".join(id_of(key) for key in found)
        raise Conflict("several keys are meant", got=wanted, remedy=f"name one by its id: {ids}")
    _directory().revoke_access_key(found[0].digest, now_ms)
    return found[0]


def _directory() -> Directory:
    table = settings.current().directory_table
    return Directory(Table(aws.client("dynamodb"), table, ("kind", "name")))
