"""What moto and botocore work out again and again, worked out once a process or in a shorter way.

A run of the tests makes some hundred thousand calls to moto, and for each it parses the same update expressions,
lists the same class's methods and spells the same names anew; every session of botocore reads the same model files.
Only what depends on nothing but the question is remembered.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from typing import Any
from unittest.mock import patch

import botocore.session
import botocore.useragent
import moto.core.responses
import moto.dynamodb.parsing.validators
from botocore.hooks import EventAliaser
from moto.cloudformation.models import Stack
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from moto.dynamodb.parsing.ast_nodes import UpdateExpression
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodb.parsing.validators import ActionCountValidator, UpdateExpressionValidator


def install() -> None:
    """From now on, until the process ends."""
    for owner, name in (
        (botocore.session, "create_loader"),  # by the path of the models; a loader keeps what it has read
        (botocore.useragent, "sanitize_user_agent_string_component"),
        (moto.core.responses, "camelcase_to_underscores"),
        (moto.core.responses, "method_names_from_class"),
    ):
        patch.object(owner, name, cache(getattr(owner, name))).start()
    patch.object(EventAliaser, "__copy__", _sharing_names()).start()
    patch.object(XFormedAttributePicker, "get_possible_keys", _remembering_keys()).start()
    patch.object(UpdateExpressionParser, "make", staticmethod(cache(_expressions()))).start()
    patch.object(UpdateExpressionValidator, "get_ast_processors", _processors_of_values()).start()
    patch.object(moto.dynamodb.parsing.validators, "deepcopy", _copy).start()
    patch.object(Stack, "parse_template", staticmethod(_parsing_json())).start()


def _sharing_names() -> Any:
    """A new client's events have the names that those of its session have been found to have."""
    copied = EventAliaser.__copy__

    def copy(aliaser: EventAliaser) -> EventAliaser:
        made = copied(aliaser)
        made._alias_name_cache = aliaser._alias_name_cache
        return made

    return copy


def _remembering_keys() -> Any:
    """Under which keys an answer's field may be found: its shape tells, and what kind of object it is of."""
    work_out = XFormedAttributePicker.get_possible_keys
    known: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def get_possible_keys(picker: XFormedAttributePicker, context: AttributePickerContext) -> Iterable[str]:
        field = (context.shape, context.key, type(context.obj), *picker.alias_providers)
        if field not in known:
            known[field] = tuple(dict.fromkeys(work_out(picker, context)))
        return known[field]

    return get_possible_keys


def _expressions() -> Any:
    """Parses an update expression and counts its clauses, of which the text alone tells; moto works on copies of it."""
    parse = UpdateExpressionParser.make

    def make(text: str) -> Any:
        return ActionCountValidator().traverse(parse(text))

    return make


def _processors_of_values() -> Any:
    """All that moto does with a parsed expression but to count its clauses."""
    every = UpdateExpressionValidator.get_ast_processors

    def get_ast_processors(validator: UpdateExpressionValidator) -> list[Any]:
        return [each for each in every(validator) if not isinstance(each, ActionCountValidator)]

    return get_ast_processors


def _copy(value: Any) -> Any:
    """A deep copy; of a remembered expression it is made of its frozen form, which is five times as fast."""
    return pickle.loads(_frozen(value)) if isinstance(value, UpdateExpression) else deepcopy(value)  # noqa: S301


_frozen = cache(pickle.dumps)


def _parsing_json() -> Any:
    """Reads a template as JSON if it is; moto reads any as YAML, which takes a hundred times as long."""
    parse = Stack.parse_template

    def parse_template(template: str) -> Any:
        try:
            return json.loads(template)
        except ValueError:
            return parse(template)

    return parse_template
