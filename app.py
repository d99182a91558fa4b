"""The Chalice application: routes and Lambda functions, each wired to the one call that does its work.

Every function is a process of its own, which imports what that function needs and nothing of the others.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chalice.app import Chalice

from chalicelib import settings
from chalicelib.http.late import LateChalice
from chalicelib.http.loading import load_ahead

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard


@lru_cache(maxsize=1)
def yard() -> Yard:
    """This process's yard, made at the first event."""
    from chalicelib.engine.handlers.registry import registry
    from chalicelib.engine.yard import build

    return build(registry())


def declare_routes(api: Chalice) -> None:
    """Serve the dialects."""
    from chalicelib.api.acts import note_use
    from chalicelib.core.dialects import DIALECTS
    from chalicelib.functions.logs import logged_request
    from chalicelib.http.access import KeyUses, RememberedKeys, authenticate
    from chalicelib.http.basic import Users
    from chalicelib.http.mount import mount

    api.register_middleware(logged_request, "http")
    chosen = settings.current()
    keys = RememberedKeys(lambda digest: yard().directory.access_key(digest))
    users = Users(lambda: yard().directory.has_users(), keys)
    uses = KeyUses(lambda digest: note_use(yard(), digest))
    mount(
        api,
        [
            router.moved(dialect.prefix, getattr(chosen, dialect.setting) if dialect.setting else dialect.prefix)
            for dialect in DIALECTS
            for router in import_module(f"chalicelib.api.{dialect.module}").ROUTERS
        ],
        provider=yard,
        settings=chosen,
        authenticate=lambda headers, scope: authenticate(headers, scope, keys, users, chosen, uses),
    )


app = LateChalice(settings.current().base_name, declare_routes)


@app.lambda_function(name="worker")
def worker(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run the jobs of an SQS batch."""
    from chalicelib.functions.worker import handle
    from chalicelib.services.current import at_work

    with at_work(yard()):
        return handle(yard(), event, context)


@app.lambda_function(name="dead_letters")
def dead_letters(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Send back or dead-letter what SQS moved to the dead-letter queue."""
    from chalicelib.functions.dead_letters import handle

    return handle(yard(), event, context)


@app.lambda_function(name="clock")
def clock(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Send what is due and recover what was abandoned."""
    from chalicelib.functions.clock import handle

    return handle(yard(), event, context)


@app.lambda_function(name="projector")
def projector(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Count a batch of the ledger's changes."""
    from chalicelib.functions.projector import handle

    return handle(yard(), event, context)


@app.lambda_function(name="hooks")
def hooks(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell hooks and webhooks what has happened to jobs."""
    from chalicelib.functions.hooks import handle
    from chalicelib.services.current import at_work

    with at_work(yard()):
        return handle(yard(), event, context)


def kafka(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Make messages of records of Kafka; there only where a topic comes from it."""
    from chalicelib.functions.kafka import handle

    return handle(yard(), event, context)


if settings.current().kafka_topics:
    from chalicelib.engine.handlers.bridged import bridged

    if bridged(settings.current()).inward:
        app.lambda_function(name="kafka")(kafka)

load_ahead(app, os.environ.get("_HANDLER", ""))
if os.environ.get("_HANDLER") == "app.worker":
    from chalicelib.engine.worker.watchdog import watch_this_process

    watch_this_process()
