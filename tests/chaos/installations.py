"""What is put to the test: ``taskyard up``, or the deployed form on MiniStack, each with the proxy before its AWS."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chalicelib import aws
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from tests.chaos import handlers
from tests.support.client import Client
from tests.support.deployed import STAGE, Deployed, checkout
from tests.support.processes import is_running
from tests.support.up import START_DEADLINE_S, Service, running
from tests.support.waiting import until
from tests.support.yards import CREDENTIALS, environment, forget_clients

STARTS = 10  # until one meets with no fault
LAMBDA = re.compile(r"/ministack-lambda-taskyard-dev(?:-(clock|dead_letters|hooks|projector|worker))?-[^-/]+/")


@dataclass(frozen=True, slots=True)
class Installation:
    """What clients call, and the killer kills.

    ``roles``: its processes, and what each is: api, worker, clock, projector, hooks or dead_letters.
    ``restart``: kill its supervisor (-9), and all others with it unless ``alone``, and start it again; returns which
    processes that ended, and when (milliseconds since 1970). None where nothing of ours supervises.
    """

    client: Client
    settings: Settings
    roles: Callable[[], dict[int, str]]
    restart: Callable[[bool], dict[int, int]] | None = None


class _Api(Client):
    def __init__(self, url: str, endpoint_url: str, key: str) -> None:
        self.url, self.endpoint_url, self.stage = url, endpoint_url, STAGE
        self.headers = {"Authorization": f"Bearer {key}"}


@contextmanager
def up(folder: Path, proxy_url: str, workers: int, **variables: str) -> Iterator[Installation]:
    """``taskyard up``, until the end of the block."""
    options = ("--endpoint-url", proxy_url, "--workers", str(workers))
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": proxy_url}):
        forget_clients()
        until(_emulator_serves, 10 * START_DEADLINE_S)
    with running(folder, *options, TASKYARD_HANDLERS=handlers.__name__, **variables) as service:
        yield Installation(service, Settings(), partial(_roles, service), partial(_restart, service))


def _emulator_serves() -> bool:
    """Its first answers take long where others have the processors; what starts then would give up."""
    try:
        aws.client("s3").list_buckets()
        aws.client("sqs").list_queues()
        aws.client("dynamodb").list_tables()
    except aws.FAILURES:
        return False
    return True


def _roles(service: Service) -> dict[int, str]:
    return {pid: _role(command) for pid, command in service.children().items()}


def _role(command: str) -> str:
    words = [word for word in command.split() if not word.startswith("-")]
    module = next((word for word in words if word.startswith("chalicelib.local.")), "")
    last = module.rsplit(".", 1)[-1]
    return words[-1] if last == "function_process" else "api" if last == "api_process" else last


def _restart(service: Service, alone: bool) -> dict[int, int]:
    children = [*service.children()]
    if alone:
        service.process.kill()
        service.process.wait()
        until(lambda: not any(is_running(pid) for pid in children))
    else:
        service.kill()
    ended_ms = time.time_ns() // 1_000_000
    for _ in range(STARTS):
        service.process = service.spawn()
        if until(lambda: _started(service), START_DEADLINE_S) == "answers":
            return dict.fromkeys(children, ended_ms)
    raise AssertionError(f"it did not start in {STARTS} tries")


def _started(service: Service) -> str | None:
    if service.process.poll() is not None:
        return "ended"
    try:
        return "answers" if service.call("GET", "/health")[0] == 200 else None
    except OSError:
        return None


@contextmanager
def on_lambda(folder: Path, proxy_url: str, emulator: Emulator, **variables: str) -> Iterator[Installation]:
    """The deployed form on MiniStack. ``proxy_url`` is what its functions take for DynamoDB and SQS.

    What feeds them (mappings, the rule of the clock, API Gateway) is within the emulator, before which nothing stands.
    """
    proxied = {f"AWS_ENDPOINT_URL_{service}": proxy_url for service in ("DYNAMODB", "SQS")}
    told = {"TASKYARD_HANDLERS": "chaos_handlers", **variables, **proxied}
    source = checkout(folder / "project", emulator.endpoint_url, **told)
    package = source.project / "chaos_handlers"
    package.mkdir()
    shutil.copy(handlers.__file__, package / "__init__.py")
    url = source.deploy("--way", "stack").stdout.split()[-1]
    key = source.taskyard("keys", "create", "--stage", STAGE, "--label", "chaos", "--scope", "*").stdout.strip()
    client = Deployed(url, emulator.endpoint_url, emulator, source.project, headers={"Authorization": f"Bearer {key}"})
    yield Installation(client, Settings(stage=STAGE), partial(_functions, client))


def _functions(client: Deployed) -> dict[int, str]:
    found = {pid: LAMBDA.search(command) for pid, command in client.children().items()}
    return {pid: match[1] or "api" for pid, match in found.items() if match}
