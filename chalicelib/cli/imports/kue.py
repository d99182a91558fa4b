"""kue's jobs in Redis: what is inactive, active and delayed, as its sorted sets have them.

Keys begin with the prefix (``q:``), or with its hash tag (``{q}:``) where kue uses ioredis. A sorted set names a job by
its id, before which from kue 0.9 on stands the length of that: ``02|17``. What is active runs anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Json

from chalicelib.cli.imports.databases import needs_extra
from chalicelib.cli.imports.found import (
    Entry,
    Record,
    Skipped,
    Unfinished,
    attempts_within,
    entry_of,
    failure_of,
    options_of,
    priority_within,
)
from chalicelib.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from chalicelib.services import kue_orders

if TYPE_CHECKING:
    from redis import Redis

    from chalicelib.engine.yard import Yard

NAME = "kue"
TIMEOUT_S = 15
PAGE = 100  # jobs
LEFT = "failed jobs, which --dead-letters moves"
UNFINISHED = ("inactive", "active", "delayed")
ELSEWHERE = "name the --prefix that createQueue was given, and the database's number in the URL"


class KueJob(Record):
    """The hash of a job."""

    type: str
    state: Literal["inactive", "active", "delayed", "failed", "complete"]
    created_at: int
    data: Json[Any] | None = None
    priority: float = 0
    max_attempts: int = 1
    attempts: int = 0
    delay: int | None = None
    promote_at: int | None = None
    ttl: int | None = None
    backoff: str | None = None
    removeOnComplete: str | None = None  # noqa: N815  # as it is stored
    error: str | None = None
    failed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Kue:
    """The jobs below a prefix, all of them or those of a type. ``backoff``: what functions become, by its name."""

    redis: Redis
    prefix: str
    yard: Yard
    type: str | None = None
    dead_letters: bool = False
    backoff: str | None = None

    @property
    def name(self) -> str:
        """Of the system."""
        return NAME

    def pages(self) -> Iterator[Sequence[Entry]]:
        """The jobs by their states, those that failed only if they are asked for."""
        for state in (*UNFINISHED, "failed") if self.dead_letters else UNFINISHED:
            for ids in self._ids(state):
                yield [self._entry(id_, stored) for id_, stored in zip(ids, self._hashes(ids), strict=True)]

    def left(self) -> Mapping[str, int]:
        """The jobs that failed, where they are not asked for."""
        if self.dead_letters:
            return {}
        with answering():
            return {LEFT: int(self.redis.zcard(self._set("failed")))}

    def _ids(self, state: str) -> Iterator[Sequence[str]]:
        start = 0
        while True:
            with answering():
                found = self.redis.zrange(self._set(state), start, start + PAGE - 1)
            if found:
                yield [str(member).rpartition("|")[2] for member in found]
            if len(found) < PAGE:
                return
            start += PAGE

    def _hashes(self, ids: Sequence[str]) -> Sequence[Mapping[str, str]]:
        with answering(), self.redis.pipeline(transaction=False) as pipeline:
            for id_ in ids:
                pipeline.hgetall(f"{self.prefix}:job:{id_}")
            return pipeline.execute()

    def _set(self, state: str) -> str:
        return f"{self.prefix}:jobs:{state}" if self.type is None else f"{self.prefix}:jobs:{self.type}:{state}"

    def _entry(self, id_: str, stored: Mapping[str, str]) -> Entry:
        if "type" not in stored:
            return Skipped(id_, "it was removed, and kue kept its id")
        return entry_of(id_, KueJob, stored, partial(self._job, id_))

    def _job(self, id_: str, job: KueJob) -> Entry:
        if job.state == "complete":
            return Skipped(id_, "it is complete by now")
        attempts = attempts_within("max_attempts", job.max_attempts)
        options = {
            "attempts": attempts,
            "priority": priority_within(int(job.priority)),
            "delay": job.delay,
            "ttl": job.ttl,
            "backoff": self._backoff(job.backoff),
            "removeOnComplete": job.removeOnComplete,
        }
        given = {name: value for name, value in options.items() if value is not None}
        asked = kue_orders.new_job(self.yard, {"type": job.type, "data": job.data, "options": given})
        created_at = datetime.fromtimestamp(job.created_at / 1_000, UTC)
        new_job = replace(
            asked,
            options=options_of(NAME, id_, created_at, given),
            delay_ms=None,
            due_at_ms=job.promote_at if job.state == "delayed" else None,
            attempts_made=min(max(job.attempts, 0), attempts - 1),
        )
        failed = job.state == "failed"
        return Unfinished(
            table="job",
            id=id_,
            created_at_ms=job.created_at,
            new_job=new_job,
            failure=failure_of(job.error) if failed else None,
            failed_at_ms=(job.failed_at or job.created_at) if failed else None,
        )

    def _backoff(self, stored: str | None) -> Any:
        """A backoff as it was asked for. kue evaluates its text; here it is JSON, or a function, which has no form."""
        if stored is None:
            return None
        try:
            return json.loads(stored)
        except ValueError:
            if self.backoff is not None:
                return self.backoff
            raise InvalidInput(
                "this backoff is a function of JavaScript",
                field="backoff",
                expected="true, or an object",
                got=stored,
                remedy="write it in Python with @backoff(NAME), and import with --backoff NAME",
            ) from None


@contextmanager
def opened(url: str) -> Iterator[Redis]:
    """The Redis at a URL; raises ``InvalidInput`` for what is no URL of one. No error shows the URL."""
    try:
        import redis
    except ImportError as error:
        raise needs_extra("Redis", "redis") from error
    limits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    try:
        client = redis.Redis.from_url(url, decode_responses=True, encoding_errors="surrogateescape", **limits)
    except ValueError as error:
        expected = "redis://HOST:PORT/DATABASE, rediss:// or unix://"
        raise InvalidInput("this is no URL of a Redis", field="REDIS_URL", expected=expected) from error
    with client:
        yield client


def prefix_in(redis: Redis, prefix: str) -> str:
    """What keys begin with: the prefix, or its hash tag. Raises ``NotFound`` where kue made no job below either."""
    with answering():
        for found in (prefix, f"{{{prefix}}}"):
            if redis.exists(f"{found}:ids"):
                return found
    raise NotFound("kue has made no job here", field="prefix", expected=f"the key {prefix}:ids", remedy=ELSEWHERE)


@contextmanager
def answering() -> Iterator[None]:
    """Say ``Conflict`` where a key is none of kue's, ``Unavailable`` where Redis does not answer, or with an error."""
    from redis.exceptions import RedisError, ResponseError

    try:
        yield
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise Unavailable(
                f"Redis refuses to answer: {error}", remedy="look at REDIS_URL, and import again"
            ) from error
        raise Conflict("a key is of another kind than kue's", got=str(error), remedy=ELSEWHERE) from error
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}", remedy="look at REDIS_URL, and import again") from error
