"""The examples of docs/hooks.md, run; its table of events is complete."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.job import Job, JobError
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import new_secret, signature
from chalicelib.engine.handlers.registry import Registry
from chalicelib.services import messages
from tests.support import npm
from tests.support.pages import DOCS, code_of
from tests.support.programs import program

BODY = b'{"event":"complete"}'
SENT_S = 1_750_000_000
KEY = bytes(range(230, 254))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def headers(*secrets: str, **changed: str) -> dict[str, str]:
    """Those of a request that these secrets have signed, changed afterwards."""
    signatures = " ".join(signature(secret, "m1", SENT_S, BODY) for secret in secrets)
    genuine = {"webhook-id": "m1", "webhook-timestamp": str(SENT_S), "webhook-signature": signatures}
    return {**genuine, **{f"webhook-{name}": value for name, value in changed.items()}}


OTHER = new_secret(bytes)
CASES = [
    (headers(SECRET), BODY, SENT_S, True),
    (headers(SECRET), BODY, SENT_S + 300, True),
    (headers(SECRET), BODY, SENT_S + 301, False),
    (headers(SECRET), BODY, SENT_S - 301, False),
    (headers(SECRET), BODY + b" ", SENT_S, False),
    (headers(OTHER, SECRET), BODY, SENT_S, True),
    (headers(OTHER), BODY, SENT_S, False),
    (headers(SECRET, id="m2"), BODY, SENT_S, False),
    (headers(SECRET, timestamp=str(SENT_S + 1)), BODY, SENT_S, False),
    (headers(SECRET, timestamp="soon"), BODY, SENT_S, False),
    (headers(SECRET, signature=signature(SECRET, "m1", SENT_S, BODY)[:-1]), BODY, SENT_S, False),
    (headers(SECRET, signature="v1,é"), BODY, SENT_S, False),
    ({}, BODY, SENT_S, False),
]


@pytest.mark.parametrize(("found", "body", "now_s", "expected"), CASES)
def test_the_verification_of_the_page(found: dict[str, str], body: bytes, now_s: float, expected: bool) -> None:
    page: dict[str, Any] = {}
    exec(code_of("hooks.md", "verify"), page)  # noqa: S102  # the page's own example
    assert page["is_from_taskyard"](SECRET, found, body, now_s) is expected


def test_the_verification_of_the_page_in_node(tmp_path: Path) -> None:
    given = json.dumps([(SECRET, found, body.decode(), now_s) for found, body, now_s, _ in CASES])
    run_it = "([secret, headers, body, nowS]) => isFromTaskyard(secret, headers, Buffer.from(body), nowS)"
    script = f"{code_of('hooks.md', 'verify', 'js')}\nconsole.log(JSON.stringify({given}.map({run_it})));"
    answers = npm.run(program("node"), "-e", script, folder=tmp_path)
    assert json.loads(answers) == [expected for *_, expected in CASES]


def test_the_hooks_of_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    published: list[Any] = []
    monkeypatch.setattr(messages, "publish", lambda *given, **more: published.append((given, more)))
    page: dict[str, Any] = {"__name__": "page"}
    exec(code_of("hooks.md", "declare"), page)  # noqa: S102  # as above
    hooks = {hook.what: hook for hook in Registry.of(page.values()).hooks}
    assert {(hook.what, hook.type) for hook in hooks.values()} == {
        (EventType.COMPLETE, "image.resize"),
        (EventType.FAILED, None),
    }
    job = Job(
        id=7,
        uid="b",
        kind=Kind.TASK,
        type="image.resize",
        queue="default",
        created_at_ms=1,
        trace_id="t",
        error=JobError("ValueError", "no"),
    )
    common: dict[str, Any] = {"job": job, "sequence": "1", "at_ms": 1}
    complete = JobEvent(what=EventType.COMPLETE, read_output=lambda _: {"key": "small/7"}, **common)
    hooks[EventType.COMPLETE].function(complete)
    assert published == [(("image.ready", {"task": "7", "key": "small/7"}), {"idempotency_key": "7-1-complete"})]
    hooks[EventType.FAILED].function(JobEvent(what=EventType.FAILED, detail={"attemptsMade": 3}, **common))
    assert capsys.readouterr().out == "image.resize 7 no 3\n"


def test_the_table_has_every_event_in_its_order() -> None:
    (table,) = (part for part in (DOCS / "hooks.md").read_text().split("\n## ") if part.startswith("Events\n"))
    assert re.findall(r"^\| `([a-z ]+)` \|", table, re.MULTILINE)[1:] == list(EventType)
