"""What the commands share: where the service is, how they end, how JSON is read."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib import settings
from chalicelib.cli.http_client import Refused, Service, Unreachable
from chalicelib.cli.output import complain, present, show_record
from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.lanes import PRIORITY_EXPECTED, PRIORITY_OF, priority_of
from infra.deploy import target
from infra.deploy.localstack import resolved
from infra.deploy.stages import choose_local_stage, choose_stage, is_declared

DEFAULT_URL = "http://127.0.0.1:8000"
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
TABLE_OPERATIONS = frozenset(
    {
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "Scan",
        "BatchGetItem",
        "BatchWriteItem",
        "TransactWriteItems",
    }
)
"""The calls that DynamoDB answers with ``ResourceNotFoundException`` where there is no such table."""

Command = Callable[..., None]


def priority(value: str) -> int:
    """A priority that is given as a number or by its name. Raises click's ``BadParameter``."""
    try:
        return priority_of(value if value in PRIORITY_OF else int(value))
    except (ValueError, InvalidInput):
        raise click.BadParameter(f"expected {PRIORITY_EXPECTED}, got {value}") from None


url_option = click.option(
    "--url", envvar="TASKYARD_URL", default=DEFAULT_URL, show_default=True, help="Of the API. Or TASKYARD_URL."
)
stage_option = click.option("--stage", required=True, help="A stage of .chalice/config.json.")
endpoint_option = click.option(
    "--endpoint-url",
    envvar="AWS_ENDPOINT_URL",
    help="An emulator instead of AWS: its URL, or the word localstack. Or AWS_ENDPOINT_URL.",
)
any_endpoint_option = click.option(
    "--endpoint-url",
    envvar="AWS_ENDPOINT_URL",
    help="Of AWS, or AWS_ENDPOINT_URL; by default AWS itself with --stage, else what --url tells.",
)
priority_option = click.option(
    "--priority", type=priority, help="Larger is sooner: -1000 to 1000, low, normal, medium, high or critical."
)
idempotency_key_option = click.option(
    "--idempotency-key",
    "idempotencyKey",
    metavar="KEY",
    help="Requests with one key are one, for 24 h; line N of a file: KEY#N.",
)
tenant_option = click.option("--tenant", metavar="KEY", help="On whose behalf: tenants share a lane.")
flow_key_option = click.option("--flow-key", "flowKey", metavar="KEY", help="What it has in common with others.")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer with JSON, for programs.")


def calls_service(command: Command) -> Command:
    """Give a command ``--url`` and ``--json``, and call it with the ``service`` and ``as_json`` that they mean.

    The access key comes from ``TASKYARD_KEY``: a key on the command line would be seen by everybody on the machine.
    """

    @url_option
    @json_option
    @functools.wraps(command)
    def run(url: str, **given: Any) -> None:
        with explained():
            command(service=Service(url, os.environ.get("TASKYARD_KEY")), **given)

    return run


Ask = Callable[[Service, str, str], Any]
"""Asks the service for an act, by its name, of what is named, and returns the record that it answers."""


def add_acts(group: click.Group, argument: str, ask: Ask, acts: Mapping[str, str]) -> None:
    """Give a group a command for each of ``acts``, by their names: what each means. It shows the record."""
    for name, meaning in acts.items():
        group.add_command(click.command(name, help=meaning)(_asking(argument, ask, name)))


def _asking(argument: str, ask: Ask, act: str) -> Command:
    @click.argument("which", metavar=argument)
    @calls_service
    def command(service: Service, as_json: bool, which: str) -> None:
        present(ask(service, act, which), as_json, show_record)

    return command


@contextmanager
def explained() -> Iterator[None]:
    """End with the exit code for what went wrong: 1 refused, 2 a wrong command line, 3 nobody answers."""
    try:
        yield
    except Refused as refused:
        complain(str(refused))
        for detail in refused.details:
            complain("  {field}: expected {expected}, got {got}".format_map(detail))
        if refused.remedy:
            complain(f"  {refused.remedy}")
        sys.exit(REFUSED)
    except Unreachable as error:
        complain(str(error))
        sys.exit(UNREACHABLE)
    except InvalidInput as error:
        complain(str(error))
        sys.exit(USAGE)
    except (TaskyardError, BotoCoreError, ClientError, ResponseParserError) as error:
        complain(target.unreachable(error) or str(error))
        if _lacks_table(error):
            complain(f"  {_how_to_deploy()}")
        sys.exit(REFUSED if target.unreachable(error) is None else UNREACHABLE)


def choose_installation(stage: str | None, endpoint_url: str | None, url: str) -> None:
    """Settle which installation's AWS resources this process works on.

    Where neither a stage nor an endpoint is named, it is the local one whose API is at ``url``, whatever the current
    folder says. Raises ``Unreachable`` when nothing answers there, ``InvalidInput`` when what answers is not on this
    machine.
    """
    endpoint_url = resolved(endpoint_url)
    if stage is None or stage == target.LOCAL_STAGE:
        choose_local_stage()
    elif is_declared(stage):
        choose_stage(stage)
    else:
        os.environ["TASKYARD_STAGE"] = stage
    if endpoint_url is not None:
        target.choose_endpoint(endpoint_url)
    elif stage is None or stage == target.LOCAL_STAGE:
        health = _local_health(url)
        target.choose_emulator(str(health["endpoint"]))
        if health.get("prefix") is not None:
            os.environ["TASKYARD_PREFIX"] = str(health["prefix"])
    target.work_from_here()


def parsed(text: str, what: str) -> Any:
    """The JSON in ``text``; raises click's ``UsageError`` naming what it should have been."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is no JSON: {error}") from error


class _Json(click.ParamType[Any]):
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        what = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name if param else "this"
        return parsed(value, what)


JSON = _Json()
"""The type of an option or argument that is given as JSON; raises click's ``UsageError``."""


def _lacks_table(error: Exception) -> bool:
    return (
        isinstance(error, ClientError)
        and error.response["Error"]["Code"] == "ResourceNotFoundException"
        and error.operation_name in TABLE_OPERATIONS
    )


def _how_to_deploy() -> str:
    stage = settings.current().stage
    if stage == target.LOCAL_STAGE:
        return (
            f"{settings.current().base_name} has no tables there: start it with `taskyard up`, or set TASKYARD_PREFIX"
        )
    return f"the stage {stage} is not deployed in this account and region: `taskyard deploy --stage {stage}`"


def _local_health(url: str) -> Mapping[str, Any]:
    """What the service at ``url`` says of itself; of one on this machine, its ``endpoint`` among it."""
    health = Service(url).get("/health", refusable=False)
    if not isinstance(health, dict) or health.get("endpoint") is None:
        raise InvalidInput(
            f"the service at {url} does not run on this machine",
            expected="one started by `taskyard up`",
            remedy="name its --stage, and have AWS credentials for it",
        )
    return health


def endpoint_now(url: str) -> str | None:
    """Where the emulator is of the service at ``url``; ``None`` where nobody tells."""
    try:
        return str(_local_health(url)["endpoint"])
    except (Refused, Unreachable, TaskyardError):
        return None


def choose_deployed(stage: str, endpoint_url: str | None) -> None:
    """Let this process work on a deployed stage, with the settings that its code has, on AWS or on an emulator.

    Raises ``InvalidInput`` when the stage is not declared or is ``local``.
    """
    choose_stage(stage)
    endpoint_url = resolved(endpoint_url)
    if endpoint_url is not None:
        target.choose_endpoint(endpoint_url)
    target.work_from_here()
    settings.current.cache_clear()
    settings.current()
