"""The command line, asked whether it has what is written of it."""

from __future__ import annotations

import click

from chalicelib.cli.main import main


def fits(words: list[str]) -> bool:
    """Whether a command takes these arguments; a group may be named with the names of several. Fails without one."""
    command, rest = named(words)
    _, left_over, _ = command.make_parser(click.Context(command)).parse_args(rest)
    return isinstance(command, click.Group) or not left_over


def named(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``words`` name, and the arguments it is given. Fails when there is none."""
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"no command taskyard {' '.join(words)}"
        command, rest = found, rest[1:]
    return command, rest
