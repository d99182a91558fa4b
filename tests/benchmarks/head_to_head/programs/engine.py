"""The engine alone, in one process: receive ten messages, consume them, delete them.

python engine.py JOBS
"""

from __future__ import annotations

import sys

import meter
from yard_handlers.trivial import TOPIC, trivial

from chalicelib import settings
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.yard import Yard, build
from infra.deploy import stack
from infra.template import template

BATCH = 10
HIDE_S = 330


def main() -> None:
    jobs = int(sys.argv[1])
    registry = Registry.of([trivial])
    chosen = settings.current()
    stack.apply(chosen, template(chosen, registry.queues))
    yard = build(registry, chosen)
    wanted = NewJob(kind=Kind.MESSAGE, type=TOPIC, input=meter.BODY)
    publish_many(yard, [wanted] * (meter.WARM_UP + jobs))
    work(yard, meter.WARM_UP)
    meter.report(meter.measured(lambda: work(yard, jobs)))


def work(yard: Yard, jobs: int) -> int:
    """Consume at least so many; returns how many."""
    source = yard.transport.source_of(Lane(TOPIC, Band.NORMAL))
    done = 0
    while done < jobs:
        messages = yard.transport.receive(source, BATCH, hide_s=HIDE_S, wait_s=0)
        if come_back := consume(yard, messages, lambda: 300_000):
            raise RuntimeError(f"{len(come_back)} messages came back")
        yard.transport.delete(messages)
        done += len(messages)
    return done


main()
