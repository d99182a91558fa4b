"""What we sign, the libraries of Standard Webhooks take: Python's, and JavaScript's from npm."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping

import pytest
import standardwebhooks

from chalicelib.core.webhooks import Webhook, new_secret
from tests.support import npm
from tests.support.programs import program

PACKAGE = ("standardwebhooks@1.1.1", "--before=2026-11-01")  # no part of it is younger than this day
BODY = '{"event":"complete","output":"größer: 大"}'.encode()
VERIFY = """
const { Webhook } = require("standardwebhooks");
const takes = ([secret, headers, body]) => {
  try {
    return new Webhook(secret).verify(body, headers).event;
  } catch (error) {
    return error.message;
  }
};
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(takes)));
"""
REFUSED = "No matching signature found"

Case = tuple[str, Mapping[str, str], bytes, str]  # a secret, a request, and what whoever has that secret makes of it


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    now_ms = time.time_ns() // 1_000_000  # the libraries read the clock
    present, former = new_secret(os.urandom), new_secret(os.urandom)
    webhook = Webhook(
        id="w", url="u", secret=present, former_secret=former, former_until_ms=now_ms + 1, created_at_ms=1
    )
    rotating, rotated = (webhook.signed("7-1-complete", BODY, at_ms) for at_ms in (now_ms, now_ms + 1))
    old = webhook.signed("7-1-complete", BODY, now_ms - 400_000)
    return [
        (present, rotating, BODY, "complete"),
        (former, rotating, BODY, "complete"),
        (present, rotated, BODY, "complete"),
        (former, rotated, BODY, REFUSED),
        (present, rotated, BODY + b" ", REFUSED),
        (present, {**rotated, "webhook-id": "7-1-remove"}, BODY, REFUSED),
        (present, old, BODY, "Message timestamp too old"),
    ]


def test_python(cases: list[Case]) -> None:
    def takes(secret: str, headers: Mapping[str, str], body: bytes) -> str:
        try:
            return str(standardwebhooks.Webhook(secret).verify(body, dict(headers))["event"])
        except standardwebhooks.WebhookVerificationError as error:
            return str(error)

    assert [takes(*case[:3]) for case in cases] == [case[3] for case in cases]


def test_javascript(cases: list[Case], request: pytest.FixtureRequest) -> None:
    cache = request.config.cache.mkdir("standardwebhooks")
    folder = npm.kept(cache, PACKAGE[0], lambda fresh: npm.install(fresh, *PACKAGE))
    given = json.dumps([(secret, headers, body.decode()) for secret, headers, body, _ in cases])
    answers = npm.run(program("node"), "-e", VERIFY, given, folder=folder)
    assert json.loads(answers) == [case[3] for case in cases]
