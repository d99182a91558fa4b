"""What was changed of the controls that handlers declare, while they run. In the directory table.

Key layout::

    kind            name                     what
    flow_setting    <sha256 of the count>    of: the kind; type; key, or none for all of them; at_ms; by: who set it;
                                             and of concurrency, rate (count, period in ms, burst) what is not as
                                             declared
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.flow import Rate
from chalicelib.core.limits import count_of_key, count_of_type
from chalicelib.core.states import Kind
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Clause
from chalicelib.store.table import Refused, Table

KIND = "flow_setting"


@dataclass(frozen=True, slots=True)
class FlowSetting:
    """What holds for a type or topic, or for one key of it, in the place of what is declared. ``None``: as declared."""

    kind: Kind
    type: str
    key: str | None
    concurrency: int | None
    rate: Rate | None
    at_ms: int
    by: str | None = None  # who set it, where that is known

    @property
    def of_type(self) -> str:
        """The name of the type's concurrency count."""
        return count_of_type(self.kind, self.type)

    @property
    def count(self) -> str:
        """The name of the concurrency count that it bounds."""
        return self.of_type if self.key is None else count_of_key(self.of_type, self.key)


UNCHANGED = FlowSetting(Kind.TASK, "", None, None, None, 0)


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """The access patterns of the settings."""

    table: Table

    def all(self, *, consistent: bool = False) -> list[FlowSetting]:
        """Every setting, oldest first."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND}, consistent=consistent)
        return sorted((setting_of(row) for row in rows), key=lambda each: (each.at_ms, each.count))

    def put(self, setting: FlowSetting) -> None:
        """Set it, whatever was set before."""
        rate = setting.rate
        item = {
            **key_of(setting.count),
            "of": setting.kind.value,
            "type": setting.type,
            "key": setting.key,
            "concurrency": setting.concurrency,
            "rate": None if rate is None else [rate.count, round(rate.per_s * 1_000), rate.burst],
            "at_ms": setting.at_ms,
            "by": setting.by,
        }
        self.table.put(item)

    def remove(self, count: str) -> bool:
        """Everything is as declared again; returns whether it was not."""
        try:
            self.table.delete(key_of(count), Clause("there", "attribute_exists({name})"))
        except Refused:
            return False
        return True


def key_of(count: str) -> dict[str, str]:
    """Where the setting for a concurrency count is kept, if there is one."""
    return {"kind": KIND, "name": digest(count)}


def setting_of(row: Mapping[str, Any]) -> FlowSetting:
    """The setting in an item of this kind."""
    rate = None if "rate" not in row else Rate(row["rate"][0], row["rate"][1] / 1_000, row["rate"][2])
    return FlowSetting(
        Kind(row["of"]), row["type"], row.get("key"), row.get("concurrency"), rate, row["at_ms"], row.get("by")
    )
