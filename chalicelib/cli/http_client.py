"""The service's HTTP API, as the commands call it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from chalicelib.core.errors import InvalidInput

TIMEOUT_S = 35.0  # API Gateway ends a request after 29
BATCH_MAX = 100  # entries a batch takes
BATCH_MAX_BYTES = 4_000_000  # of JSON; a Lambda request holds 6 MB
PAGE = 100

Document = dict[str, Any]


class Refused(Exception):
    """The service answered, but did not do it."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("message") or problem.get("msg") or f"the service answered {status}"))
        self.status = status
        self.details: Sequence[Mapping[str, Any]] = problem.get("details") or ()
        self.remedy: str | None = problem.get("remedy")


class Unreachable(Exception):
    """There was no answer."""


class Unanswered(Unreachable):
    """The request was sent, and no answer came: what it asked for may have been done."""


class Service:
    """One installation, by the URL of its API and an access key, if it needs one. Not for several threads."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(
                "this is no URL of a service", expected="http://HOST:PORT or https://HOST/STAGE", got=url
            )
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = url.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._base_path = parts.path.rstrip("/")
        self._key = key

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, refusable: bool = True) -> Any:
        """The answer to a ``GET``; parameters that are None are left out.

        Raises ``Refused`` for a status from 400 on (unless it is not ``refusable``), ``Unreachable`` for no answer.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._call("GET", f"{path}?{urlencode(given)}" if given else path, None, refusable)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a ``POST`` of JSON, without what is None in it; raises as ``get`` does."""
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("POST", path, given, refusable=True)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a ``PUT`` of JSON, without what is None in it; raises as ``get`` does."""
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("PUT", path, given, refusable=True)

    def delete(self, path: str, query: Mapping[str, Any]) -> Any:
        """The answer to a ``DELETE``; parameters that are None are left out. Raises as ``get`` does."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("DELETE", f"{path}?{urlencode(given)}", None, refusable=True)

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Document]:
        """All items of a list, page by page."""
        cursor: str | None = None
        while True:
            answer = self.get(path, {**query, "perPage": PAGE, "cursor": cursor})
            yield from answer["pageData"]
            if (cursor := answer["nextCursor"]) is None:
                return

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, refusable: bool) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            content = None if body is None else json.dumps(body).encode()
            self._connection.request(method, self._base_path + path, content, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(
                f"nothing answers at {self.url} ({error or type(error).__name__}); start it with `taskyard up`, "
                "or say where it is with --url or TASKYARD_URL"
            ) from error
        try:
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unanswered(
                f"{self.url} took the request and did not answer ({error or type(error).__name__})"
                + ("" if body is None else f"; {_how_to_go_on(body)}")
            ) from error
        document = _parsed(text)
        if refusable and answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(answer.status, document if isinstance(document, dict) else {})
        return document


def batches(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """``documents`` in groups that one request holds, by count and by bytes."""
    group: list[Document] = []
    room = BATCH_MAX_BYTES
    for document in documents:
        size = len(json.dumps(document))
        if group and (len(group) == BATCH_MAX or size > room):
            yield group
            group, room = [], BATCH_MAX_BYTES
        group.append(document)
        room -= size
    if group:
        yield group


def _how_to_go_on(body: Mapping[str, Any]) -> str:
    """What to do about a request that may have been carried out."""
    if all("idempotencyKey" in entry for entry in body.get("messages") or body.get("tasks") or [body]):
        return "it may have been done: repeat it with the same --idempotency-key, and it is done once"
    return (
        "it may have been done: look (`taskyard messages list`, `taskyard tasks list`) before you repeat it; what is "
        "sent with an --idempotency-key can be repeated without looking"
    )


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
