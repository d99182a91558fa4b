"""The groups of failures. In the table of ``store/insights.py``.

Key layout::

    view       key                                   what
    failures   <digest>|<fingerprint>|<slot>   kind, type, fingerprint, cause, error (normalised); failed, total: how
                                               many; first_ms, last_ms; sample, sample_error: the newest

The digest is of kind and type. The projector adds to the row of its slot; readers add up slots, and take the first time
and the newest sample. A row is forgotten 400 days after its last change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from chalicelib.core.failures import FailureGroup, Failures, Sample
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Change
from chalicelib.store.table import Table
from chalicelib.store.task_statistics import KEPT_S

VIEW = "failures"
ROWS_MAX = 10_000  # that one answer reads


class FailureGroups:
    """The groups, which the projector alone writes."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def adding(self, slot: int, groups: Mapping[FailureGroup, Failures]) -> Iterator[AttributeValues]:
        """The actions of a transaction that add to groups, a row each."""
        for group, more in groups.items():
            adds = {"failed": more.failed, "total": more.total}
            sets = {**_named(group, more), **_sampled(more)}
            keeps = {} if more.first_at_ms is None else {"first_ms": more.first_at_ms}
            change = Change((), sets=sets, adds={name: number for name, number in adds.items() if number}, keeps=keeps)
            yield self._table.updating(_key(group, slot), change)

    def read(
        self,
        kind: str | None = None,
        type: str | None = None,  # noqa: A002  # every dialect's word for it
        most: int | None = ROWS_MAX,
    ) -> dict[FailureGroup, Failures]:
        """Every group, as far as the stream has been read; of one kind and type by their rows alone.

        Of more rows than ``most``, those that are read first.
        """
        condition, values = "{view} = :view", {":view": VIEW}
        if kind is not None and type is not None:
            condition, values = f"{condition} AND begins_with({{key}}, :of)", {**values, ":of": f"{_of(kind, type)}|"}
        found: dict[FailureGroup, Failures] = {}
        for row in islice(self._table.query_all(condition, values, consistent=True), most):
            group = FailureGroup(row["kind"], row["type"], row["fingerprint"])
            if kind in (None, group.kind) and type in (None, group.type):
                found[group] = found[group] + _read(row) if group in found else _read(row)
        return found

    def replace(self, slot: int, groups: Mapping[FailureGroup, Failures]) -> None:
        """Let the groups be as given and no others; nobody may be counting meanwhile. May be repeated."""
        rows = [row["key"] for row in self._table.query_all("{view} = :view", {":view": VIEW}, consistent=True)]
        items = [
            {
                **_key(group, slot),
                **_named(group, found),
                **_sampled(found),
                "failed": found.failed,
                "total": found.total,
                "first_ms": found.first_at_ms,
            }
            for group, found in groups.items()
        ]
        kept = {item["key"] for item in items}
        self._table.put_many([{name: value for name, value in item.items() if value is not None} for item in items])
        self._table.delete_many([{"view": VIEW, "key": key} for key in rows if key not in kept])


def _named(group: FailureGroup, found: Failures) -> dict[str, Any]:
    names = {"kind": group.kind, "type": group.type, "fingerprint": group.fingerprint}
    expires_at_s = found.changed_at_ms // 1_000 + KEPT_S
    return {**names, "cause": found.cause, "error": found.error, "expires_at_s": expires_at_s}


def _sampled(found: Failures) -> dict[str, Any]:
    sample = found.newest
    return {} if sample is None else {"last_ms": sample.at_ms, "sample": sample.job, "sample_error": sample.error}


def _read(row: Mapping[str, Any]) -> Failures:
    newest = Sample(row["sample"], row["sample_error"], row["last_ms"]) if "last_ms" in row else None
    changed_at_ms = (row["expires_at_s"] - KEPT_S) * 1_000
    numbers = (row.get("failed", 0), row.get("total", 0))
    return Failures(row.get("cause"), row["error"], changed_at_ms, *numbers, row.get("first_ms"), newest)


def _of(kind: str, type: str) -> str:  # noqa: A002  # as above
    return hashlib.sha256(f"{kind}\0{type}".encode()).hexdigest()[:20]


def _key(group: FailureGroup, slot: int) -> dict[str, str]:
    return {"view": VIEW, "key": f"{_of(group.kind, group.type)}|{group.fingerprint}|{slot}"}
