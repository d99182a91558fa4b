"""The report on an installation: what all checks of it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from chalicelib import aws
from chalicelib.clocks import wall_clock_ms
from infra.deploy.stack import stack_name
from infra.doctor import api, flow, functions, live, queues, sources, stacks, storage, watch
from infra.doctor.checks import run_all
from infra.doctor.findings import Finding, Level
from infra.doctor.installation import Checkout, found

STATIC = (stacks, storage, queues, functions, sources, api, watch)
# Clients are made before the threads start: making one is not safe in two threads at a time.
SERVICES = ("apigateway", "cloudformation", "cloudwatch", "dynamodb", "events", "iam", "lambda", "logs", "s3", "sqs")


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks of an installation found."""

    installation: str  # its base name
    findings: Sequence[Finding]

    @property
    def counts(self) -> Counter[Level]:
        """How many findings of each level there are."""
        return Counter(finding.level for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings, and what could not be seen, may be."""
        return self.counts[Level.WRONG] == 0

    @property
    def problems(self) -> list[Finding]:
        """What is not as it should be, or could not be seen."""
        return [finding for finding in self.findings if finding.level is not Level.OK]


def run_checks(checkout: Checkout, *, alive: bool = True, now_ms: Callable[[], int] = wall_clock_ms) -> Report:
    """Check the installation of ``checkout``'s stage; with ``alive``, whether it moves as well as how it is made.

    Changes nothing. Where no stack is there, that is all it says. Raises what botocore raises when AWS cannot be
    asked at all (no credentials, no endpoint); what AWS refuses later is told as findings.
    """
    installation = found(checkout, now_ms)
    for service in SERVICES:
        aws.client(service)
    settings = checkout.settings
    if not installation.whole and stack_name(settings) not in installation.stacks:
        return Report(settings.base_name, run_all(stacks.checks(installation)))
    modules = (*STATIC, live, flow) if alive else STATIC
    checks = chain.from_iterable(module.checks(installation) for module in modules)
    return Report(settings.base_name, run_all(list(checks)))
