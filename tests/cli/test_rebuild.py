"""`taskyard rebuild` on a deployed stage; after a table was restored see tests/e2e/test_restore.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.cli import rebuild
from chalicelib.cli.main import main
from chalicelib.core.states import Kind
from chalicelib.services import installation, tasks
from chalicelib.settings import Settings
from tests.support.ledger import job_of, place
from tests.support.yards import Bench, moto_bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    chosen = Settings(stage="dev", search="on", watch="off")
    with moto_bench(chosen=chosen) as found, patch.dict(os.environ), patch.object(rebuild, "expect_at_rest"):
        settings.current.cache_clear()
        yield found
    settings.current.cache_clear()


def run() -> Result:
    return CliRunner().invoke(main, ["rebuild", "--stage", "dev"])


def test_tasks_are_indexed_anew_where_search_is_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = place(bench.yard, job_of(bench.yard, kind=Kind.TASK, body='{"input":"red shoes"}'))
    assert run().stdout == "jobs counted anew: 1\n"
    monkeypatch.setattr(settings, "DEFAULTS", replace(settings.DEFAULTS, search="on"))  # what the stage declares
    assert run().stdout == "jobs counted anew: 1\ntasks indexed anew: 1\n"
    with installation.using(bench.yard):
        assert [task.id for task in tasks.list(search="shoes").items] == [job.id]
    assert run().stdout == "jobs counted anew: 1\ntasks indexed anew: 0\n"
