"""Who does what one process at a time does, of several that could. In the directory table.

Key layout::

    kind     name     what
    leader   <role>   holder: a token of the process that leads; until_ms: from when on another may take over

It spares the others the same work. What must not happen twice is fenced where it is written, so two that believe to
lead do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

KIND = "leader"


@dataclass(frozen=True, slots=True)
class Leaders:
    """The access patterns of leadership."""

    table: Table

    def lead(self, role: str, candidate: str, now_ms: int, until_ms: int, *, by_force: bool = False) -> bool:
        """Whether the candidate leads until then: nobody else does at ``now_ms``, or it takes over ``by_force``."""
        values = {":candidate": candidate, ":now": now_ms}
        text = "attribute_not_exists({name}) OR {holder} = :candidate OR {until_ms} <= :now"
        clauses = () if by_force else (Clause("free, over, or its own", text, values),)
        try:
            self.table.apply(_key(role), Change(clauses, sets={"holder": candidate, "until_ms": until_ms}))
        except Refused:
            return False
        return True

    def resign(self, role: str, candidate: str) -> bool:
        """Let another lead at once; false where another does already."""
        try:
            self.table.delete(_key(role), Clause("its own", "{holder} = :candidate", {":candidate": candidate}))
        except Refused:
            return False
        return True


def _key(role: str) -> dict[str, str]:
    return {"kind": KIND, "name": role}
