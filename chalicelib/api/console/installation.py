"""The installation itself: ``/api/installation``."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field

from chalicelib.api.scopes import SEE
from chalicelib.api.shapes import ShownTime
from chalicelib.core.access import AccessKey, id_of
from chalicelib.core.applications import Application
from chalicelib.core.prices import PRICES_OF, REGION
from chalicelib.core.trace import iso
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.job_costs import JobsCost, costs_by_day, worker_memory_mb
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


class DayCost(AnswerModel):
    """What the jobs of a type have cost that were accepted on a day of UTC."""

    day: date
    kind: str
    type: str
    jobs: int = Field(description="Accepted on that day")
    attempts: int
    run_ms: int
    sends: int = Field(description="To SQS")
    usd: float = Field(description="Estimated, at list prices")


class TypeCost(AnswerModel):
    """What the jobs of a type have cost in all of the days."""

    kind: str
    type: str
    jobs: int
    usd: float
    days: list[DayCost] = Field(description="The oldest first")


class Costs(AnswerModel):
    """What jobs have cost, estimated: handlers' time, sends, receives and writes.

    Without the calls of the API, reads, storage, logs and counters: `taskyard cost` has those.
    """

    usd: float
    memory_mb: int = Field(description="That the worker is taken to have")
    prices_of: date = Field(description="When the list prices were read")
    prices_in: str = Field(description="The region that they are of")
    by_type: list[TypeCost] = Field(description="The dearest first")


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
        costs=_costs(list(costs_by_day(yard, query.days))),
    )


def setting_of(chosen: Settings, name: str) -> SettingValue:
    """A setting as it is shown."""
    variable, value = f"{VARIABLE_PREFIX}{name.upper()}", getattr(chosen, name)
    shown = REDACTED if name in SECRET and value else value
    return SettingValue(name=name, variable=variable, value=shown, default=getattr(DEFAULTS, name))


def _key(key: AccessKey) -> KeyRecord:
    revoked_at = None if key.revoked_at_ms is None else iso(key.revoked_at_ms)
    return KeyRecord(
        id=id_of(key),
        label=key.name,
        user=key.user,
        scopes=sorted(key.scopes),
        created_at=iso(key.created_at_ms),
        revoked_at=revoked_at,
    )


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


def _costs(found: list[JobsCost]) -> Costs:
    def of_type(cost: JobsCost) -> tuple[str, str]:
        return cost.account.kind, cost.account.type

    by_type = [_type_cost(*name, list(costs)) for name, costs in groupby(sorted(found, key=of_type), of_type)]
    return Costs(
        usd=sum(each.usd for each in found),
        memory_mb=worker_memory_mb(),
        prices_of=PRICES_OF,
        prices_in=REGION,
        by_type=sorted(by_type, key=lambda each: (-each.usd, each.kind, each.type)),
    )


def _type_cost(kind: str, name: str, costs: list[JobsCost]) -> TypeCost:
    return TypeCost(
        kind=kind,
        type=name,
        jobs=sum(cost.accepted for cost in costs),
        usd=sum(cost.usd for cost in costs),
        days=[
            DayCost(
                day=datetime.fromtimestamp(cost.account.day_ms / 1_000, UTC).date(),
                kind=kind,
                type=name,
                jobs=cost.accepted,
                attempts=cost.usage.attempts,
                run_ms=cost.usage.run_ms,
                sends=cost.usage.sends,
                usd=cost.usd,
            )
            for cost in costs
        ],
    )
