"""The accounts of days, and what their newest audit found. In the table of ``store/insights.py``.

Key layout::

    view     key                            what
    days     <YYYY-MM-DD>|<slot>|<digest>   kind, type, day_ms, a number for each of ``core/day_accounts.py``'s names
    tenants  <YYYY-MM-DD>|<slot>|<digest>   the same of a tenant, which is in ``type``
    keys     <YYYY-MM-DD>|<slot>|<digest>   the same of a flow key, whose count's name is in ``type``
    audit    newest                         at_ms, since_ms, unaccounted, differences (a JSON text)

Days are UTC's and those of the acceptance; the digest is of kind and type. The projector adds; readers add up slots.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from chalicelib.core.audit import AuditReport, differences_in
from chalicelib.core.day_accounts import KEY, NAMES, TENANT, Account, DayKey
from chalicelib.core.projection import Effects
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Change
from chalicelib.store.table import Table
from chalicelib.store.task_statistics import KEPT_S

VIEWS: Mapping[str | None, str] = {TENANT: "tenants", KEY: "keys"}
NEWEST_AUDIT = {"view": "audit", "key": "newest"}


class DayAccounts:
    """The accounts, which the projector alone writes, and the report of the audit."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def adding(self, slot: int, effects: Effects) -> Iterator[AttributeValues]:
        """The actions of a transaction that post what ``effects`` mean for the accounts."""
        for account, numbers in accounts_in(effects).items():
            yield self._table.updating(_key(account, slot), _adding(account, numbers))

    def read(self, since_ms: int, kind: str | None = None) -> dict[Account, Counter[str]]:
        """The accounts of every day since the one that begins at ``since_ms``, as far as the stream has been read.

        Those of types, or where ``kind`` is ``TENANT`` or ``KEY``, of those.
        """
        found: defaultdict[Account, Counter[str]] = defaultdict(Counter)
        rows = self._table.query_all(
            "{view} = :view AND {key} >= :since",
            {":view": _view(kind), ":since": _date(since_ms)},
            consistent=True,
        )
        for row in rows:
            numbers = {name: row[name] for name in NAMES if name in row}
            found[Account(row["day_ms"], row["kind"], row["type"])].update(numbers)
        return dict(found)

    def correct(self, slot: int, account: Account, more: Mapping[str, int]) -> None:
        """Add to one account; nobody may be counting meanwhile."""
        self._table.apply(_key(account, slot), _adding(account, more))

    def audited(self) -> AuditReport | None:
        """What the newest audit found; ``None`` before the first."""
        item = self._table.get(NEWEST_AUDIT)
        if item is None:
            return None
        return AuditReport(
            item["at_ms"], item["since_ms"], item["unaccounted"], differences_in(item.get("differences", "[]"))
        )

    def note_audit(self, report: AuditReport) -> None:
        """Remember what an audit found."""
        sets = {
            "at_ms": report.at_ms,
            "since_ms": report.since_ms,
            "unaccounted": report.unaccounted,
            "differences": report.to_text() if report.differences else None,
        }
        self._table.apply(NEWEST_AUDIT, Change((), sets=sets))


def accounts_in(effects: Effects) -> dict[Account, Counter[str]]:
    """The numbers to post, by account."""
    found: defaultdict[Account, Counter[str]] = defaultdict(Counter)
    for key, amount in effects.items():
        if isinstance(key, DayKey):
            found[key.account][key.name] += amount
    return dict(found)


def _adding(account: Account, numbers: Mapping[str, int]) -> Change:
    sets = {
        "kind": account.kind,
        "type": account.type,
        "day_ms": account.day_ms,
        "expires_at_s": account.day_ms // 1_000 + KEPT_S,
    }
    return Change((), sets=sets, adds=numbers)


def _key(account: Account, slot: int) -> dict[str, Any]:
    return {"view": _view(account.kind), "key": _key_text(account, slot)}


@lru_cache(maxsize=1_024)  # batch by batch it is the same few
def _key_text(account: Account, slot: int) -> str:
    digest = hashlib.sha256(f"{account.kind}\0{account.type}".encode()).hexdigest()[:20]
    return f"{_date(account.day_ms)}|{slot}|{digest}"


def _view(kind: str | None) -> str:
    return VIEWS.get(kind, "days")


def _date(day_ms: int) -> str:
    return f"{datetime.fromtimestamp(day_ms / 1_000, UTC):%Y-%m-%d}"
