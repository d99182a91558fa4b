"""The embedded emulator's writes: what MiniStack makes sure of for each, and its indexes, in a fraction of the time.

It goes over the values of a request five times, over its expressions once more, and takes an item out of every index
and puts it into every index again, whatever has changed. Here what is plain is seen at one look, what was found right
of expressions is remembered, and only the indexes that an item moves in are touched. At anything else MiniStack looks.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from chalicelib.local.emulator_items import KEY_MAX_CHARS, is_shared

READ_MAX = 4_096  # expressions with their names; ours are some hundred

Item = Mapping[str, Any]
Table = dict[str, Any]

_is_billed: ContextVar[bool] = ContextVar("is_billed", default=True)  # whether a batch is to tell what it costs


def install() -> None:
    """Let MiniStack's DynamoDB, in this process, write so; once."""
    from ministack.services import dynamodb

    dynamodb._older_layer_error = _looking_at_depth(dynamodb._older_layer_error)
    dynamodb._values_error_response = _looking_at_values(dynamodb)
    dynamodb._value_nesting_error = _looking_at_nesting(dynamodb._value_nesting_error)
    dynamodb._validate_expression_attrs = _remembering_expressions(dynamodb._validate_expression_attrs)
    dynamodb._resolve_table_key_values = _resolving(dynamodb)
    dynamodb._validate_index_key_values = _looking_at_keys(dynamodb._validate_index_key_values)
    dynamodb._set_item = _setting(dynamodb)
    dynamodb._batch_write_item = _reporting_if_billed(dynamodb._batch_write_item)
    dynamodb._accumulate_write_capacity = _if_billed(dynamodb._accumulate_write_capacity)


# -- values and expressions ---------------------------------------------------------------------------


def _is_flat(value: Any) -> bool:
    """Whether a value is a text, a number, a flag, or a list of texts and numbers: nested twice at most."""
    if type(value) is not dict or len(value) != 1:
        return False
    ((kind, content),) = value.items()
    return type(content) is str or type(content) is bool or (kind == "L" and _are_shared(content))


def _are_shared(content: Any) -> bool:
    return type(content) is list and all(map(is_shared, content))


def _looking_at_depth(exact: Callable[..., Any]) -> Callable[..., Any]:
    def older_layer_error(data: Any, op: str) -> Any:
        given = (data.get(name) or {} for name in ("Key", "Item", "ExpressionAttributeValues"))
        is_flat = op != "put" and "Key" in data and "Expected" not in data and "AttributeUpdates" not in data
        return None if is_flat and all(_are_flat(each) for each in given) else exact(data, op)

    return older_layer_error


def _looking_at_nesting(exact: Callable[..., Any]) -> Callable[..., Any]:
    def value_nesting_error(values: Any, first_level: int) -> Any:
        return None if _are_flat(values) else exact(values, first_level)

    return value_nesting_error


def _are_flat(values: Any) -> bool:
    return type(values) is dict and all(map(_is_flat, values.values()))


def _looking_at_values(dynamodb: Any) -> Callable[..., Any]:
    """Bad numbers and sets with duplicates: sought in other values than texts, flags and good numbers."""
    exact = dynamodb._values_error_response

    def is_right(value: Any) -> bool:
        if not _is_flat(value):
            return False
        ((kind, content),) = value.items()
        return kind in ("S", "BOOL") or (kind == "N" and dynamodb._number_error(content) is None)

    def values_error_response(values: Iterable[Any], envelope: bool) -> Any:
        others = [value for value in values if not is_right(value)]
        return exact(others, envelope) if others else None

    return values_error_response


def _remembering_expressions(exact: Callable[..., Any]) -> Callable[..., Any]:
    """Whether the names and values of a request are those of its expressions: of those alike it is found once."""
    right: set[Any] = set()

    def validate_expression_attrs(data: Any, fields: tuple[str, ...], *wording: Any) -> Any:
        given = [data.get(name) for name in ("ExpressionAttributeValues", "ExpressionAttributeNames")]
        texts = [data.get(name) for name in fields]
        if not (all(type(each) in (dict, type(None)) for each in given) and all(map(_is_text, texts))):
            return exact(data, fields, *wording)
        alike = (fields, *texts, *(None if each is None else tuple(each) for each in given))
        if alike in right:
            return None
        error = exact(data, fields, *wording)
        if error is None:
            if len(right) >= READ_MAX:
                right.clear()
            right.add(alike)
        return error

    return validate_expression_attrs


def _is_text(value: Any) -> bool:
    return value is None or type(value) is str


# -- keys and indexes ---------------------------------------------------------------------------------


def _is_key(value: Any, kind: str) -> bool:
    """Whether a value is a short text or number of that kind."""
    content = value.get(kind) if type(value) is dict and len(value) == 1 else None
    return type(content) is str and 0 < len(content) <= KEY_MAX_CHARS and kind in ("S", "N")


def _resolving(dynamodb: Any) -> Callable[..., Any]:
    """The keys of an item in its table."""
    exact = dynamodb._resolve_table_key_values

    def resolve(table: Table, attributes: Any, allow_extra: bool) -> Any:
        names = [name for name in (table["pk_name"], table["sk_name"]) if name]
        kinds = {name: dynamodb._get_attr_type(table, name) for name in names}
        if type(attributes) is not dict or not (allow_extra or len(attributes) == len(kinds)):
            return exact(table, attributes, allow_extra)
        if not all(_is_key(attributes.get(name), kind) for name, kind in kinds.items()):
            return exact(table, attributes, allow_extra)
        keys = [attributes[name][kinds[name]] for name in names]
        return keys[0], keys[1] if table["sk_name"] else "__no_sort__", None

    return resolve


def _looking_at_keys(exact: Callable[..., Any]) -> Callable[..., Any]:
    """Whether the indexes can take an item: what a table defines are its keys and theirs."""

    def validate_index_key_values(table: Table, item: Item, **how: Any) -> Any:
        kinds = ((each["AttributeName"], each["AttributeType"]) for each in table.get("AttributeDefinitions") or ())
        fits = not table.get("VectorIndexes") and all(
            name not in item or _is_key(item[name], kind) for name, kind in kinds
        )
        return None if fits else exact(table, item, **how)

    return validate_index_key_values


def _setting(dynamodb: Any) -> Callable[..., Any]:
    """Store an item; where it takes the place of another, it is moved in the indexes whose keys have changed."""
    exact = dynamodb._set_item

    def set_item(table: Table, partition: Any, sort: Any, item: Item) -> Any:
        before = table["items"].get(partition, {}).get(sort)
        members = table.get(dynamodb._INDEX_MEMBERS)
        indexes = table.get("GlobalSecondaryIndexes", []) + table.get("LocalSecondaryIndexes", [])
        if before is None or members is None or len(members) != len(indexes):
            return exact(table, partition, sort, item)
        moved = [index for index in indexes if _is_moved(index, before, item)]
        part = {**table, "GlobalSecondaryIndexes": moved, "LocalSecondaryIndexes": []}
        dynamodb._index_item(part, partition, sort, before, add=False)
        table["items"][partition][sort] = item
        dynamodb._index_item(part, partition, sort, item, add=True)
        return before

    return set_item


def _is_moved(index: Mapping[str, Any], before: Item, item: Item) -> bool:
    names = [each["AttributeName"] for each in index["KeySchema"]]
    return [before.get(name) for name in names] != [item.get(name) for name in names]


# -- what a batch costs -------------------------------------------------------------------------------


def _reporting_if_billed(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def batch_write_item(data: Any) -> Any:
        token = _is_billed.set("ReturnConsumedCapacity" in data)
        try:
            return write(data)
        finally:
            _is_billed.reset(token)

    return batch_write_item


def _if_billed(accumulate: Callable[..., None]) -> Callable[..., None]:
    def accumulate_write_capacity(*given: Any) -> None:
        if _is_billed.get():
            accumulate(*given)

    return accumulate_write_capacity
