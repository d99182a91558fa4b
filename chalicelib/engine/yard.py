"""What every use case works with: the stores, the transport, the handlers, and the outer world's gifts.

Time, randomness and ids come from here, so that a test can hand out its own.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from chalicelib import aws, settings
from chalicelib.actor import actor
from chalicelib.clocks import ledger_clock
from chalicelib.core.ids import ID_BLOCK, RandomBytes, token
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.job_types import JobTypes
from chalicelib.engine.shared_answers import SharedAnswers
from chalicelib.engine.silences import Silences
from chalicelib.queue.contract import Transport
from chalicelib.queue.sqs import SqsTransport
from chalicelib.settings import Settings
from chalicelib.store.acts import Acts
from chalicelib.store.applications import Applications
from chalicelib.store.bulk_acts import BulkActs
from chalicelib.store.canaries import Canaries
from chalicelib.store.concurrency import ConcurrencyCounts
from chalicelib.store.deployments import Deployments
from chalicelib.store.directory import Directory
from chalicelib.store.flow_marks import FlowMarks
from chalicelib.store.flow_settings import FlowSetting, FlowSettings
from chalicelib.store.graphs import Graphs
from chalicelib.store.insights import Insights
from chalicelib.store.job_details import JobDetails
from chalicelib.store.job_lists import JobLists
from chalicelib.store.jobs import JobStore
from chalicelib.store.known import Known
from chalicelib.store.pauses import Pauses
from chalicelib.store.payloads import PayloadStore
from chalicelib.store.rates import Rates
from chalicelib.store.schedules import Schedules
from chalicelib.store.search import LOCAL_PARALLEL, PARALLEL, SearchIndex
from chalicelib.store.table import Table
from chalicelib.store.wait_lists import WaitLists


@dataclass(slots=True)
class JobIds:
    """Job ids from blocks of 1,024, each taken with one write at first need and never shared after a fork."""

    take_block: Callable[[], int]
    _next: int = 0
    _left: int = 0
    _owner_pid: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self) -> int:
        """An id that no other process has or gets."""
        with self._lock:
            if self._left == 0 or self._owner_pid != os.getpid():
                self._next, self._left, self._owner_pid = self.take_block(), ID_BLOCK, os.getpid()
            self._next, self._left = self._next + 1, self._left - 1
            return self._next - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """One installation, as its use cases see it."""

    settings: Settings
    jobs: JobStore
    lists: JobLists
    job_types: JobTypes
    payloads: PayloadStore
    job_details: JobDetails
    directory: Directory
    concurrency: ConcurrencyCounts
    wait_lists: WaitLists
    pauses: Pauses
    deployments: Deployments
    canaries: Canaries
    acts: Acts
    bulk_acts: BulkActs
    rates: Rates
    flow_marks: FlowMarks
    flow_settings: FlowSettings
    schedules: Schedules
    applications: Applications
    graphs: Graphs
    insights: Insights
    search: SearchIndex
    transport: Transport
    objects: Any
    handlers: Registry
    ids: JobIds
    now_ms: Callable[[], int]
    random_bytes: RandomBytes
    worker_name: str
    exit_process: Callable[[int], None]  # how a worker ends itself when a handler will not stop
    shared: SharedAnswers = field(default_factory=SharedAnswers)
    shared_slowly: SharedAnswers = field(default_factory=lambda: SharedAnswers(5_000))  # what takes many small reads
    shared_long: SharedAnswers = field(default_factory=lambda: SharedAnswers(3_600_000))  # what changes no more
    health: SharedAnswers = field(default_factory=SharedAnswers)
    lane_depths: SharedAnswers = field(default_factory=lambda: SharedAnswers(5_000))  # see projections/queues.py
    known_applications: SharedAnswers = field(default_factory=lambda: SharedAnswers(30_000))  # for their limits
    known_flow: Known[Mapping[str, FlowSetting]] = field(default_factory=Known)  # see policy.py
    known_pauses: Known[frozenset[str]] = field(default_factory=Known)  # see pausing.py, and the next, too
    paused_here: dict[str, int] = field(default_factory=dict)  # a target, and until when (milliseconds since 1970)
    known_lanes: dict[str, tuple[int, tuple[Lane, ...]]] = field(default_factory=dict)  # see publish/lanes.py
    silences: Silences = field(default_factory=Silences)
    ledger_failed: threading.Event = field(default_factory=threading.Event)  # see publish/publish.py

    @property
    def actor(self) -> str:
        """Who acts: an access key's name, ``cli``, a handler, or else this process."""
        return actor() or self.worker_name

    def token(self) -> str:
        """A new uid or lease."""
        return token(self.random_bytes)


def build(
    handlers: Registry,
    chosen: Settings | None = None,
    *,
    now_ms: Callable[[], int] | None = None,
    random_bytes: RandomBytes = os.urandom,
    exit_process: Callable[[int], None] = os._exit,
    limits: Mapping[str, Any] = MappingProxyType({}),
) -> Yard:
    """The yard that ``chosen`` (by default this process's settings) describes, on AWS or an emulator.

    ``limits`` are those of its AWS clients, where they are not to be as by default; see ``aws.client``.
    """
    chosen = chosen or settings.current()
    dynamodb = aws.client("dynamodb", **limits)
    sqs = aws.client("sqs", **limits)
    objects = aws.LazyClient("s3", **limits)
    ledger = Table(dynamodb, chosen.jobs_table, ("job", "part"))
    directory = Directory(Table(dynamodb, chosen.directory_table, ("kind", "name")))
    jobs = JobStore(ledger, chosen.index_shards, ConcurrencyCounts(directory.table))
    insights_table = Table(dynamodb, chosen.insights_table, ("view", "key"))
    insights = Insights(insights_table)
    search = SearchIndex(insights_table, LOCAL_PARALLEL if chosen.local else PARALLEL)
    job_types = JobTypes(handlers, directory, insights)
    transport = SqsTransport(sqs, chosen.base_name, Lane(DEFAULT_POOL, Band.NORMAL))
    return Yard(
        settings=chosen,
        jobs=jobs,
        lists=JobLists(ledger, jobs, search, job_types),
        job_types=job_types,
        payloads=PayloadStore(ledger, objects, chosen.objects_bucket, chosen.payload_max_bytes),
        job_details=JobDetails(ledger),
        directory=directory,
        concurrency=jobs.concurrency,
        wait_lists=WaitLists(directory.table),
        pauses=Pauses(directory.table),
        deployments=Deployments(directory.table),
        canaries=Canaries(directory.table),
        acts=Acts(directory.table),
        bulk_acts=BulkActs(directory.table),
        rates=Rates(directory.table),
        flow_marks=FlowMarks(directory.table),
        flow_settings=FlowSettings(directory.table),
        schedules=Schedules(directory.table),
        applications=Applications(directory.table),
        graphs=Graphs(ledger),
        insights=insights,
        search=search,
        transport=transport,
        objects=objects,
        handlers=handlers,
        ids=JobIds(directory.take_id_block),
        now_ms=now_ms or ledger_clock,
        random_bytes=random_bytes,
        worker_name=f"{socket.gethostname()}-{os.getpid()}",
        exit_process=exit_process,
    )
