"""Fields of a request that do not all go together: how that is checked, shown in the API's document, and told."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, JsonValue, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from chalicelib.http.models import UNFIT, ApiModel

NULL: JsonValue = {"type": "null"}


def unfit(expected: str, got: str, remedy: str) -> PydanticCustomError:
    """What a model's validator raises for fields that do not go together; ``got``: which were there, without values."""
    return PydanticCustomError(UNFIT, "fields that go together", {"expected": expected, "got": got, "remedy": remedy})


def expect_forwards(start_name: str, start: datetime | None, end_name: str, end: datetime | None) -> None:
    """Raise for a span of time that ends before it begins."""
    if start is not None and end is not None and end < start:
        got = f"{start_name} {start.isoformat()}, {end_name} {end.isoformat()}"
        raise unfit(f"an {end_name} that is not before {start_name}", got, "say the earlier one first")


def _show_choices(schema: dict[str, Any], model: type[OneOf]) -> None:
    groups = [[to_camel(name) for name in group] for group in model.GROUPS]
    every = dict.fromkeys(name for group in groups for name in group)
    schema["oneOf"] = [
        {"required": group, "properties": {name: {"not": NULL} if name in group else NULL for name in every}}
        for group in groups
    ]


class OneOf(ApiModel):
    """A request with all fields of one of its ``GROUPS``, and none of the others; null is as good as left out."""

    GROUPS: ClassVar[tuple[tuple[str, ...], ...]]

    model_config = ConfigDict(json_schema_extra=_show_choices)

    @model_validator(mode="after")
    def _one_group(self) -> Self:
        given = {name for group in self.GROUPS for name in group if getattr(self, name) is not None}
        if not any(given == {*group} for group in self.GROUPS):
            groups = [[to_camel(name) for name in group] for group in self.GROUPS]
            got = [to_camel(name) for group in self.GROUPS for name in group if name in given]
            raise unfit(_expected(groups), _listed(got) if got else "none of them", _remedy(groups, got))
        return self


def _remedy(groups: list[list[str]], got: list[str]) -> str:
    if not got:
        return "say what is meant"
    is_part = any({*got} < {*group} for group in groups)
    return "give what is missing, or leave out the others" if is_part else "leave out what is not meant"


def _expected(groups: list[list[str]]) -> str:
    """``either id or ids, and not both``, ``one of id, ids and topic``, ``either id, or type and key together``."""
    if any(len(group) > 1 for group in groups):
        return "either " + ", or ".join(_listed(group) + (" together" if len(group) > 1 else "") for group in groups)
    names = [name for group in groups for name in group]
    return f"either {names[0]} or {names[1]}, and not both" if len(names) == 2 else f"one of {_listed(names)}"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
