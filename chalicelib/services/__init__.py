"""The services for Python: what the API offers over HTTP, for handlers and scripts, by the same rules.

    from chalicelib.services import messages

    messages.publish("order.created", {"orderId": "123"}, priority=10)

``tasks`` create, detail, list, complete, cancel, retry, log, callback, process_next, wait_complete, runner, reset_all ·
``messages`` publish, poll, complete, fail, list · ``queues`` subscribe, start_consumer, stop_consumer, depth, cleanup,
recover_locked · ``dead_letters`` list, replay, batch_replay · ``traces`` get, list · ``schedules`` create, update,
get, list, pause, resume, run_now, delete, preview, history · ``graphs`` Builder, batch, get,
nodes, results, cancel, retry, mermaid · ``flow`` set, unset, list, declared, standing, pause_key, resume_key,
pass_over · ``jobs`` (of either kind) list, detail, act · ``bulk`` preview, start, step, run, get, list, stop, results ·
``failures`` list. ``services.overview()`` says how all is doing,
``services.why(id)`` why a job is not running,
``services.audit()`` whether all jobs are accounted for, ``services.usage(id)`` and ``services.usage_by_day(days)`` what
jobs have used. Which installation they act on: ``installation.py``.
Every function raises a ``TaskyardError`` (``chalicelib.core.errors``) that says what was expected, what came and what
helps; where AWS fails beyond its retries, botocore's own exceptions may come, too.

Importing any of it asks nothing of AWS, and loads neither Chalice nor pydantic. Each is loaded when it is first asked
for, so ``from chalicelib import services`` and ``services.flow.list()`` do as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.core.audit import AuditReport
    from chalicelib.core.usage import Usage
    from chalicelib.engine.projections.overview import Overview
    from chalicelib.services import applications as applications
    from chalicelib.services import bulk as bulk
    from chalicelib.services import dead_letters as dead_letters
    from chalicelib.services import failures as failures
    from chalicelib.services import flow as flow
    from chalicelib.services import graphs as graphs
    from chalicelib.services import jobs as jobs
    from chalicelib.services import kue as kue
    from chalicelib.services import messages as messages
    from chalicelib.services import pauses as pauses
    from chalicelib.services import pools as pools
    from chalicelib.services import queues as queues
    from chalicelib.services import schedules as schedules
    from chalicelib.services import tasks as tasks
    from chalicelib.services import traces as traces
    from chalicelib.services.reasons import Why
    from chalicelib.services.records import Message, Task
    from chalicelib.services.usages import JobsUsage, KeyUsage, TenantUsage

OFFERED = frozenset(
    {
        "applications",
        "bulk",
        "dead_letters",
        "failures",
        "flow",
        "graphs",
        "jobs",
        "kue",
        "messages",
        "pauses",
        "pools",
        "queues",
        "schedules",
        "tasks",
        "traces",
    }
)


def __getattr__(name: str) -> Any:
    """The services, each loaded when it is first asked for."""
    if name not in OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(sorted(OFFERED))}")
    return import_module(f"{__name__}.{name}")


def why(job: Task | Message | int | str) -> Why:
    """Why a job is not running, or what has become of it: a task, a message, or the id of one, in any state.

    At most three reads. Raises ``NotFound`` for what never was, ``InvalidInput`` for what is no id.
    """
    from chalicelib.services.reasons import explain

    return explain(job)


def overview(window: str = "1h") -> Overview:
    """How the installation is doing: numbers now and over 15m, 1h, 6h, 24h, 7d or 30d, and what wants attention.

    Worked out once a second in a process. Raises ``InvalidInput`` for another window.
    """
    from chalicelib.engine.projections.overview import overview_of
    from chalicelib.services import checks, installation

    return overview_of(installation.yard(), checks.text("window", window))


def audit() -> AuditReport | None:
    """What the clock's newest audit found (docs/operations.md, "Jobs do not add up"); ``None`` before the first.

    One read.
    """
    from chalicelib.services import installation

    return installation.yard().insights.accounts.audited()


def usage(job: Task | Message | int | str) -> Usage:
    """What a job has used so far: attempts, sends, run time, bytes. One read. Raises ``NotFound``."""
    from chalicelib.services.usages import of_job

    return of_job(job)


def usage_by_day(days: int = 30) -> list[JobsUsage]:
    """What the jobs have used that were accepted within the newest ``days`` (1 to 400, UTC), by day and type.

    One query. As old as the change stream's lag; what deleted jobs had used is in it.
    """
    from chalicelib.services.usages import by_day

    return by_day(days)


def usage_by_tenant(days: int = 30) -> list[TenantUsage]:
    """The same by day and tenant, of jobs that named one, as far back as ``TASKYARD_TENANT_USAGE`` has been ``on``."""
    from chalicelib.services.usages import by_tenant

    return by_tenant(days)


def usage_by_key(days: int = 30) -> list[KeyUsage]:
    """The same by day and flow key of each type or topic, with what it has cost, estimated.

    As far back as ``TASKYARD_KEY_USAGE`` has been ``on``.
    """
    from chalicelib.services.usages import by_key

    return by_key(days)
