"""The Lambda functions of the app, as the local runtime calls them."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from chalicelib import settings
from chalicelib.core.errors import InvalidInput
from chalicelib.local.lambda_context import LambdaContext
from chalicelib.local.lambda_events import ACCOUNT, Event
from chalicelib.settings import Settings

API = "api"
WORKER = "worker"
DEAD_LETTERS = "dead_letters"
CLOCK = "clock"
PROJECTOR = "projector"
HOOKS = "hooks"
KAFKA = "kafka"

Function = Callable[[Event, LambdaContext], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an invocation may take before it is killed, in seconds, and the memory it is told to have, in MB."""

    timeout_s: int
    memory_mb: int


def limits(chosen: Settings) -> Mapping[str, Limits]:
    """The limits of every function: those of ``.chalice/config.json``, which only deploying reads."""
    return {
        API: Limits(29, 512),
        WORKER: Limits(chosen.function_timeout_s, 512),
        DEAD_LETTERS: Limits(60, 256),
        CLOCK: Limits(60, 256),
        PROJECTOR: Limits(60, 512),
        HOOKS: Limits(60, 512),
        **({KAFKA: Limits(29, 512)} if chosen.kafka_topics else {}),
    }


def load(name: str) -> Function:
    """A function of the app by its name; raises ``InvalidInput`` when there is none.

    Chalice's objects are called with event and context, exactly as Lambda calls them.
    """
    import app

    handlers: dict[str, Function] = {API: app.app}
    for function in app.app.pure_lambda_functions:
        handlers[function.name] = getattr(app, function.handler_string.rpartition(".")[2])
    if name not in handlers:
        raise InvalidInput("there is no such function", expected=" or ".join(sorted(handlers)), got=name)
    return handlers[name]


def routes() -> Any:
    """The API's routes, made now if they are not yet."""
    import app

    return app.app.routes


def called(name: str, event: Event) -> Any:
    """What a function returns for ``event``, called in this process; whatever it raises is raised.

    What it prints and logs goes to standard error, so that a command may write the answer to standard output.
    """
    with redirect_stdout(sys.stderr):
        function = load(name)
        chosen = settings.current()
        deadline_s = time.time() + limits(chosen)[name].timeout_s
        return function(event, context_of(name, chosen, str(uuid.uuid4()), deadline_s))


def context_of(
    name: str, chosen: Settings, request_id: str, deadline_s: float, hidden_until_ms: int | None = None
) -> LambdaContext:
    """The context of an invocation that must end by ``deadline_s`` (seconds since 1970).

    ``hidden_until_ms``: its messages are hidden for a lease, until then.
    """
    full_name = f"{chosen.base_name}-{name}"
    return LambdaContext(
        function_name=full_name,
        aws_request_id=request_id,
        invoked_function_arn=f"arn:aws:lambda:{chosen.region}:{ACCOUNT}:function:{full_name}",
        memory_limit_in_mb=limits(chosen)[name].memory_mb,
        deadline_s=deadline_s,
        messages_hidden_until_ms=hidden_until_ms,
    )
