"""Answers of moto and botocore that depend on nothing but the question, worked out once a process instead of at each call.

A run of the tests makes some hundred thousand calls to moto, and for each it parses the same update expressions,
lists the same class's methods and spells the same names anew; every session of botocore reads the same model files.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any
from unittest.mock import patch

import botocore.session
import moto.core.responses
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker
from moto.dynamodb.parsing.expressions import UpdateExpressionParser


def install() -> None:
    """Remember from now on, until the process ends."""
    for owner, name in (
        (botocore.session, "create_loader"),  # by the path of the models; a loader keeps what it has read
        (moto.core.responses, "camelcase_to_underscores"),
        (moto.core.responses, "method_names_from_class"),
    ):
        patch.object(owner, name, cache(getattr(owner, name))).start()
    # moto copies a parsed expression before it works on it.
    patch.object(UpdateExpressionParser, "make", staticmethod(cache(UpdateExpressionParser.make))).start()
    patch.object(XFormedAttributePicker, "get_possible_keys", _remembering_keys()).start()


def _remembering_keys() -> Any:
    """Under which keys an answer's field may be found: told by the field's shape and by what kind of object it is of."""
    work_out = XFormedAttributePicker.get_possible_keys
    known: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def get_possible_keys(picker: XFormedAttributePicker, context: AttributePickerContext) -> Iterable[str]:
        field = (context.shape, context.key, type(context.obj), *picker.alias_providers)
        if field not in known:
            known[field] = tuple(dict.fromkeys(work_out(picker, context)))
        return known[field]

    return get_possible_keys
