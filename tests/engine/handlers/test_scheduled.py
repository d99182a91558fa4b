"""``@schedule``: what could never run is refused when the code is read, with file and line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from chalicelib import schedule, subscribe, task
from chalicelib.core.errors import TaskyardError
from chalicelib.engine.handlers.registry import Registry


class Order(BaseModel):
    """What the handlers take."""

    day: str
    count: int = 1


def on_task(*args: Any, **said: Any) -> Any:
    @schedule(*args, **said)
    @task("order")
    def handle(_: Order) -> None: ...

    return handle


def on_topic(*args: Any, **said: Any) -> Any:
    @schedule(*args, **said)
    @subscribe("order")
    def handle(_: Order) -> None: ...

    return handle


GOOD = {"day": "{{slot}}"}


@pytest.mark.parametrize("beside", [on_task, on_topic])
@pytest.mark.parametrize(
    ("args", "said", "problem"),
    [
        (["0 3 * *"], {}, "cron: there are 4 fields"),
        (["0 25 * * *"], {}, "cron: the hour is out of range"),
        (["0 3 * * *"], {"tz": "Europe/Berlni"}, "tz: this is no time zone"),
        (["0 3 * * *"], {"overlap": "skp"}, "overlap: there is no such choice"),
        (["0 3 * * *"], {"missed": "none"}, "missed: there is no such choice"),
        (["0 3 * * *"], {"every_s": 60}, "every_s: a schedule has one time"),
        ([], {"every_s": 60, "jitter_s": 4_000}, "jitter_s: this value is out of range"),
        (["0 3 * * *"], {"input": {"day": 3}}, "input.day: order cannot take this input"),
        (["0 3 * * *"], {"input": {}}, "input.day: order cannot take this input"),
        (["0 3 * * *"], {"input": {"day": "{{slot}}", "count": "{{schedule}}"}}, "input.count: order cannot take"),
        (["0 3 * * *"], {"input": {"day": "x" * 262_144}}, "(task|message): a schedule cannot hold so much"),
    ],
)
def test_what_could_never_run_is_refused_where_it_stands(
    beside: Any, args: list[str], said: dict[str, Any], problem: str
) -> None:
    function = beside(*args, **{"input": GOOD, **said})
    with pytest.raises(TaskyardError, match=rf"^{problem}.* \(.*test_scheduled\.py:\d+\)"):
        Registry.of([function])


def test_two_schedules_of_one_name_are_named_both() -> None:
    one, other = on_task("0 3 * * *", name="n", input=GOOD), on_topic("0 3 * * *", name="n", input=GOOD)
    with pytest.raises(
        TaskyardError, match=r"n: two schedules have one name.*_scheduled\.py:\d+\).*_scheduled\.py:\d+\)"
    ):
        Registry.of([one, other])


def test_what_can_run_is_taken() -> None:
    functions = [on_task("0 3 * * *", name="a", input=GOOD), on_topic("@daily", name="b", input=GOOD)]
    assert list(Registry.of(functions).schedules) == ["a", "b"]


@pytest.mark.parametrize("beside", [on_task, on_topic])
def test_it_is_on_behalf_of_whom_it_says(beside: Any) -> None:
    declared = Registry.of([beside("0 3 * * *", name="of-acme", input=GOOD, tenant="acme")])
    assert declared.schedules["of-acme"].work["tenant"] == "acme"
    with pytest.raises(TaskyardError, match="tenant: this can be no tenant"):
        beside("0 3 * * *", tenant="two words")
