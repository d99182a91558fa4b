"""What the doctor finds of flow control: settings that bound nothing, rates that starve, pauses that were forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.flow import Flow, PerKey, Rate
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.limits import count_of_type
from chalicelib.core.reasons import Place
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker.pause import key_target
from chalicelib.store.flow_settings import FlowSetting, FlowSettings
from chalicelib.store.pauses import Pauses
from chalicelib.store.wait_lists import WaitLists, of_rate
from infra.doctor.findings import Finding
from infra.doctor.flow import DAY_MS, flows_of
from tests.support.patient import Patient, rendered

SLOW = Rate(1, per_s=3_600)


@task("resize", key="input.customer", per_key=PerKey(concurrency=2))
@task("plain")
@task("slow", rate=SLOW)
def of_tasks(_: Any) -> None:
    """Do nothing."""


@subscribe("orders", key="input.customer")
def of_messages(_: Any) -> None:
    """Do nothing."""


@pytest.fixture
def declared(patient: Patient) -> Patient:
    patient.checkout = replace(patient.checkout, flows=flows_of(Registry.of([of_tasks, of_messages])))
    return patient


def flow_problems(patient: Patient) -> list[Finding]:
    problems = patient.problems(alive=True)
    assert {each.area for each in problems} <= {"flow control"}
    return problems


def set_flow(patient: Patient, target: FlowTarget, controls: FlowControls = FlowControls(concurrency=1)) -> None:  # noqa: B008  # frozen
    FlowSettings(patient.directory.table).put(FlowSetting(target, controls, patient.now_ms, "ops"))


def test_flows_are_those_of_types_and_topics() -> None:
    found = flows_of(Registry.of([of_tasks, of_messages]))
    assert found[count_of_type(Kind.TASK, "plain")] == Flow()
    assert found[count_of_type(Kind.TASK, "slow")].rate == SLOW
    assert found[count_of_type(Kind.MESSAGE, "orders")].key == "input.customer"


def test_settings_that_bound_what_there_is(declared: Patient) -> None:
    declared.directory.note_type(Kind.MESSAGE, "polled")
    for target in (
        FlowTarget(Kind.TASK, "resize"),
        FlowTarget(Kind.TASK, "resize", "c-7"),
        FlowTarget(Kind.TASK, "plain"),
        FlowTarget(Kind.MESSAGE, "orders", "c-7"),
        FlowTarget(Kind.MESSAGE, "polled"),
    ):
        set_flow(declared, target)
    assert flow_problems(declared) == []


@pytest.mark.parametrize(
    ("target", "subject", "found", "remedy"),
    [
        (FlowTarget(Kind.TASK, "resise"), "resise", "nothing: no handler takes such jobs", "resise"),
        (
            FlowTarget(Kind.MESSAGE, "ordres", "c 7"),
            "ordres, key c 7",
            "nothing: no handler takes such jobs",
            "--topic ordres --key 'c 7'",
        ),
        (
            FlowTarget(Kind.TASK, "plain", "c-7"),
            "plain, key c-7",
            "only jobs that are published with this flow key: no handler of the type declares a key",
            "plain --key c-7",
        ),
    ],
)
def test_a_setting_that_bounds_nothing(
    declared: Patient, target: FlowTarget, subject: str, found: str, remedy: str
) -> None:
    set_flow(declared, target)
    (problem,) = flow_problems(declared)
    assert rendered(problem) == ("warn", subject, "bounds", found)
    assert problem.remedy == f"taskyard flow unset {remedy}, or deploy what it is for"


def test_a_setting_of_a_light_handler(declared: Patient) -> None:
    declared.checkout = replace(declared.checkout, light=["plain"])
    set_flow(declared, FlowTarget(Kind.TASK, "plain"))
    (problem,) = flow_problems(declared)
    assert problem.found == "nothing: its handler is light, and those run without a claim"


@pytest.mark.parametrize(
    ("waiting", "found"),
    [
        (Place(24, True), None),
        (Place(25, True), "25 jobs, of which the last begins in 25 hours"),
        (Place(100, False), "at least 100 jobs, of which the last begins in at least 100 hours"),
    ],
)
def test_a_rate_behind_which_more_waits_than_a_day_takes(
    declared: Patient, monkeypatch: pytest.MonkeyPatch, waiting: Place, found: str | None
) -> None:
    monkeypatch.setattr(WaitLists, "length", lambda _, name: waiting if name == of_rate("slow") else Place(0, True))
    problems = flow_problems(declared)
    assert [problem.found for problem in problems] == ([] if found is None else [found])
    set_flow(declared, FlowTarget(Kind.TASK, "slow"), FlowControls(rate=Rate(100)))
    assert flow_problems(declared) == []  # what is set counts


def test_a_key_that_was_paused_and_forgotten(declared: Patient) -> None:
    pauses = Pauses(declared.directory.table)
    pauses.begin(key_target("resize", "c-7"), declared.now_ms - 3 * DAY_MS, "ops")
    pauses.begin(key_target("resize", "c-8"), declared.now_ms - DAY_MS + 1, "ops")
    (problem,) = flow_problems(declared)
    assert rendered(problem) == ("warn", "resize, key c-7", "paused", "for 3 days by ops")
    assert problem.remedy == "taskyard flow resume resize --key c-7"
