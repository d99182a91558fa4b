"""Publishing once for all attempts of a job: the idempotency key that a name stands for."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.worker.context import Context
from chalicelib.services import current


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
