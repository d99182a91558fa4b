"""How commands end that work on AWS itself, where there is nothing of the stage yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from moto import mock_aws

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.engine.handlers.registry import registry
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


@pytest.mark.usefixtures("_nothing_deployed")
def test_a_pause_finds_the_handlers_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handlers_of_mine.py").write_text(
        "from chalicelib import task\n\n\n@task('mail.send')\ndef send(_): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKYARD_HANDLERS", "handlers_of_mine")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    registry.cache_clear()
    try:
        ended = CliRunner().invoke(main, ["pause", "mail.send", "--stage", "undeclared"])
    finally:
        registry.cache_clear()
    assert "No module named" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("  the stage undeclared is not deployed")
