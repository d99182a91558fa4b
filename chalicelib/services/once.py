"""Publishing once for all attempts of a job: the idempotency key that a name stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.worker.context import Context
from chalicelib.services import checks, current


class Publication(Protocol):
    """What is to be published: a ``NewMessage`` or a ``NewTask``."""

    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def once(self) -> str | None: ...
    @property
    def within(self) -> Context | None: ...


def key_of(wanted: Publication) -> str | None:
    """Its idempotency key, or the one that its name stands for, which is reserved. Raises ``InvalidInput``."""
    if wanted.once is None:
        return checks.maybe_name("idempotency_key", wanted.idempotency_key)
    if wanted.idempotency_key is not None:
        raise InvalidInput("once makes an idempotency key of its own", field="once", expected="one of them, not both")
    return Once(checks.name("once", wanted.once), wanted.within).reserve()


def take_back(wanted: Publication) -> None:
    """Nothing was published: its name, if it has one, may be used again."""
    if wanted.once is not None:
        Once(wanted.once, wanted.within).release()


@contextmanager
def taken_back(wanted: Publication) -> Iterator[None]:
    """Take the name back where publishing raises."""
    try:
        yield
    except BaseException:
        take_back(wanted)
        raise


@dataclass(frozen=True, slots=True)
class Once:
    """A publication under ``name`` by an attempt of the job that ``context`` tells of, or that is worked on here."""

    name: str
    context: Context | None

    def reserve(self) -> str:
        """The idempotency key: the same in all attempts of the job.

        Raises ``InvalidInput`` where no job is worked on, and for a name that this attempt has used already.
        """
        key, attempt = self._key()
        running = current.running()
        if running is not None:
            if (key, attempt) in running.keys:
                raise InvalidInput(
                    "this attempt has published under this name already",
                    field="once",
                    expected="a name of its own for each publication",
                    got=self.name,
                )
            running.keys.add((key, attempt))
        return key

    def release(self) -> None:
        """Nothing was published after all: the name may be used again."""
        running = current.running()
        if running is not None:
            running.keys.discard(self._key())

    def _key(self) -> tuple[str, int]:
        """The key and the number of the attempt. Within a consumer, what is remembered ends with the attempt."""
        if self.context is not None:
            return f"{self.context.job.id}/{self.name}", self.context.attempt
        running = current.running()
        if running is None or running.job_id is None:
            raise InvalidInput(
                "it is not known which job this is a part of",
                field="once",
                expected="a name, and within=context",
                got=self.name,
                remedy="pass the handler's second parameter; outside of handlers, name an idempotency_key",
            )
        return f"{running.job_id}/{self.name}", 0
