"""The command that makes the counters and the search index of a deployed stage anew, where its stream was lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from chalicelib.cli.common import choose_deployed, endpoint_option, explained, stage_option
from chalicelib.cli.output import show_text

if TYPE_CHECKING:  # the libraries of AWS are loaded when a command runs, not when it is listed
    from chalicelib.settings import Settings


@click.command()
@stage_option
@endpoint_option
def rebuild(stage: str, endpoint_url: str | None) -> None:
    """Count every job of the ledger anew, after its table was restored or its stream was lost.

    Where search is on, tasks that are not in its index yet are indexed, and deleted ones leave it.
    For an installation at rest: destroyed with its data kept, or stopped as docs/operations.md says. Reads all jobs.
    """
    with explained():
        choose_deployed(stage, endpoint_url)
        from chalicelib import settings
        from chalicelib.engine.handlers.registry import registry
        from chalicelib.engine.projections.rebuild import rebuild_counters
        from chalicelib.engine.projections.search import rebuild_search
        from chalicelib.engine.yard import build
        from infra.deploy.bucket import choose_bucket

        choose_bucket()
        expect_at_rest(settings.current())
        yard = build(registry())
        show_text(f"jobs counted anew: {rebuild_counters(yard)}")
        if yard.settings.search_is_on:
            show_text(f"tasks indexed anew: {rebuild_search(yard)}")


def expect_at_rest(settings: Settings) -> None:
    """Refuse while anything calls the functions: a change that is counted meanwhile would be counted twice.

    Raises ``Conflict``, and what botocore raises.
    """
    from chalicelib.core.errors import Conflict

    if callers := [*_feeding(settings), *_ticking(settings), *_serving(settings)]:
        raise Conflict(
            f"{settings.base_name} is not at rest",
            expected="nothing that calls its functions",
            got=", ".join(callers),
            remedy="stop them as docs/operations.md says: Stop everything",
        )


def _feeding(settings: Settings) -> Iterator[str]:
    """How many event sources feed the functions."""
    from chalicelib import aws
    from infra.functions import Function, function_name

    names = {function_name(settings, function) for function in Function}
    pages = aws.client("lambda").get_paginator("list_event_source_mappings").paginate()
    mappings = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    on = [mapping for mapping in mappings if mapping["State"] != "Disabled" and _fed(mapping) in names]
    if on:
        yield f"{len(on)} event sources"


def _fed(mapping: Mapping[str, Any]) -> str:
    """The name of the function that an event source feeds."""
    return str(mapping["FunctionArn"]).rsplit(":", 1)[-1]


def _ticking(settings: Settings) -> Iterator[str]:
    """The clock's rule, if it is on."""
    from chalicelib import aws

    events = aws.client("events")
    name = f"{settings.base_name}-clock"
    try:
        rule = events.describe_rule(Name=name)
    except events.exceptions.ResourceNotFoundException:
        return
    if rule["State"] != "DISABLED":
        yield f"the rule {name}"


def _serving(settings: Settings) -> Iterator[str]:
    """The API, if it may run at all."""
    from chalicelib import aws
    from infra.functions import Function, function_name

    awslambda = aws.client("lambda")
    name = function_name(settings, Function.API)
    try:
        reserved = awslambda.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    except awslambda.exceptions.ResourceNotFoundException:
        return
    if reserved != 0:
        yield f"the API {name}"
