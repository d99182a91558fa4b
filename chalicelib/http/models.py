"""What the models of requests and answers have in common, and types that several of them use.

Models are built at first use (``defer_build``): importing fifty of them costs a cold start next to nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from chalicelib.core.expectations import NO_BOOLEAN
from chalicelib.core.lanes import PRIORITY_EXPECTED, PRIORITY_MAX, PRIORITY_MIN, PRIORITY_OF, TOPIC_MAX_CHARS
from chalicelib.core.naming import NAME, instead_of
from chalicelib.core.tenants import TENANT, TENANT_EXPECTED, TENANT_MAX_CHARS
from chalicelib.core.texts import readable

DETAILS_MAX = 20  # of all that is wrong with a request, how much is named
NAME_MAX_CHARS = 256
UNKNOWN_NAMES = "unknown_names"  # the type of that error; its context names them
UNFIT = "unfit"  # likewise; its context has what was expected, and got, and the remedy
TEXT_MAX_CHARS = 6 * 1024 * 1024  # what one request can hold; a bound also makes pydantic check the encoding

INPUT_CONFIG = ConfigDict(
    str_max_length=TEXT_MAX_CHARS,
    allow_inf_nan=False,
    hide_input_in_errors=True,  # the text of a ValidationError may end in a log
)


_Item = TypeVar("_Item")


class ApiModel(BaseModel):
    """A request or a part of one: camelCase outside, snake_case inside.

    A field that there is not is refused with the name that was probably meant: ignored, it would leave a request
    unheard. ``ELSEWHERE`` says what to write instead of names that other systems have. A ``str`` field refuses text
    that UTF-8 cannot hold and a ``float`` field what JSON cannot; an ``Any`` field takes whatever JSON there is.
    """

    ELSEWHERE: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(**INPUT_CONFIG, alias_generator=to_camel, defer_build=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, given: Any) -> Any:
        if isinstance(given, dict) and cls.model_config.get("extra") == "forbid":
            known = [to_camel(name) for name in cls.model_fields]
            unknown = [name for name in given if name not in known]
            if unknown:
                expected = dict.fromkeys(unknown, "a name that there is")
                for name in unknown[:DETAILS_MAX]:
                    expected[name] = cls.ELSEWHERE.get(name) or instead_of(name, known)
                raise PydanticCustomError(UNKNOWN_NAMES, "names that there are", {"expected": expected})
        return given

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        """A null where a field may be left out, and has no null of its own, is as good as nothing."""
        nulls = _never_null(cls) if isinstance(given, dict) else None
        if not nulls:
            return given
        return {name: value for name, value in given.items() if value is not None or name not in nulls}


class AnswerModel(ApiModel):
    """An answer or a part of one, from an object with such attributes, too.

    What is stored must be shown, so odd text and numbers pass.
    """

    model_config = ConfigDict(
        extra="ignore",
        populate_by_name=True,
        from_attributes=True,
        str_max_length=None,
        allow_inf_nan=True,
        json_schema_serialization_defaults_required=True,  # an answer has all its fields, null where unset
    )


def _is_none(value: object) -> bool:
    return value is None


IF_SET: Any = Field(default=None, exclude_if=_is_none)
"""A field of an answer that is left out where it is null: older clients know answers without it."""


@cache
def _never_null(model: type[ApiModel]) -> frozenset[str]:
    """The outer names of a request's fields that have a default and take no null; of an answer none."""
    if issubclass(model, AnswerModel):
        return frozenset()
    optional = {name: found for name, found in model.model_fields.items() if not found.is_required()}
    return frozenset(
        to_camel(name)
        for name, found in optional.items()
        if found.annotation is not Any and type(None) not in get_args(found.annotation)
    )


def matching(pattern: str, description: str) -> AfterValidator:
    """Text of a pattern that UTF-8 can hold. Stands behind the bounds of its length."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(description)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("text that UTF-8 can hold (no lone surrogates)") from None
        return text

    return AfterValidator(checked)


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(NO_BOOLEAN, "a number or text, not true or false")
    return value


def _priority(value: Any, as_number: ValidatorFunctionWrapHandler) -> int:
    try:
        number: int = as_number(PRIORITY_OF.get(value, value) if isinstance(value, str) else value)
    except ValidationError:
        raise ValueError(PRIORITY_EXPECTED) from None
    return number


def _as_text(value: Any) -> Any:
    """An object as its JSON text; that stands for what a client's language calls an error."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else value


def digits(value: Any) -> Any:
    """A whole number as its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a valid string")
    return value


def _made_readable(value: Any) -> Any:
    return readable(value) if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_MAX_CHARS),
    matching(NAME, "a name without control characters, not all blank"),
    Field(json_schema_extra={"pattern": NAME}),
]
"""What something is called (a topic, a type, a key): 1 to 256 characters on one line, not all blank."""

Topic = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TOPIC_MAX_CHARS),
    matching(NAME, "a topic without control characters, not all blank"),
    Field(json_schema_extra={"pattern": NAME}),
]
"""A topic: 1 to 400 characters on one line, not all blank."""

Text = Annotated[str, BeforeValidator(_made_readable)]
"""What a person reads (an error, a remark): any text, line breaks included, made readable and never refused."""

TextAsSent = Annotated[str, PlainValidator(_text, json_schema_input_type=str)]
"""Such a text before it is made readable, even one that no UTF-8 can hold: to check its signature."""

Reason = Annotated[
    Text,
    BeforeValidator(_as_text, json_schema_input_type=str | dict[str, Any]),
]
"""Why something failed: a text, or an object, which is kept as its JSON text."""

Target = Annotated[Name, BeforeValidator(digits, json_schema_input_type=str | int)]
"""What a task is about: a name, or a number, which is kept as its digits."""

Tenant = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TENANT_MAX_CHARS),
    matching(TENANT, TENANT_EXPECTED),
    Field(json_schema_extra={"pattern": TENANT}),
    BeforeValidator(digits, json_schema_input_type=str | int),
]
"""On whose behalf something is done: see ``core/tenants.py``; a number is kept as its digits."""

NOT_BOOLEAN = BeforeValidator(_no_boolean)
"""Refuses JavaScript's ``true``. It stands behind bounds, so that JSON Schema calls those minimum and maximum."""

Id = Annotated[str | int, NOT_BOOLEAN]
"""An id as clients write it: a number or its digits."""

Whole = Annotated[int, NOT_BOOLEAN]
"""A whole number; JavaScript's ``true`` is none."""

_PriorityNumber = Annotated[int, Field(ge=PRIORITY_MIN, le=PRIORITY_MAX), NOT_BOOLEAN]
_PriorityName = Literal["low", "normal", "medium", "high", "critical"]

Priority = Annotated[_PriorityNumber, WrapValidator(_priority, json_schema_input_type=_PriorityNumber | _PriorityName)]
"""Larger is sooner: a number, or the name that stands for it."""

Many = Annotated[list[_Item], BeforeValidator(_as_list)]
"""A list in a query string, where one value looks like no list: ``ids=1`` as well as ``ids=1&ids=2``."""
