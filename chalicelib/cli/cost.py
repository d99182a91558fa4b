"""The command that says what a deployment costs. It asks nobody: no AWS credentials, no network.

What computes is imported late: the engine reads this process's settings as it is imported, and other commands choose
theirs before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from chalicelib.cli.common import explained, json_option, url_option
from chalicelib.cli.http_client import Service
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import present, show_record, show_rows, show_text
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.prices import MILLION, PRICES, PRICES_OF, REGION, Item
from infra.deploy import target
from infra.deploy.stages import config_of, settings_of
from infra.functions import Function

if TYPE_CHECKING:
    from infra.cost.estimate import Bill, Line
    from infra.cost.load import Deployment, Load

COLUMNS = {
    "SERVICE": "service",
    "FOR": "for",
    "AMOUNT": "amount",
    "UNIT": "unit",
    "PRICE": "price",
    "USD": "usd",
    "SMALLER BY": "smaller",
}
JOB_COLUMNS = {"USD A MILLION" if field == "usd" else heading: field for heading, field in COLUMNS.items()}
NOT_COUNTED = (
    "taxes, discounts, data sent out of AWS, cold starts, looking up access keys, reading lists, "
    "the index entry of a task's target (a write unit and some 160 bytes), what handlers ask of AWS"
)


@click.command()
@click.option("--stage", default="dev", show_default=True, help="A stage of .chalice/config.json.")
@click.option("--job", "job_id", metavar="ID", help="What one job has cost, by what it has used.")
@url_option
@click.option("--jobs", type=Whole(0), default=MILLION, show_default=True, help="How many, within a month.")
@click.option("--payload-bytes", type=Whole(0), default=1_024, show_default=True, help="Of a job's payload as JSON.")
@click.option("--attempts", type=Number(0), default=1.0, show_default=True, help="How many a job takes, on average.")
@click.option("--run-ms", type=Number(0), default=100.0, show_default=True, help="What a handler takes for one.")
@click.option("--memory-mb", type=Whole(128, 10_240), help="Of the worker; by default what .chalice/config.json says.")
@click.option("--polled", is_flag=True, help="Clients poll the jobs; no worker runs them.")
@click.option("--bulk", is_flag=True, help="Jobs are published in bulk.")
@click.option("--light", is_flag=True, help="Light handlers run the jobs: docs/handlers.md.")
@click.option("--from-kafka", is_flag=True, help="The jobs are records of Kafka, of a topic that this stage brings in.")
@click.option("--slots", type=Whole(0), default=0, help="Of schedules, within a month, beside their jobs.")
@click.option("--arm/--x86", default=None, help="As if the functions ran on arm64, or on x86_64.")
@click.option("--free-tier", is_flag=True, help="Take off what AWS gives each account every month.")
@json_option
def cost(
    stage: str,
    job_id: str | None,
    url: str,
    memory_mb: int | None,
    arm: bool | None,
    free_tier: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Say what a stage costs: a month in which nobody uses it, and what jobs add.

    Computed from the template that is deployed, from measured requests for each job and from AWS list prices. With
    --job, of what the service at --url has counted of that job.
    """
    from infra.cost.estimate import bills
    from infra.cost.load import Load

    with explained():
        deployed = deployment_of(stage)
        if arm is not None:
            deployed = replace(deployed, arm=arm)
        if memory_mb is not None:
            deployed = replace(deployed, memory_mb={**deployed.memory_mb, Function.WORKER: memory_mb})
        if job_id is not None:
            used = Service(url, os.environ.get("TASKYARD_KEY")).get(f"/api/job/{quote(job_id, safe='')}/usage")
            present(_answer_for_job(deployed, used, bulk=asked["bulk"], light=asked["light"]), as_json, _show_job)
            return
        load = Load(**asked)
        idle, added = bills(deployed, load, free_tier=free_tier)
        present(_answer(deployed, load, idle, added), as_json, _show)


def deployment_of(stage: str) -> Deployment:
    """What this checkout deploys to a stage, for what it costs."""
    from chalicelib.engine.handlers.registry import registry_of
    from chalicelib.engine.projections.events import decided
    from infra.cost.load import deployment

    settings = settings_of(stage)
    target.work_from_here()
    declared = registry_of(settings)
    types = len(declared.tasks) + len(declared.subscribers)
    return deployment(decided(settings, declared), declared.queues, types, config_of(), declared.batches)


def _answer_for_job(deployed: Deployment, used: dict[str, Any], *, bulk: bool, light: bool) -> dict[str, Any]:
    """What a job has used, as counted, and the bill that is estimated from it: what depends on the hour is left out."""
    from infra.cost.estimate import Bill, bills
    from infra.cost.load import Load

    attempts = used["attempts"]
    polled = used["runBy"] == "client"
    load = Load(
        jobs=1,
        payload_bytes=used["payloadBytes"],
        attempts=min(max(attempts, 1), ATTEMPTS_MAX),
        run_ms=used["runMs"] / max(attempts, 1),
        polled=polled,
        bulk=bulk,
        light=light and not polled,
    )
    _, added = bills(deployed, load)
    left_out = () if attempts else ("attempts", "polls and reports")
    lines = [line for line in added.lines if line.usage.item is not Item.METRIC and line.usage.what not in left_out]
    return {**_priced(deployed), "counted": used, "estimated": _json_bill(Bill(lines), digits=9)}


def _priced(deployed: Deployment) -> dict[str, Any]:
    """What is priced, and by which list."""
    chosen = deployed.settings
    return {"stage": chosen.stage, "region": chosen.region, "pricesOf": PRICES_OF.isoformat(), "pricesIn": REGION}


def _show_job(answer: dict[str, Any]) -> None:
    show_record(answer["counted"])
    show_text("\nWhat that cost, estimated:\n")
    lines = sorted(answer["estimated"]["lines"], key=lambda line: -line["usd"])
    rows = [{**_row(line), "usd": f"{line['usd'] * MILLION:.2f}"} for line in lines]
    total = {"service": "total", "usd": f"{answer['estimated']['usd'] * MILLION:.2f}"}
    show_rows([*rows, total], JOB_COLUMNS)
    show_text(f"\nList prices of {answer['pricesIn']}, read {answer['pricesOf']}; kept a month; batches are full.")


def _answer(deployed: Deployment, load: Load, idle: Bill, added: Bill) -> dict[str, Any]:
    lines = (*idle.lines, *added.lines)
    return {
        **_priced(deployed),
        "idleMonth": _json_bill(idle),
        "jobs": {**_camel_keys(asdict(load)), **_json_bill(added)},
        "memoryMb": dict(deployed.memory_mb),
        "assumed": _camel_keys(asdict(deployed.pace)),
        "notCounted": NOT_COUNTED,
        "doubts": {item: PRICES[item].doubt for item in {line.usage.item for line in lines} if PRICES[item].doubt},
    }


def _json_bill(bill: Bill, digits: int = 4) -> dict[str, Any]:
    return {"usd": round(bill.usd, digits), "lines": [_json_line(line) for line in bill.lines]}


def _json_line(line: Line) -> dict[str, Any]:
    return {
        "item": line.usage.item,
        "service": line.price.service,
        "for": line.usage.what,
        "amount": line.usage.amount,
        "free": line.free,
        "unit": line.price.unit,
        "usdEach": line.price.usd_each,
        "usd": round(line.usd, 9),
        "smaller": line.usage.smaller or None,
        "source": line.price.source,
    }


def _show(answer: dict[str, Any]) -> None:
    jobs = answer["jobs"]
    show_text(f"An idle month of stage {answer['stage']}\n")
    _show_bill(answer["idleMonth"])
    how = "polled" if jobs["polled"] else "run by light handlers" if jobs["light"] else "run"
    show_text(
        f"\n{jobs['jobs']:,} jobs more, {_way(jobs)}{how}: "
        f"payload {jobs['payloadBytes']:,} bytes, {jobs['attempts']:g} attempts a job"
        + (
            f", {jobs['runMs']:g} ms each at {answer['memoryMb'][Function.WORKER]:,} MB\n"
            if not jobs["polled"]
            else "\n"
        )
    )
    _show_bill(jobs)
    show_text(
        f"\nList prices of {answer['pricesIn']}, read {answer['pricesOf']}. Assumed: batches are full, "
        f"{answer['assumed']['requestMs']:g} ms a request to AWS, {answer['assumed']['invocationMs']:g} ms an "
        f"invocation beside. Not counted: {answer['notCounted']}."
    )
    if answer["region"] != answer["pricesIn"]:
        show_text(f"The stage is in {answer['region']}, where prices differ.")
    for item, doubt in sorted(answer["doubts"].items()):
        show_text(f"Not certain ({item}): {doubt}.")


def _way(jobs: Mapping[str, Any]) -> str:
    return "records of Kafka, " if jobs["fromKafka"] else "published in bulk, " if jobs["bulk"] else ""


def _show_bill(bill: dict[str, Any]) -> None:
    lines = sorted(bill["lines"], key=lambda line: -line["usd"])
    rows = [_row(line) for line in lines]
    show_rows([*rows, {"service": "total", "usd": f"{bill['usd']:.2f}"}], COLUMNS)


def _row(line: dict[str, Any]) -> dict[str, Any]:
    price = PRICES[line["item"]]
    free = f", {_amount(line['free'])} free" if line["free"] else ""
    per = "" if price.per == 1 else " a million" if price.per == MILLION else f" per {price.per:,}"
    return {
        **line,
        "amount": f"{_amount(line['amount'])}{free}",
        "price": f"{price.usd:g}{per}" if price.usd else "free",
        "usd": f"{line['usd']:.2f}",
    }


def _amount(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 or amount == int(amount) else f"{amount:,.2f}"


def _camel_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_camel(name): value for name, value in values.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
