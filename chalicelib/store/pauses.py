"""What is paused for the whole deployment. In the directory table.

Key layout::

    kind     name                     what
    pause    <sha256 of the target>   target, since_ms; by: who asked for it; resuming: its wait list is being emptied;
                                      unhandled: nobody asked for it, a handler is missing

A target is ``type#<type>``, ``queue#<queue>`` or ``key#<count>``. A pause that is resumed stays, as ``resuming``, until
its wait list is empty, so that the clock can finish what a crashed resume left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

KIND = "pause"
IN_FORCE = Clause("in force", "attribute_exists({name}) AND attribute_not_exists({resuming})")
NOT_IN_FORCE = Clause("not in force", "attribute_not_exists({name}) OR attribute_exists({resuming})")
RESUMING = Clause("resuming", "attribute_exists({resuming})")
UNWANTED = Clause("nobody wants it", "attribute_exists({resuming}) OR attribute_exists({unhandled})")


@dataclass(frozen=True, slots=True)
class Pause:
    """A type or a queue whose jobs do not begin. Times are in milliseconds since 1970.

    ``unhandled``: a type whose jobs wait for its handler to be deployed. ``by``: who paused it, where that is known.
    """

    target: str
    since_ms: int
    resuming: bool = False
    unhandled: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Pauses:
    """The access patterns of the pauses."""

    table: Table

    def all(self, *, consistent: bool = False) -> list[Pause]:
        """Every pause, those that are being resumed included, oldest first."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND}, consistent=consistent)
        return sorted(map(pause_of, rows), key=lambda pause: (pause.since_ms, pause.target))

    def begin(self, target: str, now_ms: int, by: str) -> None:
        """Pause a target, from ``now_ms`` on and ``by`` whom, if it was not paused already."""
        sets = {"target": target, "resuming": None, "unhandled": None}
        asked = {"since_ms": now_ms, "by": by}
        try:
            self.table.apply(key_of(target), Change((NOT_IN_FORCE,), {**sets, **asked}))
        except Refused:
            self.table.apply(key_of(target), Change((), sets, keeps=asked))

    def begin_unhandled(self, target: str, now_ms: int) -> None:
        """The jobs of a type wait for its handler; nothing changes where it is paused already."""
        change = Change((NOT_IN_FORCE,), {"target": target, "resuming": None, "unhandled": True, "since_ms": now_ms})
        try:
            self.table.apply(key_of(target), change)
        except Refused:
            return

    def end(self, target: str, *clauses: Clause) -> bool:
        """The target begins to be resumed: nothing is deferred for it any more. Returns whether it was paused.

        With ``UNWANTED`` not where somebody has asked for the pause.
        """
        there = Clause("there", "attribute_exists({name})")
        try:
            self.table.apply(key_of(target), Change((there, *clauses), sets={"resuming": True}))
        except Refused:
            return False
        return True

    def forget(self, target: str) -> None:
        """The wait list of a resumed target is empty; harmless if it was paused anew."""
        try:
            self.table.delete(key_of(target), RESUMING)
        except Refused:
            return

    def is_in_force(self, target: str) -> bool:
        """Whether a target is paused, as of the last write."""
        item = self.table.find(key_of(target))
        return item is not None and not pause_of(item).resuming

    def in_force(self, target: str) -> AttributeValues:
        """The action that changes nothing, and is refused unless a target is paused."""
        return self.table.checking(key_of(target), IN_FORCE)


def pause_of(item: Mapping[str, Any]) -> Pause:
    """The pause in an item of this kind."""
    return Pause(
        item["target"], item["since_ms"], item.get("resuming", False), item.get("unhandled", False), item.get("by")
    )


def key_of(target: str) -> dict[str, str]:
    """Where the pause of a target is kept, if there is one."""
    return {"kind": KIND, "name": digest(target)}
