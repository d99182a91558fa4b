"""An example for a JSON schema: what its author gave as one, and plain values where nobody gave any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_FORMAT = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "uri": "https://example.com/hook",
    "uuid": "01890a5d-ac96-7000-8000-000000000000",
}


def sample(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Any:
    """A value that fits ``schema``, whose references are ``prefix`` and a key of ``definitions``.

    Of an object it names the required members and those with an example of their own.
    """
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("default") is not None:
        return schema["default"]
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(prefix)
        rest = {key: value for key, value in definitions.items() if key != name}  # a recursive schema ends here
        return sample(definitions[name], rest, prefix) if name in definitions else {}
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return sample(schema[choice][0], definitions, prefix)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    return _of_type(schema, definitions, prefix)


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Any:
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            members = schema.get("properties", {}).items()
            return {
                name: sample(member, definitions, prefix)
                for name, member in members
                if name in required or "examples" in member
            }
        case "array":
            return [sample(schema["items"], definitions, prefix)] if schema.get("items") else []
        case "string":
            return _OF_FORMAT.get(schema.get("format", ""), "text")
        case "integer" | "number":
            return schema.get("minimum", schema.get("maximum", 1))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return {}
