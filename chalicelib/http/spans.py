"""Which numbers a field takes, read off the JSON Schema of the request, for the errors of what is no number at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from chalicelib.core.expectations import Span, number_of

Schema = Mapping[str, Any]


def number_at(shape: TypeAdapter[Any], steps: Sequence[str | int]) -> str | None:
    """The number that the field at ``steps`` must be, in words; ``None`` where it may be something else as well."""
    whole = shape.json_schema(by_alias=True)
    found: list[Schema] = [*_choices(whole, whole)]
    for step in steps:
        found = [choice for each in found for inner in _within(each, step) for choice in _choices(inner, whole)]
    found = [each for each in found if each.get("type") != "null"]
    kinds = {each.get("type") for each in found}
    if not found or not kinds <= {"integer", "number"} or any("enum" in each for each in found):
        return None
    return number_of(_span(found), is_whole=kinds == {"integer"})


def _choices(schema: Any, whole: Schema) -> Iterator[Schema]:
    """What a schema allows, its references followed."""
    if not isinstance(schema, Mapping):
        return
    if "$ref" in schema:
        yield from _choices(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
        return
    inner = [each for name in ("anyOf", "oneOf", "allOf") for each in schema.get(name, ())]
    if "type" in schema or not inner:
        yield schema  # a model's oneOf only says which of its fields go together
        return
    for each in inner:
        yield from _choices(each, whole)


def _within(schema: Schema, step: str | int) -> Iterator[Any]:
    if isinstance(step, int):
        yield schema.get("items")
    else:
        yield schema.get("properties", {}).get(step, schema.get("additionalProperties"))


def _span(found: Sequence[Schema]) -> Span:
    least = [each.get("minimum", each.get("exclusiveMinimum")) for each in found]
    most = [each.get("maximum", each.get("exclusiveMaximum")) for each in found]
    return (None if None in least else min(least), None if None in most else max(most))
