"""``taskyard top``: the overview and the newest failures in a terminal, live; works over ssh."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from chalicelib.cli.common import calls_service
from chalicelib.cli.http_client import Refused, Service, Unreachable
from chalicelib.cli.numbers import Number
from chalicelib.cli.output import show_json

if TYPE_CHECKING:
    from chalicelib.cli.top_frame import Seen

WINDOWS = ("15m", "1h", "6h", "24h", "7d", "30d")
WAIT_MAX_S = 60.0  # between two refreshes while the service does not answer
PLAIN_COLUMNS = 80  # where there is no terminal
END = "q"

Keys = Callable[[float], str]
"""Waits so many seconds at most for a key, and returns it, or nothing."""


@click.command()
@click.option("--window", type=click.Choice(WINDOWS), default="1h", show_default=True, help="What to look back at.")
@click.option("--interval", type=Number(1, 3_600), default=2.0, show_default=True, metavar="SECONDS")
@click.option("--once", is_flag=True, help="Print it once and exit; so it is without a terminal.")
@calls_service
def top(service: Service, as_json: bool, window: str, interval: float, once: bool) -> None:
    """Show how the installation is doing, live: throughput, queues, health, the newest failures. q or Ctrl-C ends it.

    The key needs the scope console. A type that is paused has two bars before its name.
    """
    if as_json:
        show_json(_asked(service, window))
        return
    _expect_rich()
    seen = _asked(service, window)
    if once or not sys.stdout.isatty():
        _print(service, seen)
    else:
        with suppress(KeyboardInterrupt), _keys() as pressed:
            _follow(service, window, interval, seen, pressed)


def _expect_rich() -> None:
    if find_spec("rich") is None:
        raise click.ClickException(
            "taskyard top draws with rich, which is not installed: "
            "pip install -c requirements-dev.lock -e '.[local,top]', or ask for --json"
        )


def _print(service: Service, seen: Seen) -> None:
    from rich.console import Console

    from chalicelib.cli.top_frame import frame

    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS, highlight=False)
    console.print(frame(seen, service.url))


def _asked(service: Service, window: str) -> Seen:
    seen: Seen = service.get("/api/overview", {"window": window})
    return seen


def _follow(service: Service, window: str, interval_s: float, seen: Seen, pressed: Keys) -> None:
    """Ask again and again, less often while nobody answers, until somebody presses q."""
    from rich.live import Live

    from chalicelib.cli.top_frame import frame

    wait_s = interval_s
    with Live(frame(seen, service.url), screen=True, auto_refresh=False) as live:
        while pressed(wait_s) != END:
            problem = None
            try:
                seen, wait_s = _asked(service, window), interval_s
            except (Refused, Unreachable) as error:
                problem, wait_s = str(error), min(2 * wait_s, WAIT_MAX_S)
            live.update(frame(seen, service.url, problem), refresh=True)


@contextmanager
def _keys() -> Iterator[Keys]:
    """Gives what waits for keys; without a terminal to read them from, what only waits."""
    try:
        import termios
        import tty
    except ImportError:  # on Windows
        yield _slept
        return
    if not sys.stdin.isatty():
        yield _slept
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _pressed(wait_s: float) -> str:
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return sys.stdin.read(1) if ready else ""


def _slept(wait_s: float) -> str:
    time.sleep(wait_s)
    return ""
