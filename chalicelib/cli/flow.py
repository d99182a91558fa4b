"""The commands about flow control: what bounds types, topics and keys, and how they stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from chalicelib.cli.common import calls_service
from chalicelib.cli.http_client import Service
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import present, show_record, show_rows, show_text
from chalicelib.core.flow import PER_MAX_S, RATE_MAX, WAIT_MAX_S
from chalicelib.core.limits import CONCURRENCY_MAX

PATH = "/api/flow"
OFF = "off"
SETTINGS = {"TYPE": "type", "TOPIC": "topic", "KEY": "key", "CONCURRENCY": "concurrency", "RATE": "rate"}
FOR_A_TIME = {"until": None}  # unique for so many seconds, whatever becomes of the first
RATE = re.compile(r"(\d+)/(?:(\d+(?:\.\d+)?))?(s|m|h|d)?")
SECONDS_OF = {None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

Command = Callable[..., None]


def _rate(_context: click.Context, _parameter: click.Parameter, given: str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    found = RATE.fullmatch(given)
    if found is None or found.group(2, 3) == (None, None):
        raise click.BadParameter(f"expected COUNT/TIME such as 10/s, 100/m or 5/30s, got {given}")
    count, time, unit = found.groups()
    per_s = float(time or 1) * SECONDS_OF[unit]
    if not (len(count) < 9 and 1 <= int(count) <= RATE_MAX and 0.001 <= per_s <= PER_MAX_S):
        raise click.BadParameter(f"expected a count of 1 to {RATE_MAX} in 0.001 s to {PER_MAX_S} s, got {given}")
    return {"count": int(count), "perSeconds": per_s}


def _seconds_or_off(context: click.Context, parameter: click.Parameter, given: str | None) -> Any:
    if given is None or given == OFF:
        return given
    try:
        return {"waitS": Number(0.001, WAIT_MAX_S).convert(given, parameter, context)}
    except click.BadParameter:
        raise click.BadParameter(f"expected seconds, 0.001 to {WAIT_MAX_S}, or {OFF}; got {given}") from None


def _unique(_context: click.Context, _parameter: click.Parameter, until: str | None) -> Any:
    if until is None or until == OFF:
        return until
    return FOR_A_TIME if until == "time" else {"until": until}


def about_target(command: Command) -> Command:
    """Give a command TYPE, or --topic instead: ``type`` and ``topic``."""
    topic = click.option("--topic", help="A topic instead of a task type.")
    return click.argument("type", metavar="[TYPE]", required=False)(topic(command))


key_option = click.option("--key", help="One key of it; default: all its jobs.")
if_version_option = click.option("--if-version", metavar="VERSION", help="Only if this is set still, or none.")
which_key_option = click.option("--key", required=True, help="Which key.")


@click.group()
def flow() -> None:
    """Bound how many jobs of a type, a topic or a key run at once, and how many begin; see what bounds them."""


@flow.command("list")
@calls_service
def list_flow(service: Service, as_json: bool) -> None:
    """List what is set, what handlers declare, and which keys are paused."""
    present(service.get(PATH), as_json, _show)


@flow.command("set")
@about_target
@key_option
@click.option("--concurrency", type=Whole(1, CONCURRENCY_MAX), help="How many run at once.")
@click.option("--rate", metavar="COUNT/TIME", callback=_rate, help="How many begin: 10/s, 100/m, 5/30s.")
@click.option("--burst", type=Whole(1, RATE_MAX), help="How many of the rate's may begin at once; default 1.")
@click.option("--order", type=click.Choice(["block", "step aside", OFF]), help="One at a time, as they were accepted.")
@click.option(
    "--unique",
    type=click.Choice(["end", "start", "time", OFF]),
    callback=_unique,
    help="Until when one keeps others away.",
)
@click.option(
    "--unique-for", type=Number(0.001, PER_MAX_S), metavar="SECONDS", help="For how long; alone with --unique time."
)
@click.option(
    "--unique-by", metavar="PATH", help="What makes two alike: input.page; default: their key, or their input."
)
@click.option("--debounce", metavar="SECONDS|off", callback=_seconds_or_off, help="For how long the newest waits.")
@click.option(
    "--debounce-latest",
    type=Number(0.001, WAIT_MAX_S),
    metavar="SECONDS",
    help="At the latest so long after the first.",
)
@click.option("--debounce-by", metavar="PATH", help="What makes two alike; default: their key.")
@if_version_option
@calls_service
def set_flow(service: Service, as_json: bool, **given: Any) -> None:
    """Control a task type, a topic or a key otherwise than declared; a control that is left out is as declared.

    Order, unique and debounce, or off in their place, are of a whole type or topic, and hold for jobs that are accepted
    from then on.
    """
    if given["unique"] == FOR_A_TIME and given["unique_for"] is None:
        raise click.UsageError("--unique time says nothing without --unique-for SECONDS")
    controls = {
        "concurrency": given["concurrency"],
        "rate": _with(given, "rate", burst="burst"),
        "order": given["order"],
        "unique": _with(given, "unique", forS="unique_for", by="unique_by"),
        "debounce": _with(given, "debounce", latestS="debounce_latest", by="debounce_by"),
    }
    body = {**{name: given[name] for name in ("type", "topic", "key")}, **controls, "ifVersion": given["if_version"]}
    present(service.put(PATH, body), as_json, lambda setting: show_record(_row(setting)))


def _with(given: dict[str, Any], name: str, **options: str) -> Any:
    """A control with what options of its own say of its fields; without it they say nothing."""
    control, told = given[name], {field: option for field, option in options.items() if given[option] is not None}
    if not told:
        return control
    if not isinstance(control, dict):
        words = " and ".join(f"--{option.replace('_', '-')}" for option in told.values())
        raise click.UsageError(f"{words}: only with --{name}, which is {control or 'not given'}")
    return {**control, **{field: given[option] for field, option in told.items()}}


@flow.command()
@about_target
@key_option
@if_version_option
@calls_service
def unset(service: Service, as_json: bool, if_version: str | None, **target: str | None) -> None:
    """Bound a task type, a topic or a key as it is declared again."""
    answer = service.delete(PATH, {**target, "ifVersion": if_version})
    present(answer, as_json, lambda _: show_text(f"{_named(answer)}: as declared"))


@flow.command()
@about_target
@key_option
@calls_service
def show(service: Service, as_json: bool, **target: str | None) -> None:
    """Show what bounds a task type, a topic or a key, who runs, and how many wait for what."""
    answer = service.get(f"{PATH}/standing", target)
    present(answer, as_json, _show_standing)


@flow.command()
@about_target
@which_key_option
@calls_service
def pause(service: Service, as_json: bool, **target: str | None) -> None:
    """Begin no more jobs of a key; what runs goes on."""
    answer = service.post(f"{PATH}/pause", target)
    present(answer, as_json, lambda _: show_text(f"{_named(answer)} is paused; workers notice within 5 seconds"))


@flow.command()
@about_target
@which_key_option
@calls_service
def resume(service: Service, as_json: bool, **target: str | None) -> None:
    """Let the jobs of a key begin again; those that waited are sent, the first first."""
    answer = service.post(f"{PATH}/resume", target)
    present(answer, as_json, lambda _: show_text(f"{_named(target)} is resumed; jobs sent: {answer['sent']}"))


@flow.command("pass")
@click.argument("id")
@calls_service
def pass_over(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """Let those run that wait behind a failed job of a type that is declared with order="block"."""
    answer = service.post(f"{PATH}/pass", {"id": id})
    present(answer, as_json, lambda _: show_text(f"{answer['id']} is passed over"))


def _show(answer: dict[str, Any]) -> None:
    show_text("set:")
    show_rows([_with_more(each) for each in answer["set"]], {**SETTINGS, "MORE": "more", "SINCE": "since", "BY": "by"})
    show_text("declared:")
    show_rows([_with_more(each) for each in answer["declared"]], {**SETTINGS, "MORE": "more"})
    show_text("paused keys:")
    show_rows(answer["paused"], {"TYPE": "type", "TOPIC": "topic", "KEY": "key", "SINCE": "since", "BY": "by"})


def _with_more(setting: dict[str, Any]) -> dict[str, Any]:
    """A row with all that has no column of its own."""
    per_key = _row(setting["perKey"]) if "perKey" in setting else {}
    told = {"per key": per_key.get("concurrency"), "rate per key": per_key.get("rate"), "order": setting["order"]}
    told |= {"unique": _brief(setting["unique"]), "debounce": _brief(setting["debounce"])}
    told |= {"warning": setting.get("warning")}
    return {**_row(setting), "more": "; ".join(f"{what}: {value}" for what, value in told.items() if value is not None)}


BRIEFLY = {"until": "until {}", "forS": "{:g} s", "waitS": "{:g} s", "latestS": "at most {:g} s", "by": "by {}"}


def _brief(control: Any) -> Any:
    """A unique or a debounce, written for people: ``until end, 60 s, by input.k``."""
    if not isinstance(control, dict):
        return control
    return ", ".join(words.format(control[name]) for name, words in BRIEFLY.items() if control.get(name) is not None)


def _show_standing(answer: dict[str, Any]) -> None:
    waiting = {f"waiting for a {what}": _counted(each) for what, each in answer["waiting"].items()}
    holders = {"holders": " ".join(answer["holders"]) or None, "blocked by": answer["blockedBy"]}
    show_record({**_row(answer), **holders, "blockedBy": None, "waiting": None, **waiting})


def _row(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose rate is written for people."""
    rate = record["rate"]
    if rate is None:
        return record
    burst = "" if rate["burst"] == 1 else f", {rate['burst']} at once"
    return {**record, "rate": f"{rate['count']} in {rate['perSeconds']:g} s{burst}"}


def _counted(waiting: dict[str, Any]) -> str:
    return f"{waiting['count']}" if waiting["isExact"] else f"at least {waiting['count']}"


def _named(target: dict[str, Any]) -> str:
    name = target["type"] or target["topic"]
    return name if target["key"] is None else f"{name}, key {target['key']}"
