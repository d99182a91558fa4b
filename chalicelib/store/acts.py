"""Who did what, and when. In the directory table.

Key layout::

    kind   name                  what
    act    <time in ms>-<token>  by, act, on (a map of names), detail (JSON text); expires_at_s
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.store.table import Table

KIND = "act"
KEPT_S = 90 * 86_400
POSITION = r"[0-9]{13}-[0-9a-f]{16}"
FIRST, LAST = "0", "9"  # every position lies between them


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did: ``by`` is the name of an access key or user, ``on`` what it was done to, by name."""

    position: str  # a POSITION: its time, and a token that tells it from others of the same moment
    by: str
    act: str
    on: Mapping[str, str]
    detail: Mapping[str, Any]

    @property
    def at_ms(self) -> int:
        """When, in milliseconds since 1970."""
        return int(self.position[:13])


@dataclass(frozen=True, slots=True)
class Acts:
    """The record of acts, kept for 90 days."""

    table: Table

    def record(self, act: Act) -> None:
        """Remember an act. One write."""
        item = {"by": act.by, "act": act.act, "on": dict(act.on), "detail": json.dumps(act.detail, ensure_ascii=False)}
        expires_at_s = act.at_ms // 1_000 + KEPT_S
        self.table.put({"kind": KIND, "name": act.position, **item, "expires_at_s": expires_at_s})

    def newest(self, most: int, behind: str | None = None) -> list[Act]:
        """Up to ``most`` acts, the newest first, from the one behind the position ``behind`` on."""
        rows = self.table.first(
            "{kind} = :kind AND {name} BETWEEN :first AND :last",
            {":kind": KIND, ":first": FIRST, ":last": LAST if behind is None else behind},
            most + 1,
            ascending=False,
        )
        return [_act(row) for row in rows if row["name"] != behind][:most]


def _act(row: Mapping[str, Any]) -> Act:
    return Act(row["name"], row["by"], row["act"], row["on"], json.loads(row["detail"]))
