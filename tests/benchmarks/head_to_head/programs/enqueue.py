"""Publish one message a call, by the services or over HTTP, in turns with a put and a send by boto3 alone.

python enqueue.py JOBS              by the services
python enqueue.py JOBS URL          over HTTP, to the API of `taskyard up` at URL
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import meter
from bare import Publisher
from yard_handlers.trivial import TOPIC, trivial

from chalicelib import settings
from chalicelib.engine.handlers.registry import Registry
from chalicelib.services import messages
from infra.deploy import stack
from infra.template import template

TURN = 20  # jobs


def main() -> None:
    jobs = int(sys.argv[1])
    if len(sys.argv) > 2:
        publish = over_http(sys.argv[2])
    else:
        chosen = settings.current()
        stack.apply(chosen, template(chosen, Registry.of([trivial]).queues))
        publish = by_services
    ways = {"ours": publish, "bare": Publisher().publish}
    for way in ways.values():
        way(meter.WARM_UP)
    turns = [
        {name: meter.measured(lambda: ways[name](TURN)) for name in (ways, reversed(ways))[turn % 2]}  # noqa: B023
        for turn in range(jobs // TURN)
    ]
    meter.report({name: mean([turn[name] for turn in turns]) for name in ways})


def by_services(jobs: int) -> int:
    """Publish so many by the Python services."""
    for _ in range(jobs):
        messages.publish(TOPIC, meter.BODY)
    return jobs


def over_http(url: str) -> Callable[[int], int]:
    """Publishes over one connection that is kept."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    body = json.dumps({"topic": TOPIC, "payload": meter.BODY})

    def publish(jobs: int) -> int:
        for _ in range(jobs):
            connection.request("POST", "/mq/message/publish", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"{answer.status}: {text!r}")
        return jobs

    return publish


def mean(turns: list[dict[str, float]]) -> dict[str, float]:
    """The figures of turns of equal numbers of jobs together."""
    figures = {name: sum(turn[name] for turn in turns) / len(turns) for name in turns[0]}
    return {**figures, "rate": len(turns) / sum(1 / turn["rate"] for turn in turns)}


main()
