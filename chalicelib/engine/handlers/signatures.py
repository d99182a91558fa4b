"""What a user's function takes, and what it is called."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.handlers.importing import place_in_file

SOURCE = "__taskyard_source__"  # on a function that Taskyard itself makes: the user's function that it calls


def positional_parameters(function: Callable[..., Any], rule: str, most: int) -> list[str]:
    """The names of a function's parameters; raises ``InvalidInput`` unless it has one to ``most``."""
    if isinstance(function, type):
        remedy = "declare a function that does it"
        raise InvalidInput(rule, field=_name(function), expected="a function", got="a class", remedy=remedy)
    everything = _signature(function).parameters.values()
    parameters = [p.name for p in everything if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in everything if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if required or not 1 <= len(parameters) <= most:
        raise InvalidInput(
            rule,
            field=_name(function),
            expected="one parameter" if most == 1 else "one or two parameters",
            got=len(parameters),
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        expected = "def or async def that returns its result"
        raise InvalidInput(
            "this is no function to be called", field=_name(function), expected=expected, got="a generator"
        )
    return parameters


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """What a function is called with: a wrapper that takes anything (``*args``) is asked what it wraps."""
    own = inspect.signature(function, follow_wrapped=False)
    takes_anything = any(p.kind is p.VAR_POSITIONAL for p in own.parameters.values())
    wrapped = getattr(function, "__wrapped__", None)
    return _signature(wrapped) if takes_anything and wrapped is not None else own


def annotation_of(function: Callable[..., Any], parameter: str) -> Any:
    """What a parameter is annotated with, ``None`` if nothing; raises ``InvalidInput`` for a name that is not there."""
    inner = inspect.unwrap(function)
    annotation = getattr(inner, "__annotations__", {}).get(parameter)
    try:
        holder = SimpleNamespace(__annotations__={parameter: annotation})
        return typing.get_type_hints(holder, getattr(inner, "__globals__", {})).get(parameter)
    except NameError as error:
        raise InvalidInput(
            f"the annotation of {parameter} cannot be read",
            field=label_of(function),
            expected="a name that is there when the module runs",
            got=str(error),
            remedy="import it outside of `if TYPE_CHECKING`",
        ) from error


def inputs_of(function: Callable[..., Any], annotation: Any) -> Any:
    """What the inputs of a batch are annotated with; raises ``InvalidInput`` where they are not taken as a list."""
    if annotation not in (type(None), Any, list, Sequence) and typing.get_origin(annotation) not in (list, Sequence):
        raise InvalidInput(
            "a handler of batches takes a list",
            field=label_of(function),
            expected="a first parameter like list[Model]",
            got=annotation,
        )
    return next(iter(typing.get_args(annotation)), None)


def label_of(function: Any) -> str:
    """Which function this is: its module and its name there."""
    return f"{function.__module__}.{_name(function)}"


def place_of(function: Any) -> str:
    """Where a function is written, ``file:line``; of what another decorator has wrapped, the function inside."""
    inner = inspect.unwrap(getattr(function, SOURCE, function))
    code = getattr(getattr(inner, "func", inner), "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    return "" if code is None else place_in_file(code.co_filename, code.co_firstlineno)


def _name(function: Any) -> str:
    """A function's name in its module; a ``partial`` or an instance that is called has that of its class."""
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name
