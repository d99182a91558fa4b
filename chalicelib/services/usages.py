"""What jobs have used, for Python. Its users call ``services.usage`` and ``services.usage_by_day``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from chalicelib.core.day_accounts import KEY, TENANT
from chalicelib.core.limits import counted_key, counted_topic
from chalicelib.core.states import Kind
from chalicelib.core.usage import Usage
from chalicelib.engine import job_costs
from chalicelib.engine import usage as engine
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.records import Message, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsUsage:
    """What the jobs of a type have used that were accepted on a day (UTC)."""

    day: date
    kind: str  # task or message
    type: str
    accepted: int
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsage:
    """What the jobs of a tenant have used that were accepted on a day (UTC)."""

    day: date
    tenant: str
    accepted: int
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What the jobs with a flow key have used that were accepted on a day (UTC); ``usd``: estimated."""

    day: date
    kind: Kind
    type: str
    key: str
    accepted: int
    usage: Usage
    usd: float


def of_job(job: Task | Message | int | str) -> Usage:
    """What one job has used. Raises ``NotFound``."""
    job_id = checks.job_id(job.id if isinstance(job, Task | Message) else job, "job")
    return engine.used(installation.yard(), job_id)[1]


def by_day(days: int) -> list[JobsUsage]:
    """What all jobs have used that were accepted within the newest ``days``, by day and type."""
    return [
        JobsUsage(
            day=_date(each), kind=each.account.kind, type=each.account.type, accepted=each.accepted, usage=each.usage
        )
        for each in engine.used_by_day(installation.yard(), _days(days))
    ]


def by_tenant(days: int) -> list[TenantUsage]:
    """The same by day and tenant."""
    return [
        TenantUsage(day=_date(each), tenant=each.account.type, accepted=each.accepted, usage=each.usage)
        for each in engine.used_by_day(installation.yard(), _days(days), TENANT)
    ]


def by_key(days: int) -> list[KeyUsage]:
    """The same by day and flow key."""
    yard = installation.yard()
    return [_of_key(yard, each) for each in engine.used_by_day(yard, _days(days), KEY)]


def _of_key(yard: Yard, used: engine.DayUsage) -> KeyUsage:
    of_type, key = counted_key(used.account.type) or (used.account.type, None)
    topic = counted_topic(of_type)
    kind, name = (Kind.TASK, of_type) if topic is None else (Kind.MESSAGE, topic)
    usd = job_costs.usd_of(job_costs.amounts_of_jobs(yard, kind, name, used.accepted, used.usage))
    return KeyUsage(
        day=_date(used), kind=kind, type=name, key=key or "", accepted=used.accepted, usage=used.usage, usd=usd
    )


def _days(days: int) -> int:
    return checks.whole("days", days, 1, engine.KEPT_DAYS)


def _date(used: engine.DayUsage) -> date:
    return datetime.fromtimestamp(used.account.day_ms / 1_000, UTC).date()
