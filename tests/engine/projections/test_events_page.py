"""The examples of docs/hooks.md, run; its table of events is complete."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chalicelib.core.job import Job, JobError
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import signature
from chalicelib.engine.handlers.registry import Registry
from chalicelib.services import messages
from tests.support.pages import DOCS, code_of

BODY = b'{"event":"complete"}'
SENT_S = 1_750_000_000
SECRET = "whsec_of-a-test"  # noqa: S105
GENUINE = signature(SECRET, SENT_S, BODY)


@pytest.mark.parametrize(
    ("header", "body", "now_s", "expected"),
    [
        (GENUINE, BODY, SENT_S, True),
        (GENUINE, BODY, SENT_S + 300, True),
        (GENUINE, BODY, SENT_S + 301, False),
        (GENUINE, BODY + b" ", SENT_S, False),
        (signature("whsec_other", SENT_S, BODY), BODY, SENT_S, False),
        (GENUINE.replace(f"t={SENT_S}", f"t={SENT_S + 1}"), BODY, SENT_S, False),
        ("", BODY, SENT_S, False),
        ("t=,v1=é", BODY, SENT_S, False),
    ],
)
def test_the_verification_of_the_page(header: str, body: bytes, now_s: float, expected: bool) -> None:
    page: dict[str, Any] = {}
    exec(code_of("hooks.md", "verify"), page)  # noqa: S102  # the page's own example
    assert page["is_from_taskyard"](SECRET, header, body, now_s) is expected


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
