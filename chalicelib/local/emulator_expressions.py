"""The embedded emulator's conditions and updates: an expression of our form is read once, then it is only carried out.

MiniStack goes over the parts of an expression anew for each request, and copies the whole item twice more for an
update: more than all else that it does for one. Here the item before an update and the one after it share what stays:
both are put away whole, and nothing in them is changed. An expression of any other form than ours is left alone, and
so is one that does not fit the item: what is to be said of it, MiniStack says.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from chalicelib.local.emulator_items import copied

READ_MAX = 4_096  # expressions; ours are some hundred
CONDITIONS = "ConditionExpression"
_SET = (
    r"#\w+ = (?:(?:[:#]\w+)|if_not_exists\(#\w+, :\w+\)(?: \+ :\w+)?|list_append\(if_not_exists\(#\w+, :\w+\), :\w+\))"
)
_UPDATE = re.compile(
    rf"(?:SET (?P<sets>{_SET}(?:, {_SET})*)(?: |$))?(?:REMOVE (?P<removes>#\w+(?:, #\w+)*))?", re.ASCII
)
_ASSIGNMENT = re.compile(
    r"(?P<target>#\w+) = (?P<append>list_append\()?"
    r"(?:if_not_exists\((?P<kept>#\w+), (?P<default>:\w+)\)|(?P<plain>[:#]\w+))"
    r"(?:(?: \+ |, )(?P<more>:\w+)(?=\)|, #|$))?",
    re.ASCII,
)
_CLAUSE = re.compile(
    r"\((?:(?P<function>attribute_exists|attribute_not_exists)\((?P<looked_at>#\w+)\)"
    r"|(?:size\((?P<sized>#\w+)\)|(?P<left>#\w+)) (?P<operator>=|<>|<=?|>=?) (?P<right>[:#]\w+)"
    r"|(?P<member>#\w+) IN \((?P<choices>:\w+(?:, :\w+)*)\))\)",
    re.ASCII,
)
_REFERENCE = re.compile(r"[:#]\w+", re.ASCII)

AttributeValue = Any  # one entry: its type and its content
References = Mapping[str, Any]  # what names and values of an expression stand for
Assignment = Mapping[str, Any]  # by the groups of its pattern
Clause = Callable[[Any, References], bool]


_shares: ContextVar[bool] = ContextVar("shares", default=False)  # whether an item is copied for an update of our form


class _Unfit(Exception):
    """An expression does not fit the item."""


def install() -> None:
    """Let MiniStack's DynamoDB, in this process, carry expressions out so; once."""
    from ministack.services import dynamodb

    dynamodb.copy = SimpleNamespace(**{**vars(dynamodb.copy), "deepcopy": _copying(dynamodb.copy.deepcopy)})
    dynamodb._update_item = _sharing(dynamodb._update_item)
    dynamodb._apply_update_expression = _applying(dynamodb, dynamodb._apply_update_expression)
    dynamodb._evaluate_condition = _evaluating(dynamodb, dynamodb._evaluate_condition)


# -- updates ------------------------------------------------------------------------------------------


def _copying(deeply: Callable[..., Any]) -> Callable[..., Any]:
    def copied_item(value: Any, *memo: Any) -> Any:
        return dict(value) if _shares.get() and type(value) is dict else deeply(value, *memo)

    return copied_item


def _sharing(update: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``UpdateItem``, of whose copies of the item only the outside is new if the update has our form."""

    def update_item(data: Any) -> Any:
        text = data.get("UpdateExpression")
        token = _shares.set(type(text) is str and _read_update(text) is not None)
        try:
            return update(data)
        finally:
            _shares.reset(token)

    return update_item


def _applying(dynamodb: Any, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    def apply(item: Any, text: str, values: Any, names: Any, updated: set[Any] | None = None) -> Any:
        _shares.set(False)  # what MiniStack changes in places it copies whole
        read = _read_update(text)
        if read is None or "M" in item or "M" in names.values():  # such an item MiniStack takes for a map
            return otherwise(item, text, values, names, updated)
        try:
            assigned = {names[each["target"]]: _value(dynamodb, each, item, values, names) for each in read[0]}
            removed = [names[name] for name in read[1]]
        except (_Unfit, KeyError, TypeError):
            return otherwise(item, text, values, names, updated)
        changed = {**item, **assigned}
        for name in removed:
            changed.pop(name, None)
        updated = set() if updated is None else updated
        updated.update((name,) for name in (*assigned, *removed))
        return changed, updated

    return apply


@lru_cache(READ_MAX)
def _read_update(text: str) -> tuple[list[Assignment], list[str]] | None:
    """What an update assigns, and the names of what it removes; ``None`` for one of another form."""
    form = _UPDATE.fullmatch(text)
    if form is None:
        return None
    assignments: list[Assignment] = [found.groupdict() for found in _ASSIGNMENT.finditer(form["sets"] or "")]
    return assignments, _REFERENCE.findall(form["removes"] or "")


def _value(dynamodb: Any, assignment: Assignment, item: Any, values: Any, names: Any) -> AttributeValue:
    """What is assigned, of the item as it was before."""
    kept, plain, more = assignment["kept"], assignment["plain"], assignment["more"]
    if plain is not None:
        return values[plain] if plain.startswith(":") else copied(item[names[plain]])
    base = item.get(names[kept])
    base = values[assignment["default"]] if base is None else copied(base)
    if more is None:
        return base
    if assignment["append"]:
        return {"L": _content("L", base) + _content("L", values[more])}
    total = Decimal(_content("N", base)) + Decimal(_content("N", values[more]))
    number = dynamodb._ddb_canonicalize_number(str(total))
    if number is None:
        raise _Unfit
    return {"N": number}


def _content(kind: str, value: AttributeValue) -> Any:
    if kind not in value:
        raise _Unfit
    return value[kind]


# -- conditions ---------------------------------------------------------------------------------------


def _evaluating(dynamodb: Any, otherwise: Callable[..., bool]) -> Callable[..., bool]:
    @lru_cache(READ_MAX)
    def read(text: str) -> tuple[list[Clause], frozenset[str]] | None:
        """The clauses of a condition, all of which are to hold, and to what it refers."""
        found = list(_CLAUSE.finditer(text))
        if " AND ".join([clause[0] for clause in found]) != text:
            return None
        return [_clause(dynamodb, clause.groupdict()) for clause in found], frozenset(_REFERENCE.findall(text))

    def evaluate(text: str, item: Any, values: Any, names: Any, slot: str = CONDITIONS) -> bool:
        known = read(text) if text and slot == CONDITIONS else None
        if known is None:
            return otherwise(text, item, values, names, slot=slot)
        stands_for = {**values, **names}
        if not known[1] <= stands_for.keys():
            return otherwise(text, item, values, names, slot=slot)
        return all(holds(item, stands_for) for holds in known[0])

    return evaluate


def _clause(dynamodb: Any, part: Mapping[str, Any]) -> Clause:
    looked_at, member, sized = part["looked_at"], part["member"], part["sized"]
    left, operator, right = part["left"], part["operator"], part["right"]
    if looked_at is not None:
        expected = part["function"] == "attribute_exists"
        return lambda item, stands_for: (item.get(stands_for[looked_at]) is not None) is expected
    compare = dynamodb._compare_ddb

    def value_of(reference: str, item: Any, stands_for: References) -> AttributeValue:
        found = stands_for[reference]
        return found if reference.startswith(":") else item.get(found)

    def size_of(item: Any, stands_for: References) -> AttributeValue:
        found = item.get(stands_for[sized])
        return None if found is None else {"N": str(dynamodb._ddb_size(found))}

    if member is not None:
        choices = _REFERENCE.findall(part["choices"])
        return lambda item, stands_for: any(
            compare(item.get(stands_for[member]), "=", stands_for[choice]) for choice in choices
        )
    if sized is not None:
        return lambda item, to: bool(compare(size_of(item, to), operator, value_of(right, item, to)))
    return lambda item, to: bool(compare(value_of(left, item, to), operator, value_of(right, item, to)))
