"""DynamoDB's expressions, read once: what an expression says becomes a Python function.

Only the forms that the store writes are known; another one raises, so that nothing passes for true by being misread.
(Amazon DynamoDB Developer Guide, "Condition and filter expressions" and "Update expressions".)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Item = dict[str, Any]
"""Attributes as DynamoDB writes them: ``{"state": {"S": "pending"}}``."""
Names = Mapping[str, str]
"""What the placeholders of attributes stand for: ``{"#state": "state"}``."""
Condition = Callable[[Item, Item, Names], bool]
"""Of an item, the values that the expression names, and the attributes."""

_TOKEN = re.compile(r"\s*([#:]?\w+|<>|<=|>=|[=<>(),+])")
_ASSIGNMENTS = re.compile(r", (?=#\w+ = )")
_COMPARE = {"=": "equal", "<>": "unequal", "<": "less", "<=": "at_most", ">": "more", ">=": "at_least"}


class Unreadable(Exception):
    """An expression of a form that the store does not write."""


def _number_or_text(value: Item) -> Any:
    return int(value["N"]) if "N" in value else value["S"]


def _ordered(left: Item | None, right: Item | None, holds: Callable[[Any, Any], bool]) -> bool:
    if left is None or right is None or left.keys() != right.keys():
        return False
    return holds(_number_or_text(left), _number_or_text(right))


def _size(value: Item | None) -> Item | None:
    return None if value is None else {"N": str(len(next(iter(value.values()))))}


def _sum(left: Item, right: Item) -> Item:
    return {"N": str(int(left["N"]) + int(right["N"]))}


_HELPERS: dict[str, Any] = {
    "equal": lambda left, right: left is not None and left == right,
    "unequal": lambda left, right: left != right,
    "less": lambda left, right: _ordered(left, right, lambda a, b: a < b),
    "at_most": lambda left, right: _ordered(left, right, lambda a, b: a <= b),
    "more": lambda left, right: _ordered(left, right, lambda a, b: a > b),
    "at_least": lambda left, right: _ordered(left, right, lambda a, b: a >= b),
    "begins": lambda value, prefix: value is not None and value["S"].startswith(prefix["S"]),
    "size": _size,
    "sum": _sum,
    "append": lambda left, right: {"L": left["L"] + right["L"]},
    "first": lambda value, other: other if value is None else value,
}


@cache
def condition(text: str) -> Condition:
    """The condition that ``text`` says."""
    reader = _Reader(text)
    source = reader.either()
    reader.end()
    return _function("holds", f"return {source}")


def updated(text: str, item: Item, values: Item, names: Names) -> Item:
    """An item after the update that ``text`` says."""
    return _update(text)(item, values, names)


@cache  # the store has less than two hundred
def _update(text: str) -> Callable[[Item, Item, Names], Item]:
    """What ``text`` does to a copy of an item."""
    said, _, removed = text.partition("REMOVE ")
    reader = _Reader(removed)
    lines = [f"changed.pop(names[{name!r}], None)" for name in reader.several(reader.attribute)] if removed else []
    reader.end()
    assignments = _ASSIGNMENTS.split(said.removeprefix("SET ")) if said else []
    lines = [*(_assignment(each.strip()) for each in assignments), *lines]
    return _function("updated", "\n    ".join(["changed = item.copy()", *lines, "return changed"]))


def _assignment(text: str) -> str:
    reader = _Reader(text)
    name, source = reader.assignment()
    reader.end()
    return f"changed[names[{name!r}]] = {source}"


def _function(name: str, body: str) -> Any:
    known = dict(_HELPERS)
    exec(f"def {name}(item, values, names):\n    {body}", known)  # noqa: S102 - our own text
    return known[name]


class _Reader:
    """Reads an expression from left to right into the Python text of the same."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise Unreadable(text)

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    def take(self, token: str) -> bool:
        """Go beyond ``token`` if it comes next."""
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self.take(token):
            raise Unreadable(f"{token} expected: {self._text}")

    def end(self) -> None:
        """Nothing more comes."""
        if self._at != len(self._tokens):
            raise Unreadable(self._text)

    def several(self, one: Callable[[], Any]) -> list[Any]:
        """What a comma separates."""
        found = [one()]
        while self.take(","):
            found.append(one())
        return found

    def attribute(self) -> str:
        """The placeholder of an attribute."""
        token = self._next()
        if not token.startswith("#"):
            raise Unreadable(self._text)
        return token

    def either(self) -> str:
        """Clauses of which one is to hold."""
        clauses = [self._every()]
        while self.take("OR"):
            clauses.append(self._every())
        return " or ".join(clauses)

    def _every(self) -> str:
        clauses = [self._clause()]
        while self.take("AND"):
            clauses.append(self._clause())
        return " and ".join(clauses)

    def _clause(self) -> str:
        if self.take("("):
            inner = self.either()
            self._expect(")")
            return f"({inner})"
        for function, form in (("attribute_exists", "{} in item"), ("attribute_not_exists", "{} not in item")):
            if self.take(function):
                self._expect("(")
                name = self.attribute()
                self._expect(")")
                return form.format(f"names[{name!r}]")
        if self.take("begins_with"):
            self._expect("(")
            value = self._operand()
            self._expect(",")
            prefix = self._operand()
            self._expect(")")
            return f"begins({value}, {prefix})"
        return self._comparison(self._operand())

    def _comparison(self, left: str) -> str:
        if self.take("IN"):
            self._expect("(")
            choices = self.several(self._operand)
            self._expect(")")
            return f"({left} in ({', '.join(choices)},))"
        if self.take("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return f"(at_least({left}, {low}) and at_most({left}, {self._operand()}))"
        operator = self._next()
        if operator not in _COMPARE:
            raise Unreadable(self._text)
        right = self._operand()
        if operator == "=" and right.startswith("values["):  # which is never None
            return f"{left} == {right}"
        return f"{_COMPARE[operator]}({left}, {right})"

    def _operand(self) -> str:
        if self.take("size"):
            self._expect("(")
            value = self._operand()
            self._expect(")")
            return f"size({value})"
        token = self._next()
        if token.startswith(":"):
            return f"values[{token!r}]"
        if token.startswith("#"):
            return f"item.get(names[{token!r}])"
        raise Unreadable(self._text)

    def assignment(self) -> tuple[str, str]:
        """The placeholder of an attribute and its new value, of the item as it was before."""
        name = self.attribute()
        self._expect("=")
        value = self._value()
        return name, f"sum({value}, {self._value()})" if self.take("+") else value

    def _value(self) -> str:
        for function, helper in (("if_not_exists", "first"), ("list_append", "append")):
            if self.take(function):
                self._expect("(")
                left = self._value()
                self._expect(",")
                right = self._value()
                self._expect(")")
                return f"{helper}({left}, {right})"
        return self._operand()
