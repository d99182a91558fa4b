"""How commands end that work on AWS itself, where there is nothing of the stage yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from moto import mock_aws

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.services import installation
from tests.support.yards import forget_clients


@pytest.fixture
def _nothing_deployed() -> Iterator[None]:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with patch.dict(os.environ, credentials), mock_aws():
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "TASKYARD_STAGE"):
            os.environ.pop(name, None)
        _forget()
        yield
    _forget()


def _forget() -> None:
    installation.use(None)
    settings.current.cache_clear()
    forget_clients()


@pytest.mark.usefixtures("_nothing_deployed")
@pytest.mark.parametrize(
    "command",
    [
        ["keys", "create", "--label", "ci", "--scope", "task"],
        ["keys", "list"],
        ["webhooks", "list"],
        ["pause", "mail.send"],
        ["paused"],
    ],
    ids=" ".join,
)
def test_a_stage_that_is_not_deployed_is_told_with_the_way_to_deploy_it(command: list[str]) -> None:
    ended = CliRunner().invoke(main, [*command, "--stage", "dev"])
    told = "  the stage dev is not deployed in this account and region: `taskyard deploy --stage dev`"
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (1, told)
