"""What jobs have cost: a part of ``/api/installation``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import groupby

from pydantic import Field

from chalicelib.core.prices import MILLION, PRICES, PRICES_OF, REGION, Item
from chalicelib.engine.job_costs import COUNTED, JobsCost, worker_memory_mb
from chalicelib.http.models import AnswerModel

SHOWN = (
    Item.TABLE_WRITE,
    Item.TABLE_READ,
    Item.FUNCTION_TIME_ARM,
    Item.FUNCTION_REQUEST,
    Item.QUEUE_REQUEST,
    Item.OBJECT_PUT,
    Item.API_REQUEST,
    Item.METRIC,
    Item.LOG_INGESTION,
)
"""What AWS bills jobs by; what is not ``COUNTED`` is shown with its price alone."""


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


class ItemCost(AnswerModel):
    """What AWS bills a service by."""

    unit: str = Field(examples=["write units"])
    usd_a_million: float = Field(description="The list price")
    amount: float | None = Field(description="Of the jobs, estimated; null: nobody counts it for each job")
    usd: float | None


class ServiceCost(AnswerModel):
    """What jobs have cost at one of AWS's services."""

    service: str = Field(examples=["DynamoDB"])
    usd: float | None = Field(description="null: nothing of it is counted for each job")
    items: list[ItemCost]


class IdleCost(AnswerModel):
    """What a service costs in a month in which nobody uses the installation."""

    service: str
    usd: float


class Costs(AnswerModel):
    """What jobs have cost, estimated: handlers' time, sends, receives, writes and payloads above 256 KB.

    Without the calls of the API, reads, storage, logs and counters: `taskyard cost` has those.
    """

    usd: float
    by_service: list[ServiceCost] = Field(description="The dearest first, then those that are not counted")
    memory_mb: int = Field(description="That the worker is taken to have")
    prices_of: date = Field(description="When the list prices were read")
    prices_in: str = Field(description="The region that they are of")
    idle_month: list[IdleCost] = Field(
        description="What a month without a job costs, as it was deployed last, by service; empty: not known"
    )
    by_type: list[TypeCost] = Field(description="The dearest first")


def costs_of(found: list[JobsCost], idle: Mapping[str, float]) -> Costs:
    """What jobs have cost, by service, and by type and day; and what an ``idle`` month costs, by service."""

    def of_type(cost: JobsCost) -> tuple[str, str]:
        return cost.account.kind, cost.account.type

    by_type = [_type_cost(*name, list(costs)) for name, costs in groupby(sorted(found, key=of_type), of_type)]
    return Costs(
        usd=sum(each.usd for each in found),
        by_service=_by_service(found),
        idle_month=[IdleCost(service=name, usd=usd) for name, usd in sorted(idle.items(), key=lambda each: -each[1])],
        memory_mb=worker_memory_mb(),
        prices_of=PRICES_OF,
        prices_in=REGION,
        by_type=sorted(by_type, key=lambda each: (-each.usd, each.kind, each.type)),
    )


def _by_service(found: list[JobsCost]) -> list[ServiceCost]:
    amounts: Counter[Item] = Counter()
    for cost in found:
        amounts.update(cost.amounts)
    of_services: defaultdict[str, list[ItemCost]] = defaultdict(list)
    for item in SHOWN:
        price, amount = PRICES[item], amounts[item] if item in COUNTED else None
        usd = None if amount is None else amount * price.usd_each
        of_services[price.service].append(
            ItemCost(unit=price.unit, usd_a_million=price.usd_each * MILLION, amount=amount, usd=usd)
        )
    services = [ServiceCost(service=name, usd=_sum(items), items=items) for name, items in of_services.items()]
    return sorted(services, key=lambda each: (each.usd is None, -(each.usd or 0), each.service))


def _sum(items: list[ItemCost]) -> float | None:
    counted = [each.usd for each in items if each.usd is not None]
    return sum(counted) if counted else None


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
