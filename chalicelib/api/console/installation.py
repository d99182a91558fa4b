"""The installation itself: ``/api/installation``."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field

from chalicelib.api.console.costs import Costs, costs_of
from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import ShownTime
from chalicelib.core.access import AccessKey, id_of
from chalicelib.core.applications import Application
from chalicelib.core.trace import iso
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.job_costs import costs_by_day
from chalicelib.engine.usage import KEPT_DAYS
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel
from chalicelib.http.redaction import REDACTED
from chalicelib.http.routes import Router
from chalicelib.settings import DEFAULTS, SECRET, VARIABLE_PREFIX, Settings

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Installation", "Settings, access keys, webhooks, applications, topics, and what jobs have cost.")


class InstallationQuery(ApiModel):
    """Of how many days the costs."""

    days: Annotated[int, Field(ge=1, le=KEPT_DAYS), NOT_BOOLEAN] = Field(default=7, description="The newest, in UTC")


class SettingValue(AnswerModel):
    """A setting; of one that may hold a password only whether it is set."""

    name: str = Field(examples=["lease_s"])
    variable: str = Field(examples=["TASKYARD_LEASE_S"])
    value: str | int | float
    default: str | int | float


class KeyRecord(AnswerModel):
    """An access key or a user, without what it is, or what its password makes."""

    id: str = Field(description="By which `taskyard keys revoke` knows it", examples=["0a1b2c3d4e5f"])
    label: str
    user: str | None = Field(description="null: a key")
    scopes: list[str]
    created_at: ShownTime
    revoked_at: ShownTime | None
    last_used_at: ShownTime | None = Field(description="An hour about right; null: never, or not since that is noted")


class WebhookRecord(AnswerModel):
    """A webhook, without its secret."""

    id: str
    url: str = Field(description="Without its query and whatever stands before its host")
    events: list[str] = Field(description="Empty: all")
    types: list[str] = Field(description="Empty: all")
    format: str
    created_at: ShownTime


class ApplicationRecord(AnswerModel):
    """An application, without its secret."""

    app_key: str
    name: str
    link_url: str = Field(description="Where its tasks are delivered; without its query")
    disabled: bool
    created_at: ShownTime


class InstallationAnswer(AnswerModel):
    """What is set, who may do what, who is told, and what jobs have cost."""

    settings: list[SettingValue]
    keys: list[KeyRecord] = Field(description="The oldest first")
    webhooks: list[WebhookRecord]
    applications: list[ApplicationRecord]
    topics: list[str] = Field(description="Those that are polled, and those with subscribers")
    costs: Costs


@router.get("/api/installation", scope=SEE)
def show_installation(yard: Yard, query: InstallationQuery) -> InstallationAnswer:
    """Show settings, access keys, webhooks, applications, topics and costs; no secret, and no digest of one."""
    return InstallationAnswer(
        settings=[setting_of(yard.settings, field.name) for field in fields(Settings)],
        keys=[_key(each) for each in yard.directory.listed_access_keys()],
        webhooks=[_webhook(each) for each in yard.directory.listed_webhooks()],
        applications=[_application(each) for each in yard.applications.all()],
        topics=sorted({*yard.directory.topics(), *yard.handlers.subscribers}),
        costs=costs_of(list(costs_by_day(yard, query.days)), yard.deployments.idle_costs()),
    )


def setting_of(chosen: Settings, name: str) -> SettingValue:
    """A setting as it is shown."""
    variable, value = f"{VARIABLE_PREFIX}{name.upper()}", getattr(chosen, name)
    shown = REDACTED if name in SECRET and value else value
    return SettingValue(name=name, variable=variable, value=shown, default=getattr(DEFAULTS, name))


def _key(key: AccessKey) -> KeyRecord:
    return KeyRecord(
        id=id_of(key),
        label=key.name,
        user=key.user,
        scopes=sorted(key.scopes),
        created_at=iso(key.created_at_ms),
        revoked_at=_maybe_iso(key.revoked_at_ms),
        last_used_at=_maybe_iso(key.used_at_ms),
    )


def _maybe_iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def _webhook(webhook: Webhook) -> WebhookRecord:
    return WebhookRecord(
        id=webhook.id,
        url=_without_secrets(webhook.url),
        events=sorted(webhook.events),
        types=sorted(webhook.types),
        format=webhook.format,
        created_at=iso(webhook.created_at_ms),
    )


def _application(found: Application) -> ApplicationRecord:
    return ApplicationRecord(
        app_key=found.app_key,
        name=found.name,
        link_url=_without_secrets(found.link_url),
        disabled=found.disabled,
        created_at=iso(found.created_at_ms),
    )


def _without_secrets(url: str) -> str:
    """A URL without a user, a password, a query and a fragment, any of which may be a token."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
