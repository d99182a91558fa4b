"""The templates as they are deployed, applied to each emulator and read back from the services."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from chalicelib import aws
from chalicelib.core.lanes import Band
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.functions import function_name, functions_of
from infra.roles import role_id
from infra.template import events_template, template
from tests.infra import readback
from tests.infra.emulator_differences import NOT_MADE
from tests.infra.readback import Applied, Part
from tests.support import backends

# moto's word for what it leaves out, which is declared.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")

PAGE = Path(__file__).parents[2] / "docs" / "emulators.md"
TITLES = {"moto": "moto", "ministack": "MiniStack", "dynamodb_local": "DynamoDB Local", "localstack": "LocalStack"}
DEV = Settings(stage="dev")
CONSUMED = {"orders": (Band.HIGH, Band.LOW)}
EMULATORS = tuple(name for name in NOT_MADE if backends.missing(name) is None)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Callable[[], Emulator]]:
    """Returns the embedded emulator of these tests."""
    with backends.embedded_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module", params=EMULATORS)
def applied(request: pytest.FixtureRequest, embedded: Callable[[], Emulator]) -> Iterator[tuple[str, Applied]]:
    """An installation of stage dev on each emulator that is here, its functions empty; the emulator's name with it."""
    with backends.connected(request.param, embedded, DEV) as settings, _installed(settings) as made:
        yield request.param, made


@contextmanager
def _installed(settings: Settings) -> Iterator[Applied]:
    built = template(settings, CONSUMED)
    report = stack.apply(settings, built)
    _make_functions(settings, report.outputs)
    events = events_template(settings, CONSUMED, report.outputs)
    calling = f"{settings.base_name}-events"
    stack.apply(settings, events, name=calling)
    yield Applied(
        settings,
        aws.client("sts").get_caller_identity()["Account"],
        {**built["Resources"], **events["Resources"]},
        report.outputs,
        report.completed,
    )
    stack.remove(calling)  # nobody shall go on polling the queues


def _make_functions(settings: Settings, outputs: Mapping[str, str]) -> None:
    """Functions that do nothing, under the names that Chalice gives them."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handle(event, context): return None")
    for function in functions_of(settings):
        aws.client("lambda").create_function(
            FunctionName=function_name(settings, function),
            Runtime="python3.11",
            Role=outputs[f"{role_id(function)}Arn"],
            Handler="app.handle",
            Code={"ZipFile": code.getvalue()},
        )


def test_everything_is_made_but_what_is_declared_missing(applied: tuple[str, Applied]) -> None:
    emulator, made = applied

    differences = readback.differences(readback.wanted(made), readback.found(made))

    assert differences == {part: lack.found for part, lack in NOT_MADE[emulator].items()}


def test_every_type_of_resource_is_read_back(applied: tuple[str, Applied]) -> None:
    _, made = applied
    assert {resource["Type"] for resource in made.resources.values()} <= readback.TYPES


def test_a_second_apply_finds_nothing_to_do(applied: tuple[str, Applied]) -> None:
    _, made = applied
    before = readback.found(made)

    report = stack.apply(made.settings, template(made.settings, CONSUMED))

    assert report.completed == ()
    assert readback.found(made) == {**before, Part.EXPIRY: before[Part.EXPIRY]}


@pytest.mark.parametrize("emulator", NOT_MADE)
def test_the_page_tells_what_each_emulator_does_not_make(emulator: str) -> None:
    _, _, section = PAGE.read_text().partition(f"| | {TITLES[emulator]} |\n|---|---|\n")
    rows, _, _ = section.partition("\n\n")
    assert rows.splitlines() == [f"| {part} | {lack.told} |" for part, lack in NOT_MADE[emulator].items()]


def test_the_page_tells_what_each_does_otherwise_than_aws() -> None:
    _, _, section = PAGE.read_text().partition("| | |\n|---|---|\n")
    rows, _, _ = section.partition("\n\n")
    assert rows.splitlines() == [
        f"| {TITLES[backend]} | {told} |"
        for backend, differences in backends.DIFFERENCES.items()
        for told in differences.values()
    ]
