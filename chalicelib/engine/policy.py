"""How often a job is tried, how long it waits in between, how long an attempt may take: one precedence for all three.

    what the job itself says  >  what its handlers declare  >  the setting, or the default of its kind

A message may have several subscribers. Each gets what it needs: the largest number of attempts and the longest time-out
that any of them declares, and the backoff of the first that declares one (backoffs have no order).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chalicelib.core.batch import Batch
from chalicelib.core.decisions import wait_before
from chalicelib.core.flow import NO_FLOW, Flow, Rate
from chalicelib.core.job import Job
from chalicelib.core.limits import ONE_AT_A_TIME, Limit, count_of_type, counted_application, counted_key, counted_topic
from chalicelib.core.retry import MESSAGE_BACKOFF, TASK_BACKOFF, Backoff, Exponential
from chalicelib.core.states import Kind
from chalicelib.engine.failures import log_failure
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.yard import Yard
from chalicelib.store.flow_settings import UNCHANGED, FlowSetting

DEFAULT_TASK_ATTEMPTS = 3
FRESH_MS = 5_000  # how long a process may miss that somebody has changed a limit


def limit_of(yard: Yard, job: Job, changed: FlowSetting | None = None) -> Limit | None:
    """The limit in whose concurrency count a job has its share, if it still has one; ``changed`` as below."""
    return ONE_AT_A_TIME if job.overlap is not None else limit_of_count(yard, job.counted_as, changed)


def limit_of_count(yard: Yard, name: str, changed: FlowSetting | None = None) -> Limit | None:
    """The limit of a concurrency count, a task type's, a topic's, a key's or an application's, by its name.

    ``changed``: what was changed of it, where the caller has read that; otherwise as this process knows it.
    """
    app_key = counted_application(name)
    if app_key is not None:
        application = yard.known_applications.get(app_key, lambda: yard.applications.find(app_key), yard.now_ms)
        return None if application is None else Limit(concurrency=application.concurrency)
    key = counted_key(name)
    if key is not None:
        concurrency = _flow_of_count(yard, key[0]).per_key.concurrency
    else:
        limit = yard.handlers.limit_of(name)
        if limit is not None and limit.size is not None:
            return Limit((changed or _changed(yard, name)).controls.concurrency or limit.concurrency, limit.size)
        concurrency = None if limit is None else limit.concurrency
    chosen = (changed or _changed(yard, name)).controls.concurrency or concurrency
    return None if chosen is None else Limit(concurrency=chosen)


def is_unbounded(yard: Yard, job: Job) -> bool:
    """Whether nothing bounds the runs of a job: nothing that it carries, its handlers declare or was set since."""
    carries = job.limited or job.flow_key is not None or job.overlap is not None or job.application is not None
    if carries or _flow_settings(yard):
        return False
    return not any(each.limit is not None or each.flow for each in handlers_of(yard, job))


def flow_of(yard: Yard, job: Job | NewJob) -> Flow:
    """The flow that holds for a job which is asked for now: what its handlers declare, or was set in its place.

    Of several subscribers the first that declares any. Where none does, nobody looks what was set: it would cost every
    publish a read.
    """
    declared = declared_flow(handlers_of(yard, job))
    return _changed(yard, count_of_type(job.kind, job.type)).controls.over(declared) if declared else declared


def declared_flow(handlers: Sequence[Handler]) -> Flow:
    """The flow that handlers declare for the jobs which they share."""
    return next((each.flow for each in handlers if each.flow), NO_FLOW)


def rate_of_bucket(yard: Yard, bucket: str, changed: FlowSetting | None = None) -> Rate | None:
    """The rate at which the runs of a type, a topic or a key may begin, by the name of their concurrency count.

    ``changed`` as of ``limit_of_count``.
    """
    key = counted_key(bucket)
    flow = _flow_of_count(yard, bucket if key is None else key[0])
    return (changed or _changed(yard, bucket)).controls.rate or (flow.rate if key is None else flow.per_key.rate)


def handlers_of_count(yard: Yard, count: str) -> Sequence[Handler]:
    """The handlers that speak for a task type or topic, by the name of its concurrency count."""
    topic = counted_topic(count)
    if topic is not None:
        return yard.handlers.subscribers.get(topic, ())
    handler = yard.handlers.tasks.get(count)
    return () if handler is None else (handler,)


def _flow_of_count(yard: Yard, count: str) -> Flow:
    """The flow that is declared for a task type or topic, by the name of its concurrency count."""
    return declared_flow(handlers_of_count(yard, count))


def _changed(yard: Yard, count: str) -> FlowSetting:
    """What was changed, while it runs, of what bounds a concurrency count."""
    return _flow_settings(yard).get(count, UNCHANGED)


def _flow_settings(yard: Yard) -> Mapping[str, FlowSetting]:
    """Every change, by the name of its count, as this process knows them: at most five seconds old."""
    read = yard.flow_settings.all
    return yard.known_flow.get(yard.now_ms(), FRESH_MS, lambda: {each.target.count: each for each in read()})


def handlers_of(yard: Yard, job: Job | NewJob) -> tuple[Handler, ...]:
    """What runs a job: its type's handler, or all subscribers of its topic; empty if there is none (any more)."""
    if job.kind is Kind.MESSAGE:
        return yard.handlers.subscribers.get(job.type, ())
    handler = yard.handlers.handler(job.type, job.script)
    return () if handler is None else (handler,)


def batch_of(yard: Yard, job: Job) -> Batch | None:
    """The batches that the handlers of a job take, all of its handlers the same; ``None``: each job by itself."""
    return None if job.delivers else next((each.batch for each in handlers_of(yard, job)), None)


def attempts_of(yard: Yard, new_job: NewJob, handlers: Sequence[Handler]) -> int:
    """How many attempts a new job has, the first one included (1 to 100)."""
    if new_job.max_attempts is not None:
        return new_job.max_attempts
    default = yard.settings.mq_max_retries if new_job.kind is Kind.MESSAGE else DEFAULT_TASK_ATTEMPTS
    return max((each.max_attempts for each in handlers if each.max_attempts is not None), default=default)


def stored_backoff_of(yard: Yard, new_job: NewJob, handlers: Sequence[Handler]) -> Backoff | None:
    """The backoff that a new job's record carries: its own, or that of the settings where no handler declares one.

    What handlers declare is looked up when it is needed, so that a deployment changes it for jobs that wait.
    """
    if new_job.backoff is not None:
        return new_job.backoff
    chosen = yard.settings.message_backoff
    by_default = new_job.kind is Kind.TASK or chosen == MESSAGE_BACKOFF
    return None if by_default or _declared_backoff(handlers) is not None else chosen


def backoff_of(yard: Yard, job: Job) -> Backoff:
    """The backoff of a job."""
    return job.backoff or _declared_backoff(handlers_of(yard, job)) or _default_backoff(job)


def retry_wait_of(yard: Yard, job: Job) -> Callable[[int], int]:
    """A function from a retry's number (from 1) to the milliseconds before it.

    A backoff may be the user's function: one that is gone, raises, or returns what is no number, must not cost the
    attempt its end, so the default is used in its place.
    """

    def wait_ms(retry: int) -> int:
        delay_ms = max((job.start_at_ms or 0) - job.created_at_ms, 0)
        try:
            registered = partial(yard.handlers.wait_function, delay_ms=delay_ms)
            return wait_before(backoff_of(yard, job), registered)(retry)
        except BaseException as error:  # user code, or a name that is no longer registered
            log_failure("backoff function failed; the default is used", error)
            return _default_backoff(job).wait_ms(retry)

    return wait_ms


def timeout_of(yard: Yard, job: Job) -> int | None:
    """How long an attempt may take, in milliseconds; ``None``: for ever.

    The worker function's own limit comes on top.
    """
    return _timeout_of(yard, job, yard.settings.default_timeout_ms)


def wait_limit_of(yard: Yard, job: Job) -> int | None:
    """How long a parked task may wait for its callback, in milliseconds; ``None``: for ever.

    The default time-out is of runs alone: a person may take days.
    """
    return _timeout_of(yard, job, 0)


def _timeout_of(yard: Yard, job: Job, default_ms: int) -> int | None:
    if job.timeout_ms is not None:
        return job.timeout_ms or None
    declared = [each.timeout_ms for each in handlers_of(yard, job) if each.timeout_ms is not None]
    return max(declared, default=default_ms) or None


def _declared_backoff(handlers: Sequence[Handler]) -> Backoff | None:
    return next((each.backoff for each in handlers if each.backoff is not None), None)


def _default_backoff(job: Job) -> Exponential:
    return MESSAGE_BACKOFF if job.kind is Kind.MESSAGE else TASK_BACKOFF
