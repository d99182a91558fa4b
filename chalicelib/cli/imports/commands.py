"""The command that moves what fastify-mq, fastify-task or kue has left unfinished."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from chalicelib.cli.common import REFUSED
from chalicelib.cli.keys import works_on_aws
from chalicelib.cli.numbers import Whole
from chalicelib.cli.output import complain, show_json, show_rows
from chalicelib.local.terminal import harmless

if TYPE_CHECKING:
    from chalicelib.cli.imports.found import Refused, Source
    from chalicelib.cli.imports.moving import Report
    from chalicelib.engine.yard import Yard

SHOWN_REFUSALS = 20

Command = Callable[..., None]


@click.group("import")
def imports() -> None:
    """Move what another system has left unfinished. Stop its consumers and publishers before.

    The source is only read. Each job is moved once: what was interrupted, or refused and mended, is repeated.
    """


def moves(command: Command) -> Command:
    """Give a command the options that every source has."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Read and check everything, and write nothing."),
        click.option("--dead-letters", is_flag=True, help="Also what has failed for good, as dead letters."),
        click.option(
            "--source", "source_name", metavar="NAME", default="", help="Tells one installation from another."
        ),
        click.option("--limit", type=Whole(1), metavar="N", help="Read N records, and no more."),
        click.option(
            "--refused", type=click.File("w", encoding="utf-8", lazy=True), metavar="FILE", help="List refusals there."
        ),
    ):
        command = option(command)
    return works_on_aws(command)


@imports.command("fastify-mq")
@click.argument("database_url", envvar="DATABASE_URL")
@click.option("--topic", help="Messages of this topic alone.")
@click.option("--table-prefix", default="t_", show_default=True, help="fastify-mq's dbTableNamePrefix.")
@click.option("--schema", help="Of PostgreSQL, by default as its search path says.")
@moves
def fastify_mq(
    database_url: str, topic: str | None, table_prefix: str, schema: str | None, dead_letters: bool, **how: Any
) -> None:
    """Move the messages that fastify-mq has in DATABASE_URL: sqlite:///FILE or postgres://USER@HOST/NAME."""
    from chalicelib.cli.imports.databases import opened
    from chalicelib.cli.imports.fastify_mq import FastifyMq

    with opened(database_url, schema) as database:
        _move(lambda _: FastifyMq(database, table_prefix, topic, dead_letters), **how)


@imports.command("fastify-task")
@click.argument("database_url", envvar="DATABASE_URL")
@click.option("--type", "type_", help="Tasks of this type alone.")
@click.option("--table-prefix", default="t_", show_default=True, help="fastify-task's dbTableNamePrefix.")
@click.option("--schema", help="Of PostgreSQL, by default as its search path says.")
@click.option("--waiting-again", is_flag=True, help="Let what waits for a callback begin anew.")
@moves
def fastify_task(
    database_url: str,
    type_: str | None,
    table_prefix: str,
    schema: str | None,
    waiting_again: bool,
    dead_letters: bool,
    **how: Any,
) -> None:
    """Move the tasks that fastify-task has in DATABASE_URL: sqlite:///FILE or postgres://USER@HOST/NAME."""
    from chalicelib.cli.imports.databases import opened
    from chalicelib.cli.imports.fastify_task import FastifyTask

    with opened(database_url, schema) as database:
        _move(lambda _: FastifyTask(database, table_prefix, type_, dead_letters, waiting_again), **how)


@imports.command("kue")
@click.argument("redis_url", envvar="REDIS_URL")
@click.option("--type", "type_", help="Jobs of this type alone.")
@click.option("--prefix", default="q", show_default=True, help="kue's, without the braces of a hash tag.")
@click.option("--backoff", metavar="NAME", help="What backoffs become that are functions: the one of @backoff(NAME).")
@moves
def kue(redis_url: str, type_: str | None, prefix: str, backoff: str | None, dead_letters: bool, **how: Any) -> None:
    """Move the jobs that kue has in REDIS_URL: redis://HOST:PORT/DATABASE."""
    from chalicelib.cli.imports.kue import Kue, opened, prefix_in

    with opened(redis_url) as redis:
        found = prefix_in(redis, prefix)
        _move(lambda yard: Kue(redis, found, yard, type_, dead_letters, backoff), **how)


def _move(
    source: Callable[[Yard], Source],
    *,
    as_json: bool,
    dry_run: bool,
    source_name: str,
    limit: int | None,
    refused: TextIO | None,
) -> None:
    from chalicelib.cli.imports.moving import explained, move
    from chalicelib.services import installation
    from infra.deploy.bucket import choose_bucket

    choose_bucket()
    refusals: list[dict[str, str | None]] = []

    def note(each: Refused) -> None:
        explanation = explained(each)
        if refused is not None:
            refused.write(json.dumps(explanation, ensure_ascii=False) + "\n")
        if as_json or len(refusals) < SHOWN_REFUSALS:
            refusals.append(explanation)

    yard = installation.yard()
    report = move(
        yard,
        source(yard),
        dry_run=dry_run,
        most=limit,
        on_refused=note,
        on_page=_show_progress,
        source_name=source_name,
    )
    if as_json:
        show_json(_document(report, refusals, dry_run))
    else:
        _show(report, refusals, dry_run)
    if report.refused:
        sys.exit(REFUSED)


def _show_progress(report: Report) -> None:
    """One line on a terminal, over the one before."""
    if sys.stderr.isatty():
        click.echo(f"\r{report.read:,} read, {report.refused:,} refused", err=True, nl=False)


def _document(report: Report, refusals: Sequence[Mapping[str, str | None]], dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "read": report.read,
        "moved": report.moved,
        "alreadyThere": report.already_there,
        "collapsed": report.collapsed,
        "skipped": dict(report.skipped),
        "refused": refusals,
        "left": dict(report.left),
    }


def _show(report: Report, refusals: Sequence[Mapping[str, str | None]], dry_run: bool) -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
    counts = {
        "read": report.read,
        "can be moved" if dry_run else "moved": report.moved,
        "already there": report.already_there,
        **({"collapsed into one like it": report.collapsed} if report.collapsed else {}),
        **{f"skipped: {reason}": count for reason, count in report.skipped.items()},
        "refused": report.refused,
        **{f"left there: {what}": count for what, count in report.left.items() if count},
    }
    show_rows([{"what": what, "count": count} for what, count in counts.items()], {"WHAT": "what", "COUNT": "count"})
    for each in refusals:
        complain(harmless(_refusal(each)))
    if report.refused > len(refusals):
        complain(f"and {report.refused - len(refusals)} more: --refused FILE, or --json, lists them all")


def _refusal(told: Mapping[str, str | None]) -> str:
    parts = [f"{told['id']}: " + (f"{told['field']}: " if told["field"] else "") + str(told["message"])]
    parts += [f"{word} {told[word]}" for word in ("expected", "got") if told[word] is not None]
    return "; ".join([*parts, *([told["remedy"]] if told["remedy"] else [])])
