"""Applications: ``/application/create``, ``list``, ``disable``, ``enable``, ``rotate`` and ``refresh-signature``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chalicelib.api.serendipity.words import SIGNED, STYLE, Ok, Refusal
from chalicelib.core.applications import (
    APP_KEY_CHARS,
    ROTATION_MAX_S,
    ROTATION_S,
    SECRET_CHARS,
    Application,
    written,
)
from chalicelib.core.trace import iso
from chalicelib.engine.commands import applications
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel
from chalicelib.http.routes import Router
from chalicelib.services.serendipity_orders import ApplicationOrder, Lenient

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

SCOPE = "application"
TAG = "Serendipity"

router = Router(TAG, "Serendipity-Job's API: tasks of applications, which sign what they ask for.", style=STYLE)
public = Router(TAG, style=SIGNED)

AppKey = Annotated[str, Field(alias="app_key", max_length=256, examples=["wWt1aSZj2KXMO7fE"])]


class KeyBody(Lenient):
    """An application by its key."""

    app_key: AppKey


class RotateBody(KeyBody):
    """Whose secret, and until when the one before is in force."""

    grace: Annotated[int, Field(ge=0, le=ROTATION_MAX_S), NOT_BOOLEAN] = Field(
        default=ROTATION_S,
        description="So many seconds both secrets are in force, and the old one signs deliveries",
    )
    finish: bool = Field(default=False, description="Instead of another secret: the old one is void from now on")


class RefreshBody(KeyBody):
    """Who asks for headers, and for what."""

    secret_key: str = Field(alias="secret_key", max_length=256, repr=False)
    payload: str | None = Field(
        default=None,
        max_length=64,
        description="The MD5 digest of what is to be sent; default: of its name",
    )


class Signed(AnswerModel):
    """Headers to sign a request with, and what made them."""

    nonce: str
    timestamps: str
    signature: str
    app_key: str = Field(examples=["A" * APP_KEY_CHARS])
    payload: str
    secret_key: str = Field(examples=["s" * SECRET_CHARS])


class Shown(AnswerModel):
    """An application, without its secret."""

    app_key: str
    app_name: str
    link_url: str
    step: int
    retry_total: int
    remark: str
    status: int = Field(description="1, or 0 where it is disabled")
    replay_protection: bool
    concurrency: int
    timezone: str
    rotating_until: str | None = Field(description="Until when its old secret is in force")
    resting_until: str | None = Field(
        description="Until when nothing is delivered: its receiver asked for it, or did not answer"
    )
    created_at: str


class Rotated(Shown):
    """An application with its new secret, if it was given one."""

    secret_key: str | None


@router.post("/application/create", scope=SCOPE)
def create_application(yard: Yard, body: ApplicationOrder) -> Ok[Signed]:
    """Create an application, and show its secret, this once."""
    made = applications.create(yard, **body.definition(written(yard.now_ms())))
    headers = applications.fresh_headers(yard, made.app_key, made.secret)
    return Ok(data=Signed(**asdict(headers), secret_key=made.secret))


@public.post("/application/refresh-signature", scope=None, answer=Ok[Signed] | Refusal)
def refresh_signature(yard: Yard, body: RefreshBody) -> Ok[Signed]:
    """Make fresh headers, for whoever has the secret.

    Those for the application's name serve where it was created without replay protection; elsewhere a `payload` says
    what is to be sent.
    """
    headers = applications.fresh_headers(yard, body.app_key, body.secret_key, body.payload)
    return Ok(data=Signed(**asdict(headers), secret_key=body.secret_key))


@router.get("/application/list", scope=SCOPE)
def list_applications(yard: Yard) -> Ok[list[Shown]]:
    """List all applications, oldest first."""
    return Ok(data=[Shown(**_shown(yard, each)) for each in yard.applications.all()])


@router.post("/application/disable", scope=SCOPE, answer=Ok[Shown] | Refusal)
def disable_application(yard: Yard, body: KeyBody) -> Ok[Shown]:
    """Listen to an application no longer, and deliver nothing to it: its tasks wait until it is enabled."""
    return Ok(data=Shown(**_shown(yard, applications.disable(yard, body.app_key, disabled=True))))


@router.post("/application/enable", scope=SCOPE, answer=Ok[Shown] | Refusal)
def enable_application(yard: Yard, body: KeyBody) -> Ok[Shown]:
    """Listen and deliver to an application again, and end its rest.

    Its tasks that waited meanwhile run within a quarter of an hour; `/nsq/publish` sends one at once.
    """
    return Ok(data=Shown(**_shown(yard, applications.disable(yard, body.app_key, disabled=False))))


@router.post("/application/rotate", scope=SCOPE, answer=Ok[Rotated] | Refusal)
def rotate_secret(yard: Yard, body: RotateBody) -> Ok[Rotated]:
    """Give an application another secret, and show it, this once; or finish that, with `finish`."""
    if body.finish:
        after, secret = applications.finish_rotation(yard, body.app_key), None
    else:
        after = applications.rotate(yard, body.app_key, body.grace)
        secret = after.secret
    return Ok(data=Rotated(**_shown(yard, after), secret_key=secret))


def _shown(yard: Yard, application: Application) -> dict[str, Any]:
    now_ms = yard.now_ms()
    return {
        "app_key": application.app_key,
        "app_name": application.name,
        "link_url": application.link_url,
        "step": application.step_s,
        "retry_total": application.retry_total,
        "remark": application.remark,
        "status": int(not application.disabled),
        "replay_protection": application.replay_protection,
        "concurrency": application.concurrency,
        "timezone": application.zone,
        "rotating_until": iso(application.old_until_ms) if len(application.secrets(now_ms)) > 1 else None,
        "resting_until": iso(application.resting_until_ms) if application.resting_until_ms > now_ms else None,
        "created_at": iso(application.created_at_ms),
    }
