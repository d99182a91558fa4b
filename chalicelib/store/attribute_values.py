"""Plain Python values as DynamoDB writes them, and back.

Only what the tables hold: strings, whole numbers, booleans, lists and maps. Fractions are stored as text
inside JSON, so that no number changes on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Wire = dict[str, Any]


def to_wire(value: Any) -> Wire:
    """One value with its DynamoDB type; raises ``TypeError`` for a type that no table holds."""
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case list() | tuple():
            return {"L": [to_wire(entry) for entry in value]}
        case dict():
            return {"M": item_to_wire(value)}
    raise TypeError(f"no DynamoDB form for {type(value).__name__}")


def from_wire(wire: Wire) -> Any:
    """The value of one typed attribute."""
    ((kind, value),) = wire.items()
    match kind:
        case "N":
            return int(value)
        case "L":
            return [from_wire(entry) for entry in value]
        case "M":
            return item_from_wire(value)
        case "S" | "BOOL":
            return value
    raise TypeError(f"unexpected DynamoDB type {kind}")


def item_to_wire(item: Mapping[str, Any]) -> Wire:
    """An item's attributes with their types; an attribute that is ``None`` is left out."""
    return {name: to_wire(value) for name, value in item.items() if value is not None}


def item_from_wire(wire: Mapping[str, Wire]) -> dict[str, Any]:
    """The attributes of an item read from DynamoDB."""
    return {name: from_wire(value) for name, value in wire.items()}
