"""Ways to spoil a valid request: its fields, their number and nesting, its encoding, its headers, query and path."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, quote_from_bytes

DEEP = 3_000
LONG = 20_000
MANY = 1_200
MANY_MEMBERS = 5_000
SURROGATE = "\ud800"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**31, 2**53, 2**53 + 1, 2**63, -(2**64), 10**40, 10**400, 1e-320, 1e308,
    float("inf"), float("nan"), "", " ", "\0", "a\nb", SURROGATE, "\U0001f4e6", "\u202e", "e\u0301", "İ", "x" * LONG,
    "1", "1e5", "0x10", "٣", "1_000", "null", "true", "[]", "2026-02-30T25:61:00Z", "2026-01-31T12:00:00+99:99",
    "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00", "-1s", "P1D", "*/0 * * * *", "Europe/Nowhere", "../../etc",
    "%00", "%ff", "{{slot}}", "${x}", "id", [], {}, [[]], [None], [{}], {"": None}, {"a": {"b": {"c": []}}},
    ["x"] * MANY, {f"k{n}": n for n in range(MANY)}, "A" * 129, "A" * 257, "A" * 401, "A" * 1_025,
)  # fmt: skip
HEADERS: tuple[tuple[str, str], ...] = (
    ("content-type", "text/plain"),
    ("content-type", "application/json; charset=utf-16"),
    ("content-type", "application/json; charset=no-such"),
    ("content-type", ";;"),
    ("content-type", ""),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-encoding", "gzip"),
    ("content-encoding", "br"),
    ("accept", "application/xml"),
    ("accept", "*/*;q=nan"),
    ("accept-encoding", "gzip;q=0, *"),
    ("authorization", "Bearer"),
    ("authorization", "Bearer " + "é" * 40),
    ("authorization", "Basic ????"),
    ("authorization", "Basic OjpiOg=="),
    ("idempotency-key", ""),
    ("idempotency-key", "\xff\xfe"),
    ("idempotency-key", "k" * 2_000),
    ("x-taskyard-tenant", ""),
    ("x-taskyard-tenant", "é\x80"),
    ("x-taskyard-tenant", "t" * 300),
    ("if-none-match", '"' * 99),
    ("origin", "null"),
    ("cookie", "a=" + "b" * 4_000),
    ("host", ""),
    ("traceparent", "00-zz"),
    ("x-forwarded-for", "::1, evil"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is sent; ``path`` and the query are percent-encoded. ``body`` is JSON until it is ``raw``."""

    label: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()


Mutation = Callable[["Mutator", Request], Request]


@dataclass(slots=True)
class Mutator:
    """Mutates by ``dice``; ``fields`` are names that requests have somewhere, ``seen`` cursors that answers had."""

    dice: random.Random
    fields: tuple[str, ...]
    seen: list[str] = field(default_factory=list)

    def mutated(self, request: Request) -> Request:
        """``request`` with one to three mutations."""
        for _ in range(self.dice.choice((1, 1, 1, 2, 2, 3))):
            possible = [*OF_ANY, *(OF_JSON if request.raw is None and request.body is not None else ())]
            if request.method in ("POST", "PUT"):
                possible += OF_BYTES
            request = self.dice.choice(possible)(self, request)
        return request

    def value(self, old: Any = None) -> Any:
        """Something odd, or ``old`` changed a little."""
        match old:
            case str() if old and self.dice.random() < 0.4:
                place = self.dice.randrange(len(old))
                return old[:place] + self.dice.choice(("", "\0", SURROGATE, old, "é", "%", "/")) + old[place + 1 :]
            case bool():
                return self.dice.choice((int(old), str(old), None))
            case int() | float() if self.dice.random() < 0.4:
                return self.dice.choice((old + 1, old - 1, -old, old * 10**9, str(old), [old]))
        return self.dice.choice(VALUES)

    def text(self, old: str = "") -> str:
        """The same for a place where text stands."""
        if self.seen and self.dice.random() < 0.2:
            cursor = self.dice.choice(self.seen)
            return self.dice.choice((cursor, cursor[:-1], cursor + "=", cursor[1:], cursor.swapcase()))
        odd = self.value(old)
        return odd if isinstance(odd, str) else json.dumps(odd)[:LONG]


def _encoded(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


# -- of the JSON body -----------------------------------------------------------------------------------


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: what holds it, and its key there."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in list(members) for place in ((value, key), *_places(member))]


def _in_a_copy(change: Callable[[Mutator, Any, Any], None]) -> Mutation:
    def mutation(mutator: Mutator, request: Request) -> Request:
        body = copy.deepcopy(request.body)
        if places := _places(body):
            change(mutator, *mutator.dice.choice(places))
        return replace(request, body=body)

    return mutation


def _other_value(mutator: Mutator, holder: Any, key: Any) -> None:
    holder[key] = mutator.value(holder[key])


def _without(_: Mutator, holder: Any, key: Any) -> None:
    del holder[key]


def _wrapped(mutator: Mutator, holder: Any, key: Any) -> None:
    holder[key] = mutator.dice.choice(([holder[key]], {"value": holder[key]}, [holder[key]] * MANY, str(holder[key])))


def _one_more(mutator: Mutator, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[mutator.dice.choice((*mutator.fields, str(key).upper(), "", "__proto__", "x" * 300))] = mutator.value()
    else:
        holder.append(mutator.value(holder[key]))


def _nested(mutator: Mutator, holder: Any, key: Any) -> None:
    deep: Any = holder[key]
    for _ in range(mutator.dice.choice((20, 90, 200))):
        deep = [deep] if mutator.dice.random() < 0.5 else {"a": deep}
    holder[key] = deep


def _whole_body(mutator: Mutator, request: Request) -> Request:
    return replace(request, body=mutator.dice.choice((mutator.value(), [request.body], {}, request.body)))


def _duplicate_keys(mutator: Mutator, request: Request) -> Request:
    text = json.dumps(request.body)
    if not isinstance(request.body, dict) or not request.body:
        return request
    name = mutator.dice.choice(list(request.body))
    return replace(request, raw=f"{text[:-1]}, {json.dumps(name)}: {json.dumps(mutator.value())}}}".encode())


# -- of the bytes of a body --------------------------------------------------------------------------------


def _spoiled_bytes(mutator: Mutator, request: Request) -> Request:
    content, dice = request.content, mutator.dice
    place = dice.randrange(len(content) + 1)
    odd = dice.choice(
        (b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b'"', b"\\", b"{", b"]", b"\xef\xbb\xbf", b"1e9999")
    )
    return replace(
        request, raw=dice.choice((content[:place], content[:place] + odd + content[place + 1 :], content + odd))
    )


def _other_encoding(mutator: Mutator, request: Request) -> Request:
    text = request.content.decode("utf-8", "replace")
    encoders: tuple[Callable[[], bytes], ...] = (
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-32-le"),
        lambda: text.encode("utf-8-sig"),
        lambda: text.encode("latin-1", "replace"),
        lambda: gzip.compress(text.encode()),
        lambda: quote(text).encode(),
    )
    return replace(request, raw=mutator.dice.choice(encoders)())


def _deep_bytes(mutator: Mutator, request: Request) -> Request:
    opening, closing = mutator.dice.choice((("[", "]"), ('{"a":', "}"), ("[", "")))
    return replace(request, raw=f"{opening * DEEP}1{closing * DEEP}".encode())


# -- of the rest ----------------------------------------------------------------------------------------------


def _query_value(mutator: Mutator, request: Request) -> Request:
    if not request.query:
        return _query_more(mutator, request)
    query = list(request.query)
    place = mutator.dice.randrange(len(query))
    query[place] = (query[place][0], _encoded(mutator.text(query[place][1])))
    return replace(request, query=tuple(query))


def _query_more(mutator: Mutator, request: Request) -> Request:
    names = (
        *mutator.fields,
        "cursor",
        "filter.id",
        "filter[status]",
        "filter",
        "sort",
        "sort[x]",
        "a[b][c]",
        "",
        "%ff",
    )
    names = tuple(name for name in names if name != "wait")  # the clock of the test stands still
    more = (mutator.dice.choice(names), _encoded(mutator.text()))
    again = mutator.dice.choice(request.query) if request.query else more
    return replace(request, query=(*request.query, mutator.dice.choice((more, again))))


def _query_less(mutator: Mutator, request: Request) -> Request:
    return replace(request, query=tuple(pair for pair in request.query if mutator.dice.random() < 0.5))


def _header(mutator: Mutator, request: Request) -> Request:
    name, value = mutator.dice.choice(HEADERS)
    kept = [pair for pair in request.headers if mutator.dice.random() < 0.5 or pair[0] != name]
    return replace(request, headers=(*kept, (name, value)))


def _path(mutator: Mutator, request: Request) -> Request:
    segments = request.path.split("/")
    segments[-1] = mutator.dice.choice(
        (_encoded(mutator.text(segments[-1]))[:8_000], segments[-1] + "%ff", "%2e%2e", "%")
    )
    return replace(request, path="/".join(segments))


def _many_members(mutator: Mutator, request: Request) -> Request:
    members = ",".join(f'"m{n}":{n}' for n in range(MANY_MEMBERS))
    again = mutator.dice.choice(("", f',"m{MANY_MEMBERS - 1}":0'))
    return replace(request, raw=f"{{{members}{again}}}".encode())


OF_JSON: tuple[Mutation, ...] = (
    *[_in_a_copy(_other_value)] * 4,
    *(_in_a_copy(change) for change in (_without, _wrapped, _one_more, _one_more, _nested)),
    _whole_body,
    _duplicate_keys,
)
OF_BYTES: tuple[Mutation, ...] = (_spoiled_bytes, _other_encoding, _deep_bytes, _many_members)
OF_ANY: tuple[Mutation, ...] = (_query_value, _query_value, _query_more, _query_less, _header, _header, _path)
