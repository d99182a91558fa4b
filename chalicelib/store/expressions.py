"""What a write says: its clauses, its change of an item, and both as DynamoDB's expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from chalicelib.store.attribute_values import AttributeValues, to_attribute_value

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
        form = _form_of_update(
            tuple(assigned),
            tuple([name for name, value in self.sets.items() if value is None]),
            tuple(self.keeps),
            tuple(self.copies.items()),
            len(self.adds),
            tuple(self.appends),
            tuple([clause.text for clause in self.clauses]),
        )
        given = (*assigned.values(), *self.keeps.values(), *self.adds.values(), *self.appends.values())
        values = dict(zip(form.placeholders, map(to_attribute_value, given), strict=True))
        if self.adds:
            values[":zero"] = {"N": "0"}
        if self.appends:
            values[":empty"] = {"L": []}
        names = {**form.names, **dict(zip(form.added, self.adds, strict=True))}
        for word, name in self.aliases.items():
            names[f"#{word}"] = name
        return _parameters(form.texts, names, values, self.clauses)


class _Form(NamedTuple):
    """What all writes of one form say: their expressions and what these call the attributes; of an update what its
    values are called, in the order of ``_form_of_update``'s attributes, and the attributes that are added to."""

    texts: Mapping[str, str]
    names: Mapping[str, str]
    placeholders: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def with_expressions(
    parameters: dict[str, Any], clauses: Sequence[Clause], values: Mapping[str, Any]
) -> dict[str, Any]:
    """``parameters`` with their expressions, the clauses joined to one condition, and all placeholders."""
    texts = [entry for entry in parameters.items() if entry[0].endswith("Expression")]
    form = _form_of(tuple(texts), tuple([clause.text for clause in clauses]))
    typed = {name: to_attribute_value(value) for name, value in values.items()}
    return {**parameters, **_parameters(form.texts, dict(form.names), typed, clauses)}


def _parameters(
    texts: Mapping[str, str], names: dict[str, str], values: dict[str, AttributeValues], clauses: Sequence[Clause]
) -> dict[str, Any]:
    for clause in clauses:
        for name, value in clause.values.items():
            values[name] = to_attribute_value(value)
    parameters: dict[str, Any] = dict(texts)
    if names:
        parameters["ExpressionAttributeNames"] = names
    if values:
        parameters["ExpressionAttributeValues"] = values
    return parameters


@lru_cache(maxsize=1_024)  # a transition has few forms, and only its values are new each time
def _form_of_update(
    assigned: tuple[str, ...],
    removed: tuple[str, ...],
    kept: tuple[str, ...],
    copied: tuple[tuple[str, str], ...],
    added: int,
    appended: tuple[str, ...],
    conditions: tuple[str, ...],
) -> _Form:
    """The form of an update of these attributes under these conditions.

    What is ``added`` to is only numbered: each batch of changes adds to another choice of a hundred attributes.
    """
    assignments = [f"{{{name}}} = :set_{name}" for name in assigned]
    assignments += [f"{{{name}}} = if_not_exists({{{name}}}, :keep_{name})" for name in kept]
    assignments += [f"{{{name}}} = {{{source}}}" for name, source in copied]
    assignments += [f"{{add_{n}}} = if_not_exists({{add_{n}}}, :zero) + :add_{n}" for n in range(added)]
    assignments += [f"{{{name}}} = list_append(if_not_exists({{{name}}}, :empty), :append_{name})" for name in appended]
    parts = [f"SET {', '.join(assignments)}"] if assignments else []
    parts += [f"REMOVE {', '.join(f'{{{name}}}' for name in removed)}"] if removed else []
    form = _form_of((("UpdateExpression", " ".join(parts)),), conditions)
    kinds = (("set", assigned), ("keep", kept), ("add", range(added)), ("append", appended))
    return form._replace(
        placeholders=tuple(f":{kind}_{name}" for kind, names in kinds for name in names),
        added=tuple(f"#add_{n}" for n in range(added)),
    )


@lru_cache(maxsize=1_024)
def _form_of(texts: tuple[tuple[str, str], ...], conditions: tuple[str, ...]) -> _Form:
    """The form of a write of these expressions, by their names, under these conditions."""
    if conditions:
        texts = (*texts, ("ConditionExpression", " AND ".join(f"({condition})" for condition in conditions)))
    named = {attribute for _, text in texts for attribute in _ATTRIBUTE.findall(text)}
    placed = {name: _ATTRIBUTE.sub(r"#\1", text) for name, text in texts}
    return _Form(placed, {f"#{attribute}": attribute for attribute in sorted(named)})
