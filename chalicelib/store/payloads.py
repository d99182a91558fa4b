"""Where the large things are: a job's body and its output.

Small ones stay in the record, so that a transition costs one write unit; larger ones become an item beside it;
above 256 KB they become objects in the bucket. All are JSON text in ASCII, so that every length is in bytes and
every Unicode text, valid or not, survives.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.errors import NotFound, TooLarge, Unavailable
from chalicelib.core.job import Job
from chalicelib.store.job_items import BODY_PART
from chalicelib.store.ledger import OBJECT_PLACE
from chalicelib.store.settled import StoredOutput
from chalicelib.store.table import Table

INLINE_MAX_BYTES = 300  # what leaves the record under 1 KB through an ordinary life
ITEM_MAX_BYTES = 256 * 1024  # below the 400 KB of a DynamoDB item, and of an SQS message when escaped once more
ITEM_PLACE = "item"
OUTPUT = "output"
CONTEXT = "context"

_log = logging.getLogger(__name__)


class PayloadLost(NotFound):
    """What the ledger points to is gone, or is no JSON: no further try can find it. The text says which."""


class PayloadUnread(Unavailable):
    """AWS did not hand it out now; a later try may find it."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body's place (``place`` is ``None`` for the record itself) and its text where SQS may carry it.

    ``bytes`` is the length of one that the record does not hold; of one in the bucket, its ``answered_bytes``.
    """

    text: str | None
    place: str | None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PayloadStore:
    """Bodies and outputs, wherever they are. ``max_bytes`` is the one limit on their size."""

    table: Table
    objects: Any
    bucket: str
    max_bytes: int

    def place_body(self, job_id: int, uid: str, text: str) -> StoredBody:
        """Decide where a new job's body goes, and put it there if that is the bucket.

        Raises ``TooLarge`` beyond the limit.
        """
        self._check(text, "payload")
        if len(text) <= INLINE_MAX_BYTES:
            return StoredBody(text, None)
        if len(text) <= ITEM_MAX_BYTES:
            return StoredBody(text, ITEM_PLACE, len(text))
        return StoredBody(None, self._put_object(f"bodies/{job_id}/{uid}.json", text), answered_bytes(text))

    def body(self, job: Job) -> dict[str, Any]:
        """The job's ``{input, options, context}``; empty where it was written without any.

        Raises ``PayloadLost`` or ``PayloadUnread``, as do the other reads of one job.
        """
        return self._opened(job, self._body_text(job))

    def at_hand(self, job: Job) -> Job:
        """``job`` with its body in it, wherever that is kept: reading it again costs no request and cannot fail."""
        text = self._body_text(job)
        self._opened(job, text)
        return replace(job, body=text)

    def bodies(self, jobs: list[Job]) -> dict[int, dict[str, Any] | None]:
        """The bodies of a page of jobs by id, in as few reads as can be.

        ``None`` for one in the bucket, and for one that is gone or is no JSON, which is logged.
        """
        texts = self._texts(jobs)
        return {job.id: self._listed(job, texts.get(job.id)) for job in jobs}

    def bodies_there(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, Any]]]:
        """The bodies of those jobs that still have theirs, from the bucket one after the other.

        Raises ``PayloadUnread``.
        """
        texts = self._texts(jobs)
        for job in jobs:
            in_bucket = (job.body_at or "").startswith(OBJECT_PLACE)
            try:
                text = self._body_text(job) if in_bucket else texts.get(job.id)
                if text is None and job.body_at is not None:
                    raise self._gone(job, BODY_PART, job.body_at)
                yield job, self._opened(job, text)
            except PayloadLost as lost:
                _log.info("passed over: %s", lost)

    def _texts(self, jobs: Sequence[Job]) -> dict[int, str]:
        """The bodies outside the bucket, as text."""
        beside = [job for job in jobs if job.body is None and job.body_at == ITEM_PLACE]
        items = self.table.get_many([{"job": job.id, "part": BODY_PART} for job in beside]) if beside else []
        texts = {item["job"]: item["text"] for item in items}
        return texts | {job.id: job.body for job in jobs if job.body is not None}

    def _listed(self, job: Job, text: str | None) -> dict[str, Any] | None:
        if text is None and job.body_at is not None and job.body_at != ITEM_PLACE:
            return None
        try:
            if text is None and job.body_at is not None:
                raise self._gone(job, BODY_PART, job.body_at)
            return self._opened(job, text)
        except PayloadLost as lost:
            _log.error("left out of a list: %s", lost)
            return None

    def store_output(self, job: Job, text: str, token: str | None = None) -> StoredOutput:
        """Write an attempt's output; a large one under a key with the lease, before the settle that points to it.

        ``token`` stands in for the lease where somebody else settles. Raises ``TooLarge`` beyond the limit.
        """
        return self._store(job, OUTPUT, token or job.lease or "", text)

    def store_context(self, job: Job, text: str) -> StoredOutput:
        """Write the context with which an attempt parks its job, likewise."""
        return self._store(job, CONTEXT, job.lease or "", text)

    def context(self, job: Job) -> Any:
        """The job's context as it now is, its secret included; ``None`` if it has none."""
        text = job.context
        if text is None and job.context_at is not None:
            text = self._read(job, job.context_at, job.context_at)
        return self.body(job).get("context") if text is None else self._parsed(job, CONTEXT, text)

    def output(self, job: Job) -> Any:
        """What the job's handler returned, or ``None``."""
        text = job.output
        if text is None and job.output_at is not None:
            text = self._read(job, job.output_at, job.output_at)
        return None if text is None else self._parsed(job, OUTPUT, text)

    def inline_output(self, job: Job) -> Any:
        """The output if the record itself holds it, else ``None``: what a list shows without further reads."""
        return None if job.output is None else self._parsed(job, OUTPUT, job.output)

    def outputs(self, jobs: Sequence[Job]) -> dict[int, Any]:
        """The outputs of jobs by id, in as few reads as can be.

        One that is gone, or is no JSON, is logged and left out. Raises ``PayloadUnread``.
        """
        beside = [job for job in jobs if job.output_at is not None and not job.output_at.startswith(OBJECT_PLACE)]
        items = self.table.get_many([{"job": job.id, "part": job.output_at} for job in beside]) if beside else []
        texts = {item["job"]: item["text"] for item in items}
        outputs: dict[int, Any] = {}
        for job in jobs:
            try:
                outputs[job.id] = self.output(replace(job, output=texts.get(job.id, job.output)))
            except PayloadLost as lost:
                _log.error("left out of the results: %s", lost)
        return outputs

    def delete_objects(self, places: Sequence[str]) -> None:
        """Delete what is in the bucket among ``places``, there or not."""
        for place in places:
            if place.startswith(OBJECT_PLACE):
                self.objects.delete_object(Bucket=self.bucket, Key=place.removeprefix(OBJECT_PLACE))

    def _store(self, job: Job, what: str, token: str, text: str) -> StoredOutput:
        self._check(text, what)
        if len(text) <= INLINE_MAX_BYTES:
            return StoredOutput(text=text)
        if len(text) <= ITEM_MAX_BYTES:
            part = f"{what}#{token}"
            self.table.put({"job": job.id, "part": part, "text": text})
            return StoredOutput(place=part)
        return StoredOutput(place=self._put_object(f"{what}s/{job.id}/{token}.json", text))

    def _check(self, text: str, what: str) -> None:
        size_bytes = answered_bytes(text)
        if size_bytes > self.max_bytes:
            raise TooLarge(
                f"this {what} is too large",
                field=what,
                expected=f"at most {self.max_bytes} bytes of JSON, its quotes and backslashes counted twice",
                got=f"{size_bytes} bytes",
                remedy="store it as an object in the bucket and pass its key",
            )

    def _put_object(self, key: str, text: str) -> str:
        self.objects.put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType="application/json")
        return f"{OBJECT_PLACE}{key}"

    def _read(self, job: Job, part: str, place: str) -> str:
        try:
            text = self.object_text(place) if place.startswith(OBJECT_PLACE) else self._item_text(job, part)
        except (ClientError, BotoCoreError) as error:
            why = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            raise PayloadUnread(
                f"the {part} of job {job.id} cannot be read now", got=why, remedy="try again"
            ) from error
        if text is None:
            raise self._gone(job, part, place)
        return text

    def _body_text(self, job: Job) -> str | None:
        if job.body is not None or job.body_at is None:
            return job.body
        return self._read(job, BODY_PART, job.body_at)

    def _gone(self, job: Job, part: str, place: str) -> PayloadLost:
        where = f"{self.bucket}/{place.removeprefix(OBJECT_PLACE)}" if place.startswith(OBJECT_PLACE) else "the table"
        return PayloadLost(f"the {part} of job {job.id} is gone from {where}", remedy="restore it there, if you can")

    def _opened(self, job: Job, text: str | None) -> dict[str, Any]:
        document = {} if text is None else self._parsed(job, BODY_PART, text)
        if not isinstance(document, dict):
            raise PayloadLost(f"the {BODY_PART} of job {job.id} is not one that Taskyard wrote")
        return document

    @staticmethod
    def _parsed(job: Job, what: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PayloadLost(f"the {what} of job {job.id} is no JSON") from error

    def object_text(self, place: str) -> str | None:
        """The text of an object in the bucket; ``None`` if it is gone. Raises what botocore raises."""
        try:
            answer = self.objects.get_object(Bucket=self.bucket, Key=place.removeprefix(OBJECT_PLACE))
        except self.objects.exceptions.NoSuchKey:
            return None
        return str(answer["Body"].read().decode("utf-8", "replace"))

    def _item_text(self, job: Job, part: str) -> str | None:
        item = self.table.get({"job": job.id, "part": part})
        return None if item is None else str(item["text"])


def answered_bytes(text: str) -> int:
    """What JSON text takes in an answer: Lambda hands answers on as a JSON string, which escapes them once more."""
    return len(text) + text.count('"') + text.count("\\")
