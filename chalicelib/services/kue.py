"""kue's way of writing: jobs that say what they want, one call after the other; functions that process them.

    from chalicelib.services import kue

    job = kue.create("email", {"to": "tj@learnboost.com"}).priority("high").attempts(5).backoff(True).save()

    @kue.process("email")
    def email(job):
        job.log("sent to %s", job.data["to"])
        job.progress(1, 1)

    @kue.on("job complete")
    def completed(job_id, result): ...

What is created is a task, what processes it a handler (``@task``), what is told a hook (``@on``): all three can be
mixed with the others. Priorities are kue's: smaller is sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.states import State
from chalicelib.engine.handlers.declare import on as declare_hook
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.signatures import SOURCE
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.services import installation, tasks
from chalicelib.services.kue_orders import new_job
from chalicelib.services.kue_words import error_of
from chalicelib.services.records import Task

WATCH_INTERVAL_S = 1.0
WATCHED = ("progress", "complete", "failed", "canceled")

Listener = Callable[..., Any]


def create(type: str, data: Any = None) -> Job:  # noqa: A002  # kue's word for it
    """A job that is not accepted yet: ``save`` does that."""
    return Job(type, data)


class Job:
    """A job: what it shall be until ``save``, and how it goes from then on."""

    def __init__(self, type: str, data: Any = None) -> None:  # noqa: A002  # kue's word for it
        self.type = type
        self.data = data
        self.id: int | None = None  # once it is saved
        self._options: dict[str, Any] = {}
        self._listeners: dict[str, list[Listener]] = {}

    def priority(self, level: int | str) -> Job:
        """How soon: ``low`` (10), ``normal``, ``medium``, ``high`` (-10), ``critical`` (-15), or -1000 to 1000."""
        return self._with("priority", level)

    def attempts(self, most: int) -> Job:
        """How many attempts it has, the first one included (1 to 100; default 1)."""
        return self._with("attempts", most)

    def backoff(self, how: bool | str | Mapping[str, Any]) -> Job:
        """The wait before another attempt: ``True`` (its delay), ``{"delay": ms, "type": "exponential"}``, a name."""
        return self._with("backoff", how)

    def delay(self, ms: int) -> Job:
        """Not before so many milliseconds from now."""
        return self._with("delay", ms)

    def ttl(self, ms: int) -> Job:
        """How many milliseconds an attempt may take."""
        return self._with("ttl", ms)

    def remove_on_complete(self, remove: bool = True) -> Job:
        """Delete it once it has succeeded."""
        return self._with("removeOnComplete", remove)

    def search_keys(self, keys: str | Sequence[str]) -> Job:
        """By which parts of its data it is found; else by all of it."""
        return self._with("searchKeys", keys if isinstance(keys, str) else [*keys])

    def tenant(self, key: str) -> Job:
        """On whose behalf it is done: tenants share a lane (docs/fairness.md)."""
        return self._with("tenant", key)

    def flow_key(self, key: str) -> Job:
        """What it has in common with others (docs/flow-control.md); default: what its handler finds."""
        return self._with("flowKey", key)

    def save(self, idempotency_key: str | None = None) -> Job:
        """Accept it. Raises ``InvalidInput``, ``TooLarge``, ``Conflict`` and ``Unavailable``, as ``tasks.create`` does.

        A type without a handler is accepted, too: the job waits for one. It is accepted once: a second call raises
        ``InvalidInput``, too.
        """
        if self.id is not None:
            raise InvalidInput("this job is saved already", field="id", expected="a new job", got=self.id)
        yard = installation.yard()
        order = {"type": self.type, "data": self.data, "options": self._options}
        self.id = publish(yard, new_job(yard, order, idempotency_key)).id
        return self

    def on(self, event: str, listener: Listener) -> Job:
        """Tell ``listener`` of an event while ``watch`` runs, as kue does.

        ``progress`` (whole per cent), ``complete`` (result), ``failed`` (error text) or ``canceled``.
        """
        if event not in WATCHED:
            raise InvalidInput("a job has no such event", field="event", expected=" or ".join(WATCHED), got=event)
        self._listeners.setdefault(event, []).append(listener)
        return self

    def watch(
        self,
        within_s: float = 60.0,
        *,
        interval_s: float = WATCH_INTERVAL_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Task:
        """Look after the saved job until it is done or ``within_s`` is over, and tell its listeners; returns its task.

        For a whole program's jobs use ``on`` of this module, which needs nobody to wait. Raises ``NotFound`` for one
        that was removed meanwhile, as one with ``remove_on_complete`` is within moments of its success: no listener
        is told of that.
        """
        if self.id is None:
            raise InvalidInput("only a saved job can be watched", field="id", expected="save() before", got="none")
        told = 0.0
        for look in range(max(1, round(within_s / interval_s))):
            if look:
                sleep(interval_s)
            seen = tasks.detail(self.id)
            if seen.progress > told:
                told = seen.progress
                self._report("progress", int(told))
            if State(seen.status).terminal:
                break
        match seen.status:
            case State.SUCCESS:
                self._report("complete", seen.output)
            case State.FAILED:
                self._report("failed", error_of(seen) or "")
            case State.CANCELED:
                self._report("canceled")
        return seen

    def _with(self, option: str, value: Any) -> Job:
        self._options[option] = value
        return self

    def _report(self, event: str, *arguments: Any) -> None:
        for listener in self._listeners.get(event, ()):
            listener(*arguments)


class Running:
    """A job as the function that processes it sees it."""

    def __init__(self, context: Context) -> None:
        self.context = context  # what ``@task`` gives its handlers
        self.id = context.job.id
        self.type = context.job.type
        self.data = context.input

    def log(self, line: str, *values: Any) -> None:
        """Add a line to its log; ``%s`` and ``%d`` stand for ``values``."""
        self.context.write_log(line % values if values else line)

    def progress(self, completed: float, total: float = 100, data: Any = None) -> None:
        """Say how far it is."""
        self.context.progress(completed, total, data=data)


Process = Callable[[Running], Any]
"""A function that processes a job."""


def process(type: str, concurrency: int | None = None) -> Callable[[Process], Callable[..., Any]]:  # noqa: A002
    """Declare the function that processes the jobs of a type; what it returns is the result.

    ``concurrency`` (1 to 1,000) is how many run at the same time in the whole deployment; default no limit.
    """

    def declare(function: Process) -> Callable[..., Any]:
        @wraps(function)
        def handler(_data: Any, context: Context) -> Any:
            return function(Running(context))

        del handler.__wrapped__  # its own parameters are those of a handler
        setattr(handler, SOURCE, function)
        return task(type, concurrency=concurrency)(handler)

    return declare


def on(event: str, type: str | None = None) -> Callable[[Listener], Callable[..., Any]]:  # noqa: A002
    """Declare a function that is told of an event of all jobs, or of those of a type: ``job complete`` and the others.

    It is called with the job's id and, after it, for ``job enqueue`` the type, for ``job progress`` whole per cent and
    data, for ``job failed attempt`` the error's text and how many attempts were made, for ``job failed`` its text, for
    ``job complete`` the result. It is told at least once, in whichever process delivers hooks.
    """
    what = event.removeprefix("job ") if isinstance(event, str) else event

    def declare(function: Listener) -> Callable[..., Any]:
        @wraps(function)
        def hook(told: JobEvent) -> None:
            function(told.job_id, *_arguments(told))

        del hook.__wrapped__
        setattr(hook, SOURCE, function)
        return declare_hook(what, type)(hook)

    return declare


def _arguments(told: JobEvent) -> tuple[Any, ...]:
    match told.what:
        case EventType.ENQUEUE:
            return (told.type,)
        case EventType.PROGRESS:
            return (int(told.detail["percent"]), told.detail["data"])
        case EventType.FAILED_ATTEMPT:
            return (error_of(told.job) or "", told.detail["attemptsMade"])
        case EventType.FAILED:
            return (error_of(told.job) or "",)
        case EventType.COMPLETE:
            return (told.output(),)
    return ()
