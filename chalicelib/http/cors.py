"""Which web pages may call: cross-origin answers for the configured origins, and a guard for the keyless stage.

Stage local needs no access key, so there the browser is the danger: any page that its user visits could drive the
API. A foreign page is told by its ``Origin`` or ``Sec-Fetch-Site`` header, which scripts cannot set, or, after DNS
rebinding, by a ``Host`` that is not this machine. All methods are guarded, as a GET may claim messages too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from chalicelib.core.errors import InvalidInput
from chalicelib.http.exchange import Incoming
from chalicelib.http.problems import Forbidden

ANY = "*"
ALLOWED_HEADERS = ("Authorization", "Content-Type")
EXPOSED_HEADERS = "x-request-id"
PREFLIGHT_MAX_AGE_S = 7_200  # the longest that browsers honour

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins whose pages may call, as configured."""

    every: bool
    listed: frozenset[str]

    def allow(self, origin: str | None) -> bool:
        """Whether a page of ``origin`` may call."""
        return origin is not None and (self.every or origin.lower() in self.listed)


def origins(setting: str) -> Origins:
    """What ``TASKYARD_CORS_ORIGINS`` allows; raises ``InvalidInput`` for an entry that is no origin."""
    entries = [entry.strip().lower().rstrip("/") for entry in setting.split(",") if entry.strip()]
    for entry in entries:
        if entry != ANY and not _ORIGIN.fullmatch(entry):
            raise InvalidInput(
                "a setting is out of range",
                field="TASKYARD_CORS_ORIGINS",
                expected="origins such as https://example.com, separated by commas, or *",
                got=entry,
            )
    return Origins(every=ANY in entries, listed=frozenset(entries))


def answer_headers(allowed: Origins, origin: str | None) -> dict[str, str]:
    """The headers that let a page of ``origin`` read the answer, if it may; no setting, no headers."""
    if not allowed.every and not allowed.listed:
        return {}
    if allowed.every:
        return {"Access-Control-Allow-Origin": ANY, "Access-Control-Expose-Headers": EXPOSED_HEADERS}
    if origin is None or not allowed.allow(origin):
        return {"Vary": "Origin"}  # caches must not give this answer to an origin that is allowed
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    }


def preflight_headers(
    allowed: Origins, origin: str | None, methods: Iterable[str], headers: Iterable[str]
) -> dict[str, str]:
    """The answer to ``OPTIONS``: what the path takes and, for an allowed origin, what a page may send."""
    listed_methods = ", ".join(sorted({*methods, "OPTIONS"}))
    if not allowed.allow(origin):
        return {"Allow": listed_methods}
    return {
        "Allow": listed_methods,
        "Access-Control-Allow-Methods": listed_methods,
        "Access-Control-Allow-Headers": ", ".join((*ALLOWED_HEADERS, *sorted(headers))),
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
    }


def refuse_foreign_pages(request: Incoming, allowed: Origins, *, public: bool) -> None:
    """Stage local's guard; raises ``Forbidden`` for what a page of another origin sent.

    A link from elsewhere may lead to a ``public`` route, such as the documentation.
    """
    host = request.headers.get("host")
    if host is not None and not _is_this_machine(host) and host.lower() not in _hosts(allowed):
        raise Forbidden(
            "stage local answers this machine only",
            field="host",
            expected="localhost or 127.0.0.1",
            got=host,
            remedy="call it by that name, or run another stage, with access keys",
        )
    origin = request.headers.get("origin")
    if allowed.every or allowed.allow(origin) or request.method == "OPTIONS":
        return
    if _is_foreign(origin, host) or (origin is None and not public and _is_cross_site(request.headers)):
        raise Forbidden(
            "stage local, which needs no access key, refuses requests of other web pages",
            field="origin",
            expected="this API's own pages",
            got=origin or "a page of another site",
            remedy="name the page's origin in TASKYARD_CORS_ORIGINS",
        )


def _hosts(allowed: Origins) -> set[str]:
    return {urlsplit(origin).netloc for origin in allowed.listed}


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_foreign(origin: str | None, host: str | None) -> bool:
    return origin is not None and origin.lower() not in {f"http://{host}".lower(), f"https://{host}".lower()}


def _is_cross_site(headers: Mapping[str, str]) -> bool:
    return headers.get("sec-fetch-site") in _FOREIGN_SITES
