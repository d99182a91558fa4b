"""What was changed of the controls that handlers declare, while they run. In the directory table.

Key layout::

    kind            name                     what
    flow_setting    <sha256 of the count>    of: the kind; type; key, or none for all of them; at_ms; by: who set it;
                                             and what is not as declared of concurrency, rate (count, period in ms,
                                             burst), order, unique (until, for_ms, by), debounce (wait_ms, latest_ms,
                                             by); the last three may be "off"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.flow import Debounce, Rate, Unique
from chalicelib.core.flow_controls import NO_CONTROLS, FlowControls, FlowTarget
from chalicelib.core.states import Kind
from chalicelib.core.versions import version_of
from chalicelib.store.directory import NOT_THERE, digest
from chalicelib.store.expressions import Clause
from chalicelib.store.table import Table

KIND = "flow_setting"


@dataclass(frozen=True, slots=True)
class FlowSetting:
    """The controls of a type or topic, or of one key of it, that hold in the place of what is declared."""

    target: FlowTarget
    controls: FlowControls
    at_ms: int
    by: str | None = None  # who set it, where that is known

    @property
    def version(self) -> str:
        """What tells it from what was set before it, and after."""
        return version_of(json.dumps(item_of(self), sort_keys=True))


UNCHANGED = FlowSetting(FlowTarget(Kind.TASK, ""), NO_CONTROLS, 0)


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """The access patterns of the settings."""

    table: Table

    def all(self, *, consistent: bool = False) -> list[FlowSetting]:
        """Every setting, oldest first."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND}, consistent=consistent)
        return sorted((setting_of(row) for row in rows), key=lambda each: (each.at_ms, each.target.count))

    def find(self, count: str) -> FlowSetting | None:
        """What is set, as of the last write."""
        item = self.table.get(key_of(count))
        return setting_of(item) if item else None

    def put(self, setting: FlowSetting, *clauses: Clause) -> None:
        """Set it, whatever was set before; raises ``Refused`` when a clause, such as ``as_seen``, does not hold."""
        self.table.put(item_of(setting), *clauses)

    def remove(self, count: str, *clauses: Clause) -> None:
        """Everything is as declared again; raises ``Refused`` when nothing is set, or a clause does not hold."""
        self.table.delete(key_of(count), Clause("there", "attribute_exists({name})"), *clauses)


def as_seen(setting: FlowSetting | None) -> Clause:
    """Nobody has changed it since it was read."""
    if setting is None:
        return NOT_THERE
    item = item_of(setting)
    alike = [f"{{{name}}} = :{name}" for name, value in item.items() if value is not None]
    absent = [f"attribute_not_exists({{{name}}})" for name, value in item.items() if value is None]
    values = {f":{name}": value for name, value in item.items() if value is not None}
    return Clause("as seen", " AND ".join(alike + absent), values)


def key_of(count: str) -> dict[str, str]:
    """Where the setting for a concurrency count is kept, if there is one."""
    return {"kind": KIND, "name": digest(count)}


def item_of(setting: FlowSetting) -> dict[str, Any]:
    """The item of a setting."""
    target = setting.target
    return {
        **key_of(target.count),
        "of": target.kind.value,
        "type": target.type,
        "key": target.key,
        **_to_attributes(setting.controls),
        "at_ms": setting.at_ms,
        "by": setting.by,
    }


def setting_of(row: Mapping[str, Any]) -> FlowSetting:
    """The setting in an item of this kind."""
    target = FlowTarget(Kind(row["of"]), row["type"], row.get("key"))
    return FlowSetting(target, _from_attributes(row), row["at_ms"], row.get("by"))


def _to_attributes(controls: FlowControls) -> dict[str, Any]:
    rate, unique, debounce = controls.rate, controls.unique, controls.debounce
    return {
        "concurrency": controls.concurrency,
        "rate": None if rate is None else [rate.count, _ms(rate.per_s), rate.burst],
        "order": controls.order,
        "unique": {"until": unique.until, "for_ms": _ms(unique.for_s), "by": unique.by}
        if isinstance(unique, Unique)
        else unique,
        "debounce": {"wait_ms": _ms(debounce.wait_s), "latest_ms": _ms(debounce.latest_s), "by": debounce.by}
        if isinstance(debounce, Debounce)
        else debounce,
    }


def _from_attributes(row: Mapping[str, Any]) -> FlowControls:
    rate, unique, debounce = row.get("rate"), row.get("unique"), row.get("debounce")
    return FlowControls(
        concurrency=row.get("concurrency"),
        rate=None if rate is None else Rate(rate[0], rate[1] / 1_000, rate[2]),
        order=row.get("order"),
        unique=Unique(unique.get("until"), _s(unique.get("for_ms")), unique.get("by"))
        if isinstance(unique, Mapping)
        else unique,
        debounce=_debounce(debounce) if isinstance(debounce, Mapping) else debounce,
    )


def _debounce(kept: Mapping[str, Any]) -> Debounce:
    """What was kept of one. An older version let a wait go on beyond the latest time, which alone held then."""
    wait_s, latest_s = kept["wait_ms"] / 1_000, _s(kept.get("latest_ms"))
    return Debounce(wait_s if latest_s is None else min(wait_s, latest_s), latest_s, kept.get("by"))


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)


def _s(ms: int | None) -> float | None:
    return None if ms is None else ms / 1_000
