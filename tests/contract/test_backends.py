"""Which backends take part in the contract suite, and that each is what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib import aws
from chalicelib.local.emulator import Emulator
from tests.support import backends


@pytest.mark.parametrize("name", backends.NAMES)
def test_the_backend_takes_part(name: str, embedded: Callable[[], Emulator]) -> None:
    if reason := backends.missing(name):
        pytest.skip(reason)
    with backends.ground(name, embedded) as ground:
        tables = (ground.settings.jobs_table, ground.settings.directory_table, ground.settings.insights_table)
        for table in tables:
            assert aws.client("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
        assert ground.bench().yard.ids.new() == 1
