"""What the comparison reads and prints: CPU from /proc, roles, and the table."""

from __future__ import annotations

from functools import partial

import pytest

from tests.benchmarks.head_to_head.family import TICKS_A_S, cpu_s_of, is_runnable, role_of
from tests.benchmarks.head_to_head.measures import Measure, at_least, at_most, details, one, ratio, table

ROUNDS = [
    {"ours": {"cpu_ms": 2.0, "rate": 300.0}, "theirs": {"cpu_ms": 8.0}},
    {"ours": {"cpu_ms": 3.0, "rate": 100.0}, "theirs": {"cpu_ms": 6.0}},
    {"ours": {"cpu_ms": 3.0, "rate": 200.4, "requests": 2.0}, "theirs": {"cpu_ms": 7.5}},
    {"once": {"units": 4.302}},
]


def test_the_cpu_of_a_process_and_of_its_ended_children() -> None:
    stat = f"71 (a ) b) S 1 71 71 0 -1 4194304 9 9 9 9 {TICKS_A_S} {2 * TICKS_A_S} {3 * TICKS_A_S} {4 * TICKS_A_S} 20 0"
    assert cpu_s_of(stat) == 10
    assert not is_runnable(stat)
    assert is_runnable(stat.replace(" S ", " R "))


def test_a_process_that_has_ended() -> None:
    assert cpu_s_of("") == 0
    assert not is_runnable("")


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("/venv/bin/python -m chalicelib.local.function_process worker", "worker"),
        ("/venv/bin/python -m chalicelib.local.function_process dead_letters", "dead_letters"),
        ("/venv/bin/python -m chalicelib.local.api_process 5", "api"),
        ("/venv/bin/python -m celery -A celery_app worker", "others"),
    ],
)
def test_the_role_of_a_process(command: str, role: str) -> None:
    assert role_of(command) == role


def test_the_table() -> None:
    measures = (
        Measure("ours to theirs", partial(ratio, "cpu_ms", "ours", "theirs"), at_most(0.4), at_most(0.25)),
        Measure("rate", partial(one, "ours", "rate"), at_least(201)),
        Measure("better", partial(one, "ours", "rate"), at_least(100), at_least(200)),
        Measure("units", partial(one, "once", "units"), at_most(4.3)),
        Measure("stretch alone", partial(one, "once", "units"), None, at_most(4)),
        Measure("light", partial(one, "light", "cpu_ms"), None, at_most(1 / 6)),
    )
    assert table(ROUNDS, measures).splitlines() == [
        "measure         median [min-max]  must    stretch   holds",
        "ours to theirs  0.4 [0.25-0.5]    <= 0.4  <= 0.25   yes",
        "rate            200 [100-300]     >= 201  -         NO",
        "better          200 [100-300]     >= 100  >= 200    yes, and the stretch",
        "units           4.3 [4.3-4.3]     <= 4.3  -         yes",
        "stretch alone   4.3 [4.3-4.3]     -       <= 4      not the stretch",
        "light           not measured      -       <= 0.167  -",
    ]


def test_every_figure_of_every_contender() -> None:
    assert details(ROUNDS).splitlines() == [
        "ours",
        "  cpu_ms    3 [2-3]",
        "  rate      200 [100-300]",
        "  requests  2 [2-2]",
        "theirs",
        "  cpu_ms    7.5 [6-8]",
        "once",
        "  units     4.3 [4.3-4.3]",
    ]


def test_nothing_measured() -> None:
    assert details([]) == ""
    assert table([], ()) == "measure  median [min-max]  must  stretch  holds"
