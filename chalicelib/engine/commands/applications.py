"""What people ask of an application: make it, disable it, give it another secret; and what it asks for itself."""

from __future__ import annotations

from typing import Any

from chalicelib.core.applications import (
    APP_KEY,
    APP_KEY_CHARS,
    ROTATION_S,
    SECRET_CHARS,
    Application,
    SignedHeaders,
    digest_of,
    is_secret,
    random_text,
    sign,
)
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.core.webhooks import checked_url
from chalicelib.core.zones import zone_named
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.yard import Yard
from chalicelib.store.table import Refused


def create(yard: Yard, **definition: Any) -> Application:
    """A new application, with a key and a secret. Raises ``InvalidInput`` for a URL or a time zone that is none."""
    application = Application(
        app_key=random_text(APP_KEY_CHARS, yard.random_bytes),
        secret=random_text(SECRET_CHARS, yard.random_bytes),
        created_at_ms=yard.now_ms(),
        **definition,
    )
    _check_url(application.link_url, yard)
    zone_named(application.zone, "tz")
    yard.applications.put(application)
    return application


def _check_url(url: str, yard: Yard) -> None:
    try:
        checked_url(url, local=yard.settings.local)
    except InvalidInput as error:
        told = {"field": "link_url", "expected": error.expected, "got": error.got}
        raise InvalidInput("nothing can be delivered there", **told) from None


def find(yard: Yard, app_key: str) -> Application:
    """The application with a key; raises ``NotFound``."""
    found = yard.applications.find(app_key) if APP_KEY.fullmatch(app_key) else None
    if found is None:
        raise _unknown()
    return found


def disable(yard: Yard, app_key: str, *, disabled: bool) -> Application:
    """Listen to it no longer and deliver nothing to it, or do both again, whether it rests or not.

    Raises ``NotFound``.
    """
    try:
        return yard.applications.disable(find(yard, app_key).app_key, disabled)
    except Refused as refused:
        raise _unknown() from refused


def rotate(yard: Yard, app_key: str, keep_old_s: int = ROTATION_S) -> Application:
    """Give it another secret. The one before stays in force for ``keep_old_s`` more, and signs deliveries until then.

    0: it is void at once. Raises ``NotFound``, and ``Conflict`` while a rotation goes on: one more would void the
    secret of before it early. Of several at the same moment one is done.
    """
    seen, now_ms = find(yard, app_key), yard.now_ms()
    if len(seen.secrets(now_ms)) > 1:
        raise Conflict(f"a rotation goes on until {iso(seen.old_until_ms)}", remedy="finish it first")
    try:
        secret = random_text(SECRET_CHARS, yard.random_bytes)
        return yard.applications.rotate(seen, secret, now_ms + keep_old_s * 1_000)
    except Refused as refused:
        raise Conflict("its secret was changed at the same moment", remedy="ask who has done it") from refused


def finish_rotation(yard: Yard, app_key: str) -> Application:
    """Only the newest secret is in force from now on. Raises ``NotFound``."""
    return yard.applications.retire_old_secret(find(yard, app_key).app_key)


def fresh_headers(yard: Yard, app_key: str, secret: str, payload: str | None = None) -> SignedHeaders:
    """Headers for whoever has the secret: for a ``payload``, by default the digest of the application's name.

    Raises ``NotFound`` for an application that there is not, is disabled, or has another secret.
    """
    found, now_ms = find(yard, app_key), yard.now_ms()
    if not is_secret(secret, found.secrets(now_ms)) or found.disabled:
        raise _unknown()
    return sign(app_key, secret, payload or digest_of(found.name), now_ms, yard.random_bytes)


def task_of(yard: Yard, application: Application, job_id: int | None) -> Job:
    """A task of an application; raises ``NotFound``, for another's, too."""
    job = None if job_id is None else yard.jobs.find(job_id)
    if job is None or job.kind is not Kind.TASK or job.application != application.app_key:
        raise NotFound("Unknown!")
    return job


def cancel(yard: Yard, seen: Job) -> tuple[Job, bool]:
    """Cancel a task if it is not done; returns it as it is now, and whether it was caught.

    A run that goes on learns of it at its next heartbeat.
    """
    after = lifecycle.cancel(yard, seen.id, Kind.TASK)
    return after, after.state is State.CANCELED and not seen.state.terminal


def send_again(yard: Yard, seen: Job) -> Job:
    """Let a task start now that is to start later, or run one again that failed or was canceled.

    Raises ``Conflict`` for one that runs or has succeeded.
    """
    if seen.state is State.PENDING:
        return lifecycle.start_now(yard, seen)
    return lifecycle.retry(yard, seen.id, Kind.TASK)


def _unknown() -> NotFound:
    return NotFound("Unknown Application Key#")
