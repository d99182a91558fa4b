"""Mutated requests to the whole application in this process, behind the gateway of ``taskyard up``, on moto.

The valid ones are the examples of the API's own document, as it has them and with every field; ids and names in them
are of what there is. What is answered must be documented, and no 5xx; how much CPU it took is noted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote

from jsonschema import Draft202012Validator

from chalicelib.core.access import AccessKey, new_key
from chalicelib.core.access import digest_of as digest_of_key
from chalicelib.core.applications import digest_of, sign
from chalicelib.engine import health
from chalicelib.http import mount
from chalicelib.http.samples import sample
from chalicelib.local.gateway import Gateway, Resources
from chalicelib.local.lambda_context import LambdaContext
from tests.fuzz.mutations import Mutator, Request
from tests.support import remembered
from tests.support.serendipity import NAMES, Application, application
from tests.support.service import HOST, Service, service

SCHEMAS = "#/components/schemas/"
STAGES = ("local", "prod")  # without keys, and with them
Headers = tuple[tuple[str, str], ...]
A_LIFE = 1_000  # requests, after which there is a new installation: moto gets slower with what it holds
SIGNED_AFTERWARDS = 0.7  # of the signed requests, how many are signed once they are mutated
PATIENCE_S = 900.0  # instead of all limits of an answer: how long this process waits for a core is not asked here
STANDING_STILL = ("wait",)  # parameters that wait for a clock that nobody moves
UNROUTED = {200, 204, 400, 404, 405, 413, 414}  # a path that leads elsewhere, or a method that it has not


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that is not as documented."""

    why: str
    request: Request
    status: int
    answer: str

    def __str__(self) -> str:
        asked, at = self.request, f"?{'&'.join('='.join(pair) for pair in self.request.query)}"[:300]
        return (
            f"{self.why}: {self.status} {asked.label}: {asked.method} {asked.path[:200]}{at} {asked.headers!r:.300} "
            f"{asked.content[:500]!r} -> {self.answer[:300]}"
        )


@dataclass(slots=True)
class Findings:
    """What was answered: how often which status, which faults, and the CPU of each request by whether it was good."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    good_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bad_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


@dataclass(slots=True)
class Target:
    """An installation, asked as a client of ``taskyard up`` asks it."""

    api: Service
    signer: Application
    document: Mapping[str, Any]
    requests: list[Request]
    _gateway: Gateway
    _resources: Resources
    _loop: asyncio.AbstractEventLoop
    _validators: dict[str, Draft202012Validator] = field(default_factory=dict)

    def ask(self, request: Request) -> tuple[int, bytes]:
        """The status and the body that come back."""
        return self._loop.run_until_complete(_asked(self._gateway, request))

    def signed(self, request: Request) -> Request:
        """With headers by which the application shows that it is it."""
        made = sign(
            self.signer.key, self.signer.secret, digest_of(request.content), self.api.clock.ms, random.randbytes
        )
        others = tuple(pair for pair in request.headers if pair[0] not in NAMES)
        return replace(request, headers=(*others, *((name, made.to_send()[name]) for name in NAMES)))

    def fault(self, request: Request, status: int, answer: bytes) -> str | None:
        """What is wrong with an answer, if it is not as documented."""
        if status >= 500:
            return "the server failed"
        found = self._resources.find(request.path)
        operation = self.document["paths"].get(found[0], {}).get(request.method.lower()) if found else None
        if operation is None or not _is_utf8(request.query):  # the gateway's own words, or Chalice's
            return None if status in UNROUTED else "no status of what leads nowhere"
        if str(status) not in operation["responses"]:
            return "this status is not documented"
        return self._misfit(operation, status, answer) if status >= 400 else None

    def _misfit(self, operation: Mapping[str, Any], status: int, answer: bytes) -> str | None:
        """What a refusal has that its schema has not."""
        name = f"{operation['operationId']} {status}"
        if name not in self._validators:
            schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
            self._validators[name] = Draft202012Validator({**schema, "components": self.document["components"]})
        error = next(self._validators[name].iter_errors(json.loads(answer)), None)
        return None if error is None else f"not as the schema has it: {error.message:.200}"


def fuzz(count: int, seed: int) -> Findings:
    """So many mutated requests, the same for the same seed; of each operation equally many."""
    remembered.install()
    findings, dice = Findings(), random.Random(seed)  # noqa: S311
    for begun in range(0, count, A_LIFE):
        with target(STAGES[begun // A_LIFE % len(STAGES)]) as asked:
            mutator = Mutator(dice, _field_names(asked.document))
            gc.collect()
            gc.freeze()
            for request in asked.requests:
                _note(findings, asked, request, mutator)
            for number in range(begun, min(begun + A_LIFE, count)):
                request = mutator.mutated(asked.requests[number % len(asked.requests)])
                if _is_signed(request) and dice.random() < SIGNED_AFTERWARDS:
                    request = asked.signed(request)
                _note(findings, asked, request, mutator)
            gc.unfreeze()
    return findings


def _note(findings: Findings, asked: Target, request: Request, mutator: Mutator) -> None:
    began_s = time.process_time()
    status, answer = asked.ask(request)
    took_s = time.process_time() - began_s
    findings.statuses[status] += 1
    (findings.good_s if status < 400 else findings.bad_s)[request.label].append(took_s)
    if (why := asked.fault(request, status, answer)) is not None:
        findings.faults.append(Fault(why, request, status, answer.decode("utf-8", "replace")))
    if status < 300 and b'"nextCursor": "' in answer:
        mutator.seen[:] = [*mutator.seen[-20:], str(json.loads(answer)["nextCursor"])]


@contextmanager
def target(stage: str) -> Iterator[Target]:
    """A fresh installation with something of every kind in it; in each stage, a key that opens everything."""
    with (
        patch.object(health, "ANSWER_MAX_S", PATIENCE_S),
        patch.object(mount, "BUDGET_S", PATIENCE_S),
        service(stage=stage) as api,
    ):
        key = new_key(os.urandom)
        api.yard.directory.put_access_key(
            AccessKey(name="fuzz", scopes=frozenset("*"), digest=digest_of_key(key), created_at_ms=api.clock.ms)
        )
        api.default_headers["Authorization"] = f"Bearer {key}"
        names = _something(api)
        signer = application(api, "https://example.com/hook")
        document = api.get("/openapi.json").json
        loop = asyncio.new_event_loop()
        try:
            gateway, resources = Gateway(api.module.app, "api", PATIENCE_S, _context), Resources(api.module.app.routes)
            found = Target(api, signer, document, [], gateway, resources, loop)
            for request in _valid(document, names, (("authorization", f"Bearer {key}"),) if stage == "prod" else ()):
                found.requests.append(found.signed(request) if _is_signed(request) else request)
            yield found
        finally:
            loop.close()


def _something(api: Service) -> dict[str, Any]:
    """Jobs, a schedule and so on; the values that fields about them have, by their names."""
    body = {"type": "scripted", "targetId": "t", "targetType": "fuzz", "runnerType": "system", "input": {"n": 1}}
    ids = [str(api.post("/api/task/create", body).json["id"]) for _ in range(3)]
    messages = [api.post("/mq/message/publish", {"topic": "fuzzed", "payload": {"n": 1}}).json for _ in range(3)]
    api.get("/mq/message/poll", {"topic": "fuzzed"})
    api.post("/api/schedule/save", {"name": "fuzzed", "cron": "* * * * *", "task": {"type": "scripted"}})
    api.work("default")
    return {
        "id": ids[0],
        "taskId": ids[1],
        "ids": [messages[0]["id"]],
        "taskIds": ids,
        "traceId": messages[0]["traceId"],
        "messageId": messages[1]["id"],
        "topic": "fuzzed",
        "type": "scripted",
        "name": "fuzzed",
    }


def _valid(document: Mapping[str, Any], names: Mapping[str, Any], headers: Headers) -> Iterator[Request]:
    """The requests of the document: each as its example is, with every field, and about what there is."""
    definitions = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = [each for each in operation.get("parameters", []) if each["name"] not in STANDING_STILL]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            bodies = [content.get("example"), _full(content.get("schema", {}), definitions)] if content else [None]
            for body in bodies:
                for known in ({}, names):
                    values = {each["name"]: _value(each, definitions, known) for each in parameters}
                    yield Request(
                        label=f"{method.upper()} {path}",
                        method=method.upper(),
                        path=_filled(path, values, known),
                        query=tuple(
                            (each["name"], values[each["name"]]) for each in parameters if each["in"] == "query"
                        ),
                        headers=(*headers, ("content-type", "application/json")) if content else headers,
                        body=_about(body, known),
                    )


def _filled(path: str, values: Mapping[str, str], known: Mapping[str, Any]) -> str:
    for name, value in {**values, **({"id": known["id"]} if known else {})}.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _value(parameter: Mapping[str, Any], definitions: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    found = known.get(parameter["name"], sample(parameter["schema"], definitions, SCHEMAS))
    return quote(found if isinstance(found, str) else json.dumps(found), safe="")


def _full(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """An example with every field that an object may have."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix(SCHEMAS)]
    if "properties" not in schema:
        return sample(schema, definitions, SCHEMAS)
    return {name: sample(member, definitions, SCHEMAS) for name, member in schema["properties"].items()}


def _about(body: Any, known: Mapping[str, Any]) -> Any:
    """``body`` with the values that are ``known``, wherever their names stand."""
    if isinstance(body, dict):
        return {name: known[name] if name in known else _about(member, known) for name, member in body.items()}
    return [_about(member, known) for member in body] if isinstance(body, list) else body


def _field_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    schemas = document["components"]["schemas"].values()
    return tuple(sorted({name for schema in schemas for name in schema.get("properties", {})}))


def _is_utf8(query: tuple[tuple[str, str], ...]) -> bool:
    try:
        return all(unquote(part, errors="strict") is not None for pair in query for part in pair)
    except UnicodeDecodeError:
        return False


def _is_signed(request: Request) -> bool:
    return request.label.split()[1].startswith(("/task/", "/nsq/"))


async def _asked(gateway: Gateway, request: Request) -> tuple[int, bytes]:
    came: list[dict[str, Any]] = []
    never = asyncio.Event()
    left = [{"type": "http.request", "body": request.content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not left:
            await never.wait()
        return left.pop()

    async def send(message: dict[str, Any]) -> None:
        came.append(message)

    headers = [("host", HOST), *request.headers]
    scope = {
        "type": "http",
        "method": request.method,
        "raw_path": request.path.encode("latin-1"),
        "query_string": "&".join("=".join(pair) for pair in request.query).encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
    }
    await gateway(scope, receive, send)
    return came[0]["status"], b"".join(message.get("body", b"") for message in came)


def _context(request_id: str) -> LambdaContext:
    return LambdaContext(
        function_name="api",
        aws_request_id=request_id,
        invoked_function_arn="arn",
        memory_limit_in_mb=128,
        deadline_s=time.time() + PATIENCE_S,
    )
