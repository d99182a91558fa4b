"""Every option that is a number: a bad one is told with its range, in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from chalicelib.cli.main import main
from chalicelib.cli.numbers import Number, Whole


def _parameters(group: click.Group, *path: str) -> Iterator[tuple[str, click.Parameter]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _parameters(command, *path, name)
        else:
            yield from ((" ".join((*path, name)), each) for each in command.params)


NUMBERS = [
    (command, each)
    for command, each in _parameters(main)
    if isinstance(each.type, click.types.IntParamType | click.types.FloatParamType)
]


def test_all_numbers_are_ours() -> None:
    assert len(NUMBERS) > 20
    assert [(command, each.name) for command, each in NUMBERS if not isinstance(each.type, Number | Whole)] == []


@pytest.mark.parametrize("parameter", [pytest.param(each, id=f"{command} {each.name}") for command, each in NUMBERS])
@pytest.mark.parametrize("bad", ["abc", "nan", "inf", "", "-1e400", "1" * 5_000])
def test_a_bad_number_is_told_with_its_range(parameter: click.Parameter, bad: str) -> None:
    bound = parameter.type
    assert isinstance(bound, Number | Whole)
    if bad.isdigit() and bound.max is None:
        return
    with pytest.raises(click.BadParameter) as refused:
        bound.convert(bad, parameter, None)
    assert refused.value.message.startswith("expected a ")
    for end in (bound.min, bound.max):
        assert end is None or f"{end:g}" in refused.value.message or str(int(end)) in refused.value.message
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--concurrency", "0"], "expected a whole number, 1 to 1000, got 0"),
        (["--concurrency", "abc"], "expected a whole number, 1 to 1000, got abc"),
        (["--debounce", "nan"], "expected seconds, 0.001 to 604800, or off; got nan"),
        (["--debounce", "0"], "expected seconds, 0.001 to 604800, or off; got 0"),
        (["--rate", "0/s"], "expected a count of 1 to 1000000 in 0.001 s to 2678400 s, got 0/s"),
        (["--rate", "1/40d"], "expected a count of 1 to 1000000 in 0.001 s to 2678400 s, got 1/40d"),
        (["--unique", "end", "--unique-for", "nan"], "expected a number, 0.001 to 2678400, got nan"),
    ],
)
def test_flow_control_is_told_in_options(given: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["flow", "set", "t", *given])
    assert (result.exit_code, "body" in result.stderr) == (2, False)
    assert text in result.stderr
