"""What API Gateway asks of a set of paths, checked when they are mounted rather than when they are deployed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chalicelib.http.routes import Route

_SEGMENT = re.compile(r"[A-Za-z0-9._:-]+|{\w+}")
_VARIABLE = re.compile(r"{(\w+)}")


def check(routes: Sequence[Route]) -> None:
    """Raise ``ValueError``, naming the route at fault, for paths or operations that cannot stand side by side."""
    operations: dict[str, Route] = {}
    variables: dict[tuple[str, ...], Route] = {}
    for route in routes:
        _check_form(route)
        _check_declared(route)
        _check_siblings(route, variables)
        other = operations.setdefault(route.operation, route)
        if other is not route:
            raise ValueError(f"{_named(other)} and {_named(route)} are both called {route.operation}; rename a handler")


def _check_form(route: Route) -> None:
    start, *segments = route.path.split("/")
    if start or not segments or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(
            f"{_named(route)}: expected a path such as /a/{{b}}/c, without a slash at its end, "
            f"each variable a whole segment"
        )


def _check_declared(route: Route) -> None:
    written = set(_VARIABLE.findall(route.path))
    declared = route.inputs.path.names if route.inputs.path is not None else set()
    if written != declared:
        raise ValueError(
            f"{_named(route)}: the path has the variables {sorted(written)}, its handler's model {sorted(declared)}"
        )


def _check_siblings(route: Route, variables: dict[tuple[str, ...], Route]) -> None:
    """API Gateway allows one variable name at a place; ``variables`` holds who named it there first."""
    place: tuple[str, ...] = ()
    for segment in route.path.split("/")[1:]:
        if not _VARIABLE.fullmatch(segment):
            place = (*place, segment)
            continue
        place = (*place, "{}")
        other = variables.setdefault(place, route)
        if other.path.split("/")[len(place)] != segment:
            raise ValueError(
                f"{_named(route)}: API Gateway allows one variable name at a place, and {_named(other)} "
                f"has another one than {segment}; give both the same name"
            )


def _named(route: Route) -> str:
    return f"{route.method} {route.path}"
