"""The newest deployment: when it was, and what it costs while nobody uses it. In the directory table.

Key layout::

    kind        name     what
    deployment  newest   at_ms: when the code was last exchanged; idle_usd: a JSON text
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.store.expressions import Change
from chalicelib.store.table import Table

NEWEST = {"kind": "deployment", "name": "newest"}


@dataclass(frozen=True, slots=True)
class Deployments:
    """The access patterns of the newest deployment."""

    table: Table

    def note(self, now_ms: int, *, changed: bool = True) -> None:
        """The code was exchanged. Where nothing was ``changed``, what is noted stays, if anything is."""
        at = {"at_ms": now_ms}
        self.table.apply(NEWEST, Change((), sets=at) if changed else Change((), keeps=at))

    def note_idle_costs(self, usd_of: Mapping[str, float]) -> None:
        """What a month costs in which nobody uses the installation, by AWS's services, as it was deployed last."""
        self.table.apply(NEWEST, Change((), sets={"idle_usd": json.dumps(dict(usd_of))}))

    def idle_costs(self) -> dict[str, float]:
        """The same; empty where nobody has noted it."""
        found = self.table.get(NEWEST, consistent=False) or {}
        usd_of: dict[str, float] = json.loads(found.get("idle_usd", "{}"))
        return usd_of

    def deployed_at_ms(self) -> int | None:
        """When the code was last exchanged; ``None`` where nobody has noted it."""
        found = self.table.get(NEWEST, consistent=False) or {}
        at_ms: int | None = found.get("at_ms")
        return at_ms
