"""What is loaded while Lambda starts a process: all that its one function needs, and nothing of the others.

Lambda gives the start of a process a whole CPU, and an invocation only what the function's memory buys. So what a
process will need is better imported before its first event. Which function it is, Lambda says in ``_HANDLER``
("Lambda environment variables" in its developer guide); on this machine nothing is loaded ahead.
"""

from __future__ import annotations

from importlib import import_module

from chalicelib.http.late import LateChalice

API = "app.app"
FUNCTIONS = frozenset({"worker", "dead_letters", "clock", "projector", "hooks", "kafka"})


def load_ahead(app: LateChalice, handler: str) -> None:
    """Import what the function of ``handler`` (``app.worker``) needs; nothing for any other name."""
    name = handler.removeprefix("app.")
    if handler == API:
        _ = app.routes
    elif name in FUNCTIONS:
        import_module(f"chalicelib.functions.{name}")
