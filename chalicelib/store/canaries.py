"""What is known of canaries. In the table of ``store/directory.py``.

Key layout::

    kind     name    what
    canary   <way>   sent_at_ms: when one last set out; since_ms: when the first did that nothing has come back since
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.core.canary import Canary, Way
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table


@dataclass(frozen=True, slots=True)
class Canaries:
    """Which canaries are on their way."""

    table: Table

    def ways(self) -> Mapping[str, Way]:
        """Every way on which one ever set out, by name."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "canary"})
        return {row["name"]: Way(row["name"], row["sent_at_ms"], row.get("since_ms")) for row in rows}

    def set_out(self, way: str, now_ms: int) -> None:
        """One sets out; called before it is sent."""
        self.table.apply(_key(way), Change((), sets={"sent_at_ms": now_ms}, keeps={"since_ms": now_ms}))

    def came_back(self, canary: Canary) -> None:
        """One is back; of a way that expects none, or that a newer one has taken, nothing changes."""
        expected = Clause("expected", "{since_ms} <= :sent", {":sent": canary.sent_at_ms})
        with suppress(Refused):
            self.table.apply(_key(canary.way), Change((expected,), sets={"since_ms": None}))

    def forget(self, way: str) -> None:
        """A way is taken no more."""
        self.table.delete(_key(way))


def _key(way: str) -> dict[str, str]:
    return {"kind": "canary", "name": way}
