"""The command that checks a deployed installation."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from chalicelib.cli.common import REFUSED, choose_deployed, endpoint_option, explained, json_option, stage_option
from chalicelib.cli.output import show_json
from chalicelib.local.terminal import say, styled

if TYPE_CHECKING:  # the libraries of AWS are loaded when a command runs, not when it is listed
    from infra.doctor.findings import Finding
    from infra.doctor.installation import Checkout
    from infra.doctor.report import Report

COLORS = {"wrong": "red", "warn": "yellow", "unknown": "cyan", "ok": "green"}
LEVEL_CHARS = 8  # the longest level and a space


@click.command()
@stage_option
@endpoint_option
@click.option("--all", "every", is_flag=True, help="Show what is as it should be, too.")
@json_option
def doctor(stage: str, endpoint_url: str | None, every: bool, as_json: bool) -> None:
    """Examine a deployed installation, and say what to mend. Changes nothing.

    Exit code 1 when something is wrong. A warning does not count, nor does what could not be seen.
    """
    with explained():
        choose_deployed(stage, endpoint_url)
        from infra.doctor.report import run_checks

        report = run_checks(checkout_here())
        findings = report.findings if every else report.problems
        show_json(_document(report, findings)) if as_json else show(report, findings)
        if not report.healthy:
            sys.exit(REFUSED)


def checkout_here() -> Checkout:
    """What this checkout would deploy to the stage that this process works on."""
    from chalicelib import settings
    from chalicelib.engine.handlers.registry import registry
    from chalicelib.engine.projections.events import decided
    from infra.deploy.stages import config_of
    from infra.doctor.api import application_routes
    from infra.doctor.flow import flows_of
    from infra.doctor.installation import Checkout

    return Checkout(
        settings=decided(settings.current(), registry()),
        config=config_of(),
        consumed=registry().queues,
        routes=application_routes(),
        light=registry().light,
        batches=registry().batches,
        flows=flows_of(registry()),
    )


def show(report: Report, findings: Iterable[Finding]) -> None:
    """``findings`` by area, each with its remedy below it; then how many there are of each level."""
    from infra.doctor.findings import Level

    by_area: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_area[finding.area].append(finding)
    for area, group in by_area.items():
        say(area, bold=True)
        for finding in group:
            _show_finding(finding)
    counts = ", ".join(f"{report.counts[level]} {level}" for level in reversed(Level) if report.counts[level])
    say(f"{report.installation}: {counts}")


def _show_finding(finding: Finding) -> None:
    level = styled(finding.level.ljust(LEVEL_CHARS), sys.stdout, fg=COLORS[finding.level])
    fine = finding.found == finding.expected
    found = finding.found if fine else f"expected {finding.expected}, found {finding.found}"
    say(f"  {level}{finding.subject}: {finding.what}: {found}")
    if finding.remedy:
        say(f"  {' ' * LEVEL_CHARS}{finding.remedy}", dim=True)


def _document(report: Report, findings: Iterable[Finding]) -> dict[str, object]:
    from infra.doctor.findings import Level

    return {
        "installation": report.installation,
        "healthy": report.healthy,
        "counts": {level: report.counts[level] for level in Level},
        "findings": [asdict(finding) for finding in findings],
    }
