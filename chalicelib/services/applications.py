"""Applications: programs elsewhere whose tasks are delivered to a URL of theirs, and which sign what they ask for.

    from chalicelib.services import applications

    made = applications.create("billing", "https://billing.example.com/tasks", step_s=5)
    task = applications.create_task(made.app_key, "order-82", {"amount": 5}, name="charge", timeout_ms=60_000)

The words are Serendipity-Job's: docs/serendipity.md. An application is returned as it stood when it was read, its
secret empty but where it was just given one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from chalicelib.core import applications as rules
from chalicelib.core.applications import CONCURRENCY, RETRIES, ROTATION_MAX_S, ROTATION_S, STEP_S, Application
from chalicelib.core.errors import InvalidInput
from chalicelib.core.trace import iso
from chalicelib.engine.commands import applications as commands
from chalicelib.engine.publish.publish import publish
from chalicelib.http.problems import rejected
from chalicelib.services import checks, installation, tasks
from chalicelib.services.records import Task
from chalicelib.services.serendipity_orders import ApplicationOrder, TaskOrder, new_job

IN_PYTHON = {
    "appName": "name",
    "linkUrl": "link_url",
    "step": "step_s",
    "retryTotal": "retry_total",
    "replayProtection": "replay_protection",
    "timezone": "tz",
    "taskNo": "task_no",
    "timeout": "timeout_ms",
}


def create(
    name: str,
    link_url: str,
    *,
    step_s: int = STEP_S,
    retry_total: int = RETRIES,
    remark: str | None = None,
    replay_protection: bool = True,
    concurrency: int = CONCURRENCY,
    tz: str = "UTC",
) -> Application:
    """Create an application, and return it with its secret.

    ``step_s`` 0 to 3,600, ``retry_total`` 0 to 10, ``concurrency`` 1 to 100. Raises ``InvalidInput``.
    """
    order = _read(
        ApplicationOrder,
        {
            "appName": name,
            "linkUrl": link_url,
            "step": step_s,
            "retryTotal": retry_total,
            "remark": remark,
            "replayProtection": replay_protection,
            "concurrency": concurrency,
            "timezone": tz,
        },
    )
    yard = installation.yard()
    made = commands.create(yard, **order.definition(rules.written(yard.now_ms())))
    return _shown(made, made.secret)


def list() -> Sequence[Application]:  # noqa: A001  # as in the other services
    """All applications, oldest first, without their secrets."""
    return [_shown(each) for each in installation.yard().applications.all()]


def disable(app_key: str) -> Application:
    """Listen to it no longer and deliver nothing to it: its tasks wait. Raises ``NotFound``."""
    return _shown(commands.disable(installation.yard(), checks.text("app_key", app_key), disabled=True))


def enable(app_key: str) -> Application:
    """Listen and deliver to it again; a rest is over. Raises ``NotFound``."""
    return _shown(commands.disable(installation.yard(), checks.text("app_key", app_key), disabled=False))


def rotate(app_key: str, *, grace_s: int = ROTATION_S) -> Application:
    """Give it another secret, and return it with that.

    The one before stays in force for ``grace_s`` (0 to 30 days), and signs what is delivered until then. Raises
    ``NotFound``, and ``Conflict`` while a rotation goes on.
    """
    for_s = checks.whole("grace_s", grace_s, 0, ROTATION_MAX_S)
    after = commands.rotate(installation.yard(), checks.text("app_key", app_key), for_s)
    return _shown(after, after.secret)


def finish_rotation(app_key: str) -> Application:
    """Only its newest secret is in force from now on. Raises ``NotFound``."""
    return _shown(commands.finish_rotation(installation.yard(), checks.text("app_key", app_key)))


def create_task(
    app_key: str, task_no: str, content: Any, *, name: str, timeout_ms: int, run_at: datetime | None = None
) -> Task:
    """Create a task of an application, as the application itself does over HTTP.

    Raises ``NotFound`` for an application that there is not, ``Conflict`` for a ``task_no`` that it has used,
    ``InvalidInput`` and ``TooLarge``.
    """
    runtime = None if run_at is None else iso(checks.at_ms("run_at", run_at))
    given = {"taskNo": task_no, "content": content, "name": name, "timeout": timeout_ms, "runtime": runtime}
    order, yard = _read(TaskOrder, given), installation.yard()
    return tasks.detail(publish(yard, new_job(yard, commands.find(yard, checks.text("app_key", app_key)), order)).id)


def sign(app_key: str, secret: str, body: bytes | str) -> dict[str, str]:
    """The headers of a request with this body, now. Needs no installation: it is for clients, too."""
    if not isinstance(body, bytes | str):
        raise InvalidInput("this is no body", field="body", expected="bytes or a str", got=type(body).__name__)
    named, now_ms = checks.text("app_key", app_key), time.time_ns() // 1_000_000
    return rules.sign(named, checks.text("secret", secret), rules.digest_of(body), now_ms, os.urandom).to_send()


def _read(model: Any, given: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise rejected("application", given, error, IN_PYTHON) from None


def _shown(application: Application, secret: str = "") -> Application:
    """An application as it may be shown: without its secrets, but for one that it was just given."""
    return replace(application, secret=secret, old_secret=None)
