"""The Chalice application: routes and Lambda functions, each wired to the one call that does its work."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from chalice.app import Chalice

from chalicelib import settings
from chalicelib.api.late import LateChalice
from chalicelib.engine.yard import Yard, build
from chalicelib.functions import clock as clock_function
from chalicelib.functions import dead_letters as dead_letters_function
from chalicelib.functions import hooks as hooks_function
from chalicelib.functions import logs
from chalicelib.functions import projector as projector_function
from chalicelib.functions import worker as worker_function
from chalicelib.services.current import at_work


@lru_cache(maxsize=1)
def yard() -> Yard:
    """This process's yard, made at the first event."""
    from chalicelib.engine.registry import registry

    return build(registry())


def declare_routes(api: Chalice) -> None:
    """Serve the dialects; imported here because the functions below do without them."""
    from chalicelib.api import mq, pools, service, tasks
    from chalicelib.api.access import RememberedKeys, authenticate
    from chalicelib.api.mount import mount

    api.register_middleware(logs.logged_request, "http")
    chosen = settings.current()
    keys = RememberedKeys(lambda digest: yard().directory.access_key(digest))
    mount(
        api,
        [
            *(router.moved("/mq", chosen.mq_prefix) for router in mq.ROUTERS),
            *(router.moved("/api/task", chosen.task_prefix) for router in tasks.ROUTERS),
            pools.router,
            service.router,
        ],
        provider=yard,
        settings=chosen,
        authenticate=lambda headers, scope: authenticate(headers, scope, keys, chosen),
    )


app = LateChalice(settings.current().base_name, declare_routes)


@app.lambda_function(name="worker")
def worker(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run the jobs of an SQS batch."""
    with at_work(yard()):
        return worker_function.handle(yard(), event, context)


@app.lambda_function(name="dead_letters")
def dead_letters(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Send back or bury what SQS moved to the dead-letter queue."""
    return dead_letters_function.handle(yard(), event, context)


@app.lambda_function(name="clock")
def clock(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Send what is due and recover what was abandoned."""
    return clock_function.handle(yard(), event, context)


@app.lambda_function(name="projector")
def projector(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Count a batch of the ledger's changes."""
    return projector_function.handle(yard(), event, context)


@app.lambda_function(name="hooks")
def hooks(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Tell hooks and webhooks what has happened to jobs."""
    with at_work(yard()):
        return hooks_function.handle(yard(), event, context)
