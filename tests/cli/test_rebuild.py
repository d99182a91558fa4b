"""Rebuilding what is derived from the ledger: refused while anything could change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib import aws
from chalicelib.cli.rebuild import expect_at_rest
from chalicelib.core.errors import Conflict
from chalicelib.settings import Settings
from tests.support.patient import SETTINGS, healthy, shared_clients


@pytest.mark.usefixtures("deployed_on_moto")
class TestRebuilding:
    def test_is_refused_until_nothing_calls_the_functions(self) -> None:
        awslambda, events = aws.client("lambda"), aws.client("events")
        sources = awslambda.list_event_source_mappings()["EventSourceMappings"]
        assert callers() == f"{len(sources)} event sources, the rule taskyard-dev-clock, the API taskyard-dev"
        for mapping in sources:
            awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        assert callers() == "the rule taskyard-dev-clock, the API taskyard-dev"
        events.disable_rule(Name="taskyard-dev-clock")
        assert callers() == "the API taskyard-dev"
        awslambda.put_function_concurrency(FunctionName="taskyard-dev", ReservedConcurrentExecutions=0)
        assert callers() is None

    def test_an_installation_that_is_not_there_is_at_rest(self) -> None:
        assert callers(replace(SETTINGS, stage="other")) is None


@pytest.fixture
def deployed_on_moto() -> Iterator[None]:
    with shared_clients(), healthy():
        yield


def callers(settings: Settings = SETTINGS) -> str | None:
    """What stands in the way of a rebuild."""
    try:
        expect_at_rest(settings)
    except Conflict as refused:
        return str(refused.got)
    return None
