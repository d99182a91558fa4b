"""`taskyard import` into a deployed stage, by the account's credentials."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from chalicelib import aws, settings
from chalicelib.services import installation
from chalicelib.settings import Settings
from tests.support.imports import alter, run_import, sqlite_url
from tests.support.yards import Bench, moto_bench

PLAIN = "385868255241176064"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with moto_bench(chosen=Settings(stage="dev", index_shards=4)) as found, patch.dict(os.environ):
        settings.current.cache_clear()
        installation.use(None)
        yield found
        installation.use(None)
    settings.current.cache_clear()


def test_what_is_large_goes_to_the_bucket_that_the_functions_look_into(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_message", PLAIN, "payload", json.dumps({"text": "x" * 300_000}))
    result = run_import("fastify-mq", url, "--stage", "dev", "--json")
    assert json.loads(result.stdout)["moved"] == 5
    bucket = f"taskyard-dev-123456789012-{bench.yard.settings.region}"
    (stored,) = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert stored["Size"] > 300_000


@pytest.mark.usefixtures("bench")
def test_a_stage_that_is_not_deployed_is_told_as_such(tmp_path: Path) -> None:
    result = run_import("fastify-mq", sqlite_url(tmp_path), "--stage", "prod")
    assert (result.exit_code, "`taskyard deploy --stage prod`" in result.stderr) == (1, True)
    assert ("try again" in result.output, '"level"' in result.output) == (False, False)


@pytest.mark.usefixtures("bench")
def test_an_endpoint_at_which_nobody_answers_is_told_as_such(tmp_path: Path) -> None:
    where = "http://127.0.0.1:1"
    result = run_import("fastify-mq", sqlite_url(tmp_path), "--stage", "dev", "--endpoint-url", where)
    assert (result.exit_code, where in result.stderr) == (3, True)
    assert ("try again" in result.output, '"level"' in result.output) == (False, False)
