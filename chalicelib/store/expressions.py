"""What a write says: its clauses, its change of an item, and both as DynamoDB's expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from chalicelib.store.attribute_values import (
    to_attribute_value,
)

_ATTRIBUTE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Clause:
    """One named condition of a write: its text, and the values that the text mentions."""

    name: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What an update does to an item, and the clauses under which it may."""

    clauses: tuple[Clause, ...]
    sets: Mapping[str, Any] = field(default_factory=dict)  # attribute -> its new value; None removes it
    adds: Mapping[str, int] = field(default_factory=dict)  # attribute -> what is added to it
    appends: Mapping[str, list[Any]] = field(default_factory=dict)  # attribute -> what its list gains
    keeps: Mapping[str, Any] = field(default_factory=dict)  # attribute -> its value, if it has none yet
    copies: Mapping[str, str] = field(default_factory=dict)  # attribute -> the one whose value before it gets
    aliases: Mapping[str, str] = field(default_factory=dict)  # a word of the above -> the attribute that it stands for

    def parameters(self) -> dict[str, Any]:
        """The update as DynamoDB takes it."""
        assigned = {name: value for name, value in self.sets.items() if value is not None}
        added = {f"add_{place}": name for place, name in enumerate(self.adds)}
        text, placeholders = _update_text(
            tuple(assigned),
            tuple(name for name, value in self.sets.items() if value is None),
            tuple(self.keeps),
            tuple(self.copies.items()),
            len(added),
            tuple(self.appends),
        )
        given = (*assigned.values(), *self.keeps.values(), *self.adds.values(), *self.appends.values())
        values: dict[str, Any] = dict(zip(placeholders, given, strict=True))
        if self.adds:
            values[":zero"] = 0
        if self.appends:
            values[":empty"] = []
        parameters = with_expressions({"UpdateExpression": text}, self.clauses, values)
        if aliases := {f"#{word}": name for word, name in {**self.aliases, **added}.items()}:
            parameters["ExpressionAttributeNames"] = {**parameters["ExpressionAttributeNames"], **aliases}
        return parameters


@lru_cache(maxsize=1_024)  # a transition has few forms, and only its values are new each time
def _update_text(
    assigned: tuple[str, ...],
    removed: tuple[str, ...],
    kept: tuple[str, ...],
    copied: tuple[tuple[str, str], ...],
    added: int,
    appended: tuple[str, ...],
) -> tuple[str, tuple[str, ...]]:
    """The expression of an update, and the placeholders of its values, in the order of the attributes given here.

    What is ``added`` to is only numbered: each batch of changes adds to another choice of a hundred attributes.
    """
    assignments = [f"{{{name}}} = :set_{name}" for name in assigned]
    assignments += [f"{{{name}}} = if_not_exists({{{name}}}, :keep_{name})" for name in kept]
    assignments += [f"{{{name}}} = {{{source}}}" for name, source in copied]
    assignments += [f"{{add_{n}}} = if_not_exists({{add_{n}}}, :zero) + :add_{n}" for n in range(added)]
    assignments += [f"{{{name}}} = list_append(if_not_exists({{{name}}}, :empty), :append_{name})" for name in appended]
    parts = [f"SET {', '.join(assignments)}"] if assignments else []
    parts += [f"REMOVE {', '.join(f'{{{name}}}' for name in removed)}"] if removed else []
    kinds = (("set", assigned), ("keep", kept), ("add", range(added)), ("append", appended))
    return " ".join(parts), tuple(f":{kind}_{name}" for kind, names in kinds for name in names)


def with_expressions(
    parameters: dict[str, Any], clauses: Sequence[Clause], values: Mapping[str, Any]
) -> dict[str, Any]:
    """``parameters`` with their expressions, the clauses joined to one condition, and all placeholders."""
    texts = {name: text for name, text in parameters.items() if name.endswith("Expression")}
    if clauses:
        texts["ConditionExpression"] = _condition_text(tuple([clause.text for clause in clauses]))
    placed, attributes = _with_placeholders(tuple(texts.items()))
    parameters |= placed
    all_values = dict(values)
    for clause in clauses:
        all_values |= clause.values
    if attributes:
        parameters["ExpressionAttributeNames"] = dict(attributes)
    if all_values:
        parameters["ExpressionAttributeValues"] = {
            name: to_attribute_value(value) for name, value in all_values.items()
        }
    return parameters


@lru_cache(maxsize=1_024)
def _condition_text(texts: tuple[str, ...]) -> str:
    return " AND ".join(f"({text})" for text in texts)


@lru_cache(maxsize=1_024)  # transitions have few texts, and write them all the time
def _with_placeholders(texts: tuple[tuple[str, str], ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Expressions, by their names, as DynamoDB takes them, and the attributes that their placeholders stand for."""
    named = {attribute for _, text in texts for attribute in _ATTRIBUTE.findall(text)}
    placed = {name: _ATTRIBUTE.sub(r"#\1", text) for name, text in texts}
    return placed, {f"#{attribute}": attribute for attribute in sorted(named)}
