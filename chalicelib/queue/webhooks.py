"""Posting to a webhook: to an address that was looked up once and may be called, in a bounded time.

The name is resolved here and the connection made to that very address, so that no second look-up can lead elsewhere
(DNS rebinding). Redirects are not followed, and no proxy of the environment is asked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from chalicelib.core.webhooks import is_public, split_url

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 10.0  # for connecting, sending and the first of the answer together
PORTS = {"http": 80, "https": 443}

Resolve = Callable[..., list[Any]]  # socket.getaddrinfo


class NotTaken(Exception):
    """The webhook has not taken the request; the text says why, and tells neither its URL nor its secret."""


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, local: bool, resolve: Resolve = socket.getaddrinfo
) -> None:
    """Post ``body`` and return once it was answered 2xx; raises ``NotTaken``.

    Unless ``local``, only public addresses are called: a name of which one address is not public is refused.
    """
    parts = split_url(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    address = _address(host, port, local, resolve)
    pool = _pool(parts.scheme, address, host, port)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        response = pool.urlopen(
            "POST",
            target,
            body=body,
            headers={**headers, "Host": _host_header(host, parts.port)},
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, total=TIMEOUT_S),
        )
        status = response.status
        response.close()  # what else it says is of no interest
    except (HTTPError, OSError) as error:
        raise NotTaken(f"no answer within {TIMEOUT_S:g} s, or none that is HTTP: {type(error).__name__}") from None
    finally:
        pool.close()
    if not 200 <= status < 300:
        raise NotTaken(f"it answered {status}")


def _address(host: str, port: int, local: bool, resolve: Resolve) -> str:
    """The address to call for a host; raises ``NotTaken`` where there is none that may be called."""
    try:
        found = [entry[4][0] for entry in resolve(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise NotTaken("its host has no address")
    if not local and not all(is_public(address) for address in found):
        raise NotTaken("its host has an address that is not public")
    return str(found[0])


def _pool(scheme: str, address: str, host: str, port: int) -> urllib3.HTTPConnectionPool:
    """A pool for one connection to an address, which must prove over TLS to be the host's."""
    if scheme == "http":
        return urllib3.HTTPConnectionPool(address, port)
    return urllib3.HTTPSConnectionPool(
        address, port, cert_reqs="CERT_REQUIRED", server_hostname=host, assert_hostname=host
    )


def _host_header(host: str, port: int | None) -> str:
    try:
        shown = f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        shown = host
    return shown if port is None else f"{shown}:{port}"
