"""Whatever kind of thing a service is given, what it raises is one of the errors that are documented."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from chalicelib import services
from chalicelib.core.errors import InvalidInput, TaskyardError

WRONG: dict[str, Any] = {
    "None": None, "text": "3", "list": [], "nan": math.nan, "True": True, "negative": -1, "dict": {},
    "object": object(),
}  # fmt: skip
OF_THE_PACKAGE = ("why", "overview", "audit", "usage", "usage_by_day", "usage_by_tenant", "usage_by_key")
BEGIN_OR_DECLARE = {"queues.start_consumer", "queues.stop_consumer", "queues.subscribe", "kue.process", "kue.on"}
ANYTHING = {"output", "data", "input", "context", "going_on"}
SEVERAL = {"messages", "tasks", "dead_letters", "ids"}
Service = Callable[..., Any]


def _services() -> Iterator[tuple[str, Service]]:
    """The functions for users: what other modules call has the yard, or something of the engine, as its first."""
    for room in sorted(services.OFFERED):
        module = getattr(services, room)
        for name, found in vars(module).items():
            is_own = inspect.isfunction(found) and found.__module__ == module.__name__ and not name.startswith("_")
            if is_own and found.__doc__ and "yard" not in inspect.signature(found).parameters:
                yield f"{room}.{name}", found
    yield from ((name, getattr(services, name)) for name in OF_THE_PACKAGE)


OFFERED = {
    name: service
    for name, service in _services()
    if name not in BEGIN_OR_DECLARE and not name.endswith(("_of", ".shown", ".named"))
}
GIVEN = [
    (name, parameter.name)
    for name, service in OFFERED.items()
    for parameter in inspect.signature(service).parameters.values()
    if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.name not in ANYTHING
]


def _fitting(service: Service) -> Mapping[str, Any]:
    """Something of the right kind for each parameter that must be given."""
    needed = [
        each.name
        for each in inspect.signature(service).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]
    return {name: [] if name in SEVERAL else {} if name == "payload" else "t" for name in needed}


@pytest.mark.parametrize(("name", "parameter"), GIVEN)
@pytest.mark.usefixtures("bench")
def test_a_wrong_kind_of_argument_raises_nothing_else(name: str, parameter: str) -> None:
    service = OFFERED[name]
    for kind, wrong in WRONG.items():
        try:
            found = service(**{**_fitting(service), parameter: wrong})
            if inspect.isgenerator(found):
                list(found)
        except TaskyardError:
            continue
        except Exception as error:  # whatever it is, it is no documented one
            pytest.fail(f"{name}({parameter}={kind}): {type(error).__name__}: {error}")


def test_most_services_are_asked() -> None:
    assert len(OFFERED) > 60


@pytest.mark.parametrize("service", ["why", "usage", "jobs.detail", "tasks.detail", "messages.get", "graphs.get"])
@pytest.mark.parametrize("wrong", [None, [], {}, math.nan, 1.0, True, -1, 0, 1 << 53])
@pytest.mark.usefixtures("bench")
def test_what_can_be_no_id_is_told_as_that(service: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        OFFERED[service](wrong)
    assert (refused.value.field, refused.value.expected) == ("id", "an id: a whole number from 1 on, or its digits")
    assert refused.value.got == str(wrong)


@pytest.mark.parametrize("service", ["usage_by_day", "usage_by_tenant", "usage_by_key"])
@pytest.mark.parametrize("wrong", [None, "3", [], math.nan, True, -1, 0, 401, 1.5])
@pytest.mark.usefixtures("bench")
def test_days_are_a_whole_number(service: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        OFFERED[service](wrong)
    assert (refused.value.field, refused.value.expected) == ("days", "a whole number, 1 to 400")
