"""`taskyard keys` on a deployed stage; over `taskyard up` see tests/e2e/test_up.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.core.access import digest_of_user
from chalicelib.core.passwords import is_right
from chalicelib.settings import Settings
from tests.support.yards import Bench, moto_bench

PASSWORD = "correct horse"  # noqa: S105


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with moto_bench(chosen=Settings(stage="dev")) as found, patch.dict(os.environ):
        settings.current.cache_clear()
        yield found
    settings.current.cache_clear()


def keys(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments, "--stage", "dev"], input=stdin)


def test_a_user_is_made_listed_revoked_and_made_anew(bench: Bench) -> None:
    assert not bench.yard.directory.has_users()
    made = keys("create", "--user", "ann", "--scope", "task", "--scope", "message", stdin=f"{PASSWORD}\n")
    assert (made.exit_code, made.output) == (0, "ann may sign in\n")
    stored = bench.yard.directory.access_key(digest_of_user("ann"))
    assert stored is not None
    assert (stored.user, stored.name, stored.scopes) == ("ann", "ann", {"task", "message"})
    assert is_right(PASSWORD, stored.password or "")
    assert bench.yard.directory.has_users()
    (row,) = json.loads(keys("list", "--json").stdout)
    assert {name: row[name] for name in ("id", "label", "user", "scopes", "revoked")} == {
        "id": stored.digest[:12],
        "label": "ann",
        "user": "ann",
        "scopes": "message, task",
        "revoked": None,
    }
    again = keys("create", "--user", "ann", "--scope", "*", stdin=f"{PASSWORD}\n")
    assert (again.exit_code, "there is a user of this name in force" in again.stderr) == (1, True)
    assert keys("revoke", "ann").exit_code == 0
    generated = keys("create", "--user", "ann", "--label", "Ann's browser", "--scope", "*", "--generate", "--json")
    shown = json.loads(generated.stdout)
    assert (shown["user"], shown["label"], len(shown["password"])) == ("ann", "Ann's browser", 24)
    stored = bench.yard.directory.access_key(digest_of_user("ann"))
    assert stored is not None
    assert (is_right(shown["password"], stored.password or ""), stored.revoked) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (["--scope", "*"], "", "name a --label, or a --user"),
        (["--label", "ci", "--generate", "--scope", "*"], "", "--generate goes with --user"),
        (["--user", "a:b", "--scope", "*"], PASSWORD, "1 to 64 characters on one line, without a colon"),
        (["--user", "eve", "--scope", "*"], "s3cr3t\n", "8 to 256 characters on one line"),
        (["--user", "eve", "--scope", "*"], "", "8 to 256 characters on one line"),
        (["--user", "eve", "--scope", "admin"], PASSWORD, "an access key needs scopes that exist"),
    ],
)
@pytest.mark.usefixtures("bench")
def test_what_cannot_work_is_refused(arguments: list[str], stdin: str, told: str) -> None:
    refused = keys("create", *arguments, stdin=stdin)
    assert (refused.exit_code, told in refused.output) == (2, True)
    assert "s3cr3t" not in refused.output
    assert [row["user"] for row in json.loads(keys("list", "--json").stdout) if row["user"] == "eve"] == []
