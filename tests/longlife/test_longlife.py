"""A short life: what is sampled of whom, that no client is refused, and what a slope is. Long: ``tests.longlife``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.longlife.real import live
from tests.longlife.samples import Log, Sample, read
from tests.longlife.simulated import simulate
from tests.longlife.slopes import line, slopes
from tests.support.up import Service

PROCESSES = {"supervisor", "emulator", "api", "worker", "clock", "projector", "hooks", "dead_letters"}
TABLES = {"jobs", "directory", "insights"}


def test_a_short_life(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    lived = live(tmp_path, Log(path), seconds=3, rate=25, every_s=1)
    assert not lived.troubles
    assert {"task", "retried task", "canceled task", "polled message", "graph", "read", "scrape"} <= set(lived.acts)
    assert lived.kinds["taskyard-local-jobs", "state"] > 20
    samples = list(read(path))
    assert {each.who.split()[0] for each in samples} == PROCESSES | {"table"}
    assert {each.who.rsplit("-", 1)[1] for each in samples if each.measure == "items"} == TABLES
    values = {(each.who.split()[0], each.measure): each.value for each in samples}
    for process in PROCESSES:
        assert values[process, "rss_mib"] > 1
        assert values[process, "files"] >= 3
        assert values[process, "threads"] >= 1
    assert values["emulator", "connections"] >= values["api", "connections"] > 0


def test_a_life_that_ends_unwell_is_told() -> None:
    class Unwell(Service):
        def call(self, *_: Any, **__: Any) -> Any:
            return 503, {"status": "degraded", "endpoint": "http://127.0.0.1:4566"}

    service = Unwell(process=cast(Any, None), port=8000, log=Path("up.log"), spawn=cast(Any, None))
    assert service.endpoint_url == "http://127.0.0.1:4566"


def test_a_line_through_points_and_how_sure_it_is() -> None:
    assert line([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == (2.0, 0.0)
    slope, error = line([(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 1.0)])
    assert (slope, error) == (pytest.approx(0.2), pytest.approx(0.2828, abs=1e-4))


@pytest.mark.parametrize(
    ("an_hour", "swing", "verdict"),
    [(0, 0, "flat"), (-9, 0, "flat"), (0.9, 0, "flat"), (1.1, 0, "grows"), (9, 1, "grows"), (0, 9, "unclear")],
)
def test_what_is_flat(an_hour: float, swing: float, verdict: str) -> None:
    minutes = [Sample(60.0 * n, "api 1", "rss_mib", 80 + an_hour * n / 60 + swing * (n // 10 % 2)) for n in range(100)]
    warming = [Sample(-60.0 * n, "api 1", "rss_mib", 0.0) for n in range(1, 9)]
    (slope,) = slopes([*warming, *minutes], from_s=0)
    assert slope.verdict == verdict


def test_of_what_was_seen_too_shortly_there_is_no_slope() -> None:
    assert slopes([Sample(60.0 * n, "worker 1", "files", 5.0) for n in range(15)], from_s=0) == []


def test_what_is_done_goes_with_its_time() -> None:
    *_, before, after = simulate(minutes=60, kept_s=600, every_min=10, sampled_min=20)
    earlier, later = (
        {(each.who, each.measure): each.value for each in samples if each.who.startswith("table")}
        for samples in (before, after)
    )
    assert later["table taskyard-local-jobs", "tombstone"] > 10
    assert later["table taskyard-local-insights", "word"] > 10
    grown = {what: later.get(what, 0) - earlier.get(what, 0) for what in earlier | later}
    assert {what for what, growth in grown.items() if growth > 3} == set()
