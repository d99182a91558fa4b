"""Plain Python values as DynamoDB writes them, and back.

Only what the tables hold: strings, whole numbers, booleans, lists and maps. Fractions are stored as text
inside JSON, so that no number changes on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AttributeValues = dict[str, Any]


def to_attribute_value(value: Any) -> AttributeValues:
    """One value with its DynamoDB type; raises ``TypeError`` for a type that no table holds."""
    kind = type(value)
    if kind is str:  # what most values are, plainly
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case list() | tuple():
            return {"L": [to_attribute_value(entry) for entry in value]}
        case dict():
            return {"M": to_attribute_values(value)}
    raise TypeError(f"no DynamoDB form for {type(value).__name__}")


def from_attribute_value(attribute_value: AttributeValues) -> Any:
    """The value of one typed attribute."""
    ((kind, value),) = attribute_value.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return int(value)
        case "L":
            return [entry["S"] if "S" in entry else from_attribute_value(entry) for entry in value]
        case "M":
            return from_attribute_values(value)
    raise TypeError(f"unexpected DynamoDB type {kind}")


def to_attribute_values(item: Mapping[str, Any]) -> AttributeValues:
    """An item's attributes with their types; an attribute that is ``None`` is left out."""
    return {name: to_attribute_value(value) for name, value in item.items() if value is not None}


def from_attribute_values(attribute_value: Mapping[str, AttributeValues]) -> dict[str, Any]:
    """The attributes of an item read from DynamoDB."""
    return {  # texts and numbers, which most are, plainly
        name: value["S"] if "S" in value else int(value["N"]) if "N" in value else from_attribute_value(value)
        for name, value in attribute_value.items()
    }
