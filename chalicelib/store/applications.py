"""Applications, and the signed texts that were taken of them. In the directory table.

Key layout::

    kind             name                    what
    application      <app key>               the application of core/applications.py, its secrets as they are: what it
                                             signs could not be checked otherwise
    signed#<app key> <sha256 of the text>    used_by: the request that used it, expires_at_s
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from chalicelib.core.applications import USED_KEPT_S, Application
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

KIND = "application"
THERE = Clause("there", "attribute_exists({name})")
AWAKE = {"resting_until_ms": 0, "in_vain": 0}
STORED_AS = {"app_key": "name", "name": "label"}  # the key names the item


@dataclass(frozen=True, slots=True)
class Applications:
    """The access patterns of the applications."""

    table: Table

    def put(self, application: Application) -> None:
        """Remember a new application; raises ``Refused`` if there is another one with its key."""
        own = Clause("its own", "attribute_not_exists({name}) OR {secret} = :own", {":own": application.secret})
        values = {each.name: getattr(application, each.name) for each in fields(Application)}
        item = {STORED_AS.get(name, name): value for name, value in values.items() if value is not None}
        self.table.put({"kind": KIND, **item}, own)

    def find(self, app_key: str) -> Application | None:
        """The application with a key, as of the last write."""
        item = self.table.find(key_of(app_key))
        return None if item is None else application_of(item)

    def all(self) -> list[Application]:
        """Every application, oldest first."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND}, consistent=True)
        return sorted(map(application_of, rows), key=lambda each: (each.created_at_ms, each.app_key))

    def disable(self, app_key: str, disabled: bool) -> Application:
        """It is listened to no longer; or again, and rests no more. Raises ``Refused`` where there is none."""
        sets = {"disabled": True} if disabled else {"disabled": False, **AWAKE}
        return self._change(app_key, Change((THERE,), sets=sets))

    def rotate(self, seen: Application, secret: str, old_until_ms: int) -> Application:
        """Give it another ``secret``; the one that was ``seen`` stays in force until then. Raises ``Refused``."""
        as_seen = Clause("as seen", "{secret} = :seen OR {secret} = :new", {":seen": seen.secret, ":new": secret})
        sets = {"secret": secret, "old_secret": seen.secret, "old_until_ms": old_until_ms}
        return self._change(seen.app_key, Change((as_seen,), sets=sets))

    def retire_old_secret(self, app_key: str) -> Application:
        """Only its newest secret is in force from now on. Raises ``Refused`` where there is none."""
        return self._change(app_key, Change((THERE,), sets={"old_secret": None, "old_until_ms": 0}))

    def rest(self, seen: Application, until_ms: int, *, in_vain: bool) -> None:
        """Deliver nothing to it until then; nothing changes where it rests for longer.

        ``in_vain``: as it did not answer. Deliveries that went on at the same time have ``seen`` the same count.
        """
        shorter = Clause("rests for less", "{resting_until_ms} < :until", {":until": until_ms})
        sets = {"resting_until_ms": until_ms, "in_vain": seen.in_vain + in_vain}
        with suppress(Refused):
            self.table.apply(key_of(seen.app_key), Change((shorter,), sets=sets))

    def wake(self, app_key: str) -> Application:
        """It rests no more. Raises ``Refused`` where there is none."""
        return self._change(app_key, Change((THERE,), sets=AWAKE))

    def use(self, app_key: str, text: str, request: str, now_s: int) -> bool:
        """Whether a signed text is its ``request``'s: it is the first that comes with it."""
        key = {"kind": f"signed#{app_key}", "name": digest(text)}
        free = Clause("free or expired", "attribute_not_exists({name}) OR {expires_at_s} < :now", {":now": now_s})
        try:
            self.table.put({**key, "used_by": request, "expires_at_s": now_s + USED_KEPT_S}, free)
        except Refused as refused:
            return (refused.old or {}).get("used_by") == request  # our own write, whose answer was lost
        return True

    def _change(self, app_key: str, change: Change) -> Application:
        return application_of(self.table.update(key_of(app_key), change))


def key_of(app_key: str) -> dict[str, str]:
    """Where an application is kept."""
    return {"kind": KIND, "name": app_key}


def application_of(item: Mapping[str, Any]) -> Application:
    """The application in an item of this kind."""
    stored = {each.name: STORED_AS.get(each.name, each.name) for each in fields(Application)}
    return Application(**{name: item[key] for name, key in stored.items() if key in item})
