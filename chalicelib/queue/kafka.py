"""Kafka, by confluent-kafka: whose brokers, how a batch of records is sent, and how a group reads them.

The library is loaded when a topic is bridged, and not before; it is the extra ``kafka``. Only properties of an
allow-list reach it, and no error or log shows what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.naming import instead_of

LIBRARY = "confluent_kafka"
VARIABLE = "TASKYARD_KAFKA"
BOOTSTRAP = "bootstrap.servers"
OBJECT = "a JSON object of properties, or the path of a file of one"
ADDRESS = re.compile(r"(\w+://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")  # after a protocol, if any
PORT_MAX = 65_535
# librdkafka, CONFIGURATION.md: where the brokers are and who this is to them, and what a network may need.
ALLOWED = frozenset(
    {
        BOOTSTRAP, "broker.address.family", "client.dns.lookup", "client.id", "client.rack", "compression.type",
        "enable.ssl.certificate.verification", "message.max.bytes", "receive.message.max.bytes", "sasl.mechanism",
        "sasl.mechanisms", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config",
        "sasl.oauthbearer.extensions", "sasl.oauthbearer.method", "sasl.oauthbearer.scope",
        "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username", "security.protocol",
        "socket.keepalive.enable", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem",
        "ssl.cipher.suites", "ssl.endpoint.identification.algorithm", "ssl.key.location", "ssl.key.password",
        "ssl.key.pem",
    }
)  # fmt: skip
ALWAYS: Mapping[str, Any] = {
    "socket.timeout.ms": 10_000,
    "socket.connection.setup.timeout.ms": 10_000,
    "reconnect.backoff.ms": 200,
    "reconnect.backoff.max.ms": 5_000,
    "log_level": 2,  # what goes wrong is reported once, as an error, not at each try to connect
    "client.id": "taskyard",
    "topic.metadata.refresh.interval.ms": 30_000,  # how soon a topic or a partition that was made later is noticed
}


class NoLibrary(TaskyardError):
    """The extra ``kafka`` is not installed."""


@cache
def library() -> Any:
    """confluent-kafka. Raises ``NoLibrary``."""
    expect_library()
    return import_module(LIBRARY)


def expect_library() -> None:
    """Raise ``NoLibrary`` where confluent-kafka is not installed; does not load it."""
    if find_spec(LIBRARY) is None:
        raise NoLibrary(
            "a topic is bridged to Kafka, and confluent-kafka is not installed here",
            expected="the extra kafka",
            remedy="pip install 'taskyard[kafka]', or confluent-kafka itself",
        )


def properties(given: str) -> dict[str, Any]:
    """The client's properties as ``TASKYARD_KAFKA`` gives them: addresses, a JSON object, or the path of one.

    Raises ``InvalidInput``, which shows none of their values.
    """
    if not given:
        raise _wrong("the addresses of brokers", "nothing", "name some as host:port, here or with --kafka")
    found = {BOOTSTRAP: given} if _is_addresses(given) else _object(given)
    foreign = min(found.keys() - ALLOWED, default=None)
    if foreign is not None:
        remedy = "leave out what Taskyard sets itself: see docs/kafka.md"
        raise _wrong(instead_of(foreign, sorted(ALLOWED)), foreign, remedy)
    for name, value in found.items():
        if not isinstance(value, str | int | bool):
            raise _wrong(f"a text, a number or a boolean as {name}", f"another kind of value: {type(value).__name__}")
    if not isinstance(found.get(BOOTSTRAP), str):
        raise _wrong(f"a text of addresses as {BOOTSTRAP}", type(found.get(BOOTSTRAP)).__name__)
    _expect_ports(found[BOOTSTRAP].split(","))
    return {**ALWAYS, **found}


def _expect_ports(addresses: Sequence[str]) -> None:
    """Raise ``InvalidInput`` for an address that says no port: librdkafka would take 9092, and wait for an answer."""
    for number, address in enumerate(addresses, 1):
        found = ADDRESS.fullmatch(address.strip())
        if found is None or not 1 <= int(found["port"]) <= PORT_MAX:
            got = f"no port (1 to {PORT_MAX}) in address {number} of {len(addresses)}"
            raise _wrong("host:port of each broker, several with commas", got, "add the port, often 9092 or 9096")


def client(kind: str, made_of: Mapping[str, Any]) -> Any:
    """A ``Consumer`` or ``Producer``, which connects when it is used.

    Raises ``NoLibrary``, and ``InvalidInput`` where a property has a value that cannot be, which is not shown.
    """
    try:
        return getattr(library(), kind)(dict(made_of))
    except library().KafkaException as error:
        expected = "values that librdkafka takes"
        of = _property_in(error.args[0].str(), made_of)
        raise _wrong(expected, f"another value of {of}", "librdkafka's CONFIGURATION.md says which it takes") from None


def expect_taken(reached: Mapping[str, Any]) -> None:
    """Raise ``InvalidInput`` where librdkafka does not take the client's properties. Connects to nobody."""
    client("Producer", reached)


def _property_in(text: str, made_of: Mapping[str, Any]) -> str:
    """Which properties librdkafka complains of: by their names, or else by their values, of which it shows some."""
    named = [name for name in sorted(ALLOWED) if name in text]
    valued = [name for name in sorted(ALLOWED & made_of.keys()) if str(made_of[name]) in text]
    return ", ".join(named or valued or sorted(ALLOWED & made_of.keys()))


def _is_addresses(given: str) -> bool:
    return not given.lstrip().startswith("{") and not given.endswith(".json")


def _object(given: str) -> dict[str, Any]:
    try:
        text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise _wrong(OBJECT, f"the path of a file that cannot be read ({error.strerror})") from None
    except ValueError:
        raise _wrong(OBJECT, "a text that is no JSON") from None
    if not isinstance(found, dict):
        raise _wrong("a JSON object of properties", type(found).__name__)
    return found


def _wrong(expected: str, got: str, remedy: str = "docs/kafka.md has examples") -> InvalidInput:
    return InvalidInput(
        "the brokers of Kafka cannot be told", field=VARIABLE, expected=expected, got=got, remedy=remedy
    )


def text_of(error: Any) -> str:
    """A ``KafkaError`` in words: its name and what it says."""
    return f"{error.name()}: {error.str()}"
