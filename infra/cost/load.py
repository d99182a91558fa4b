"""What is deployed, and the jobs that it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.lanes import Band
from chalicelib.engine import cost_figures as figures
from chalicelib.engine.cost_figures import Attempt, Place, place_of
from chalicelib.settings import FUNCTION_TIMEOUT_MAX_S, Settings
from infra.deploy.stages import CONFIG, Config, architecture_of, function_config
from infra.events import NO_BATCHES, Batches
from infra.fragment import Fragment
from infra.functions import Function, functions_of
from infra.queues import lanes_of
from infra.template import events_template, template

CHALICE_MEMORY_MB = 128  # of a function for which the configuration names none
FUNCTION_MAX_MS = FUNCTION_TIMEOUT_MAX_S * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take on AWS: assumed, as no emulator tells; a function's REPORT lines do."""

    request_ms: float = 10.0  # one request to DynamoDB, SQS or S3
    invocation_ms: float = 10.0  # an invocation, beside its requests and the handlers that it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is deployed: settings, the resources of both templates, and the memory of each function in MB."""

    settings: Settings
    resources: Mapping[str, Fragment]
    queues: int
    types: int  # of tasks and messages, that the code declares
    memory_mb: Mapping[Function, int]
    arm: bool = False  # whether the functions run on arm64
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Jobs of one sort. A payload is so many bytes of JSON; ``attempts`` are a job's average, 1 or more."""

    jobs: int
    payload_bytes: int = 1_024
    attempts: float = 1.0
    run_ms: float = 100.0  # what a handler takes for an attempt
    polled: bool = False  # by a client, instead of being run by a worker
    bulk: bool = False  # published a hundred at a time, or as many as one request may carry
    light: bool = False  # run by light handlers
    from_kafka: bool = False  # records of Kafka, which Lambda brings in full batches; nobody publishes them
    slots: int = 0  # of schedules, each handed over by itself; their jobs are beside them

    def checked(self, settings: Settings) -> Load:
        """This load, as it is stored, or ``InvalidInput`` naming what cannot be."""
        _expect(self.jobs >= 0, "jobs", "0 or more", self.jobs)
        at_most = settings.payload_max_bytes
        _expect(0 <= self.payload_bytes <= at_most, "payload-bytes", f"0 to {at_most}", self.payload_bytes)
        _expect(1 <= self.attempts <= ATTEMPTS_MAX, "attempts", f"1 to {ATTEMPTS_MAX}", self.attempts)
        _expect(0 <= self.run_ms <= FUNCTION_MAX_MS, "run-ms", f"0 to {FUNCTION_MAX_MS}", self.run_ms)
        _expect(self.slots >= 0, "slots", "0 or more", self.slots)
        _expect(not (self.light and self.polled), "light", "jobs that a worker runs", "polled ones")
        if not self.from_kafka:
            return self
        self._expect_kafka(settings)
        _expect(not (self.bulk or self.polled), "from-kafka", "records that a worker runs", "published or polled jobs")
        return replace(self, payload_bytes=self.payload_bytes + figures.RECORD_META_BYTES)

    def _expect_kafka(self, settings: Settings) -> None:
        if Function.KAFKA not in functions_of(settings):
            raise InvalidInput(
                f"the stage {settings.stage} brings nothing in from Kafka",
                field="from-kafka",
                expected=f'a topic with "direction": "in" in TASKYARD_KAFKA_TOPICS of that stage in {CONFIG}',
                got="none",
                remedy="add it there, or name a stage that has one with --stage; the shell's variables do not count",
            )

    @property
    def success(self) -> Attempt:
        """What a worker's attempt takes that succeeds."""
        return figures.SUCCEEDED_LIGHT if self.light else figures.SUCCEEDED

    @property
    def place(self) -> Place:
        """Where the bodies are."""
        return place_of(self.payload_bytes)

    @property
    def message_bytes(self) -> int:
        """The size of a job's SQS message; a body in the bucket does not travel in it."""
        return figures.ENVELOPE_BYTES + (0 if self.place is Place.OBJECT else self.payload_bytes)


def deployment(
    settings: Settings,
    consumed: Mapping[str, Sequence[Band]],
    types: int,
    config: Config,
    batches: Batches = NO_BATCHES,
) -> Deployment:
    """What a stage deploys, by its settings, the queues that its code consumes, how many types of jobs it declares,
    Chalice's configuration, and what its queues gather.
    """
    base = template(settings, consumed)
    outputs = {name: name for name in base["Outputs"]}  # stand-ins: what is deployed does not depend on them
    return Deployment(
        settings=settings,
        resources={**base["Resources"], **events_template(settings, consumed, outputs, batches)["Resources"]},
        queues=len({lane.queue for lane in lanes_of(consumed)}),
        types=types,
        memory_mb={
            function: function_config(config, settings.stage, function, "lambda_memory_size") or CHALICE_MEMORY_MB
            for function in functions_of(settings)
        },
        arm=architecture_of(settings.stage, config) == "arm64",
    )


def _expect(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise InvalidInput("there is no such load", field=name, expected=expected, got=got)
