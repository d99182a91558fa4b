"""What ``taskyard top`` shows of an overview; 80 columns are enough for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chalicelib.core.texts import shortened
from chalicelib.local.terminal import harmless

QUEUES_SHOWN = 12
FAILURES_SHOWN = 6
TYPE_MAX_CHARS = 22  # so that a row fits into 80 columns
BARS = " ▁▂▃▄▅▆▇█"
SPARKS = 40
STYLE_OF = {"ok": "green", "late": "red", "missing": "red", "unknown": "dim"}

Seen = Mapping[str, Any]
"""What ``/api/overview`` answers."""


def frame(seen: Seen, url: str, problem: str | None = None) -> Group:
    """What is shown of an overview; ``problem``: why it is not newer."""
    parts: list[RenderableType] = [_head(seen, url), _numbers(seen), _series(seen)]
    parts += [_queues(seen["queues"], seen["queuesLeftOut"]), _health(seen), _failures(seen["newestFailures"])]
    if problem is not None:
        parts.append(Text(harmless(problem), style="bold red"))
    return Group(*parts)


def _head(seen: Seen, url: str) -> Text:
    since = seen["changed"]["since"]
    deployed = "" if since is None else f", deployed {_short_time(since)}"
    return Text.assemble(
        ("taskyard ", "bold"), f"{url}  {_short_time(seen['now'])} UTC, last {seen['window']}{deployed}"
    )


def _numbers(seen: Seen) -> Table:
    totals, happened = seen["totals"], seen["inWindow"]
    ratio = happened["successRatio"]
    cells = {
        "pending": (totals["pending"], ""),
        "running": (totals["running"], "cyan"),
        "waiting": (totals["waiting"], ""),
        "accepted": (happened["accepted"], ""),
        "succeeded": (happened["succeeded"], "green"),
        "failed": (happened["failed"], "red" if happened["failed"] else ""),
        "retried": (happened["retried"], ""),
        "success": ("-" if ratio is None else f"{100 * ratio:.1f} %", ""),
        "dead": (seen["deadLetters"]["total"], "red" if seen["deadLetters"]["total"] else ""),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    for name in cells:
        table.add_column(name)
    table.add_row(*(Text(name, style="dim") for name in cells))
    table.add_row(*(Text(str(value), style=style) for value, style in cells.values()))
    return table


def _series(seen: Seen) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, style in (("succeeded", "green"), ("failed", "red"), ("pending", "")):
        numbers = [number or 0 for number in seen["series"][name]]
        table.add_row(Text(name, style="dim"), Text(sparks(numbers), style=style), f"most {max(numbers, default=0)}")
    return table


def sparks(numbers: Sequence[int]) -> str:
    """A row of bars, at most 40: of several numbers that share a bar, the largest."""
    each = max(1, -(-len(numbers) // SPARKS))
    highest = [max(numbers[start : start + each]) for start in range(0, len(numbers), each)]
    top_number = max(highest, default=0) or 1
    return "".join(BARS[-(-number * (len(BARS) - 1) // top_number)] for number in highest)


def _queues(queues: Sequence[Seen], left_out: int) -> Table:
    table = _table("TYPE", "PENDING", "RUNNING", "A SECOND", "FAILED", "P95 RUN", "OLDEST")
    for queue in queues[:QUEUES_SHOWN]:
        name = shortened(harmless(queue["type"]), TYPE_MAX_CHARS)
        failed = queue["failedInWindow"]
        table.add_row(
            Text(f"{'‖ ' if queue['paused'] else ''}{name}", style="yellow" if queue["paused"] else ""),
            str(queue["pending"]),
            str(queue["running"]),
            f"{queue['perSecond']:.2f}",
            Text(str(failed), style="red" if failed else ""),
            _duration(queue["p95RunMs"]),
            _duration(queue["oldestReadyMs"]),
        )
    more = max(0, len(queues) - QUEUES_SHOWN) + left_out
    if more or not queues:
        table.add_row(Text(f"and {more} more" if more else "no job yet", style="dim"))
    return table


def _health(seen: Seen) -> Text:
    health = seen["health"]
    told = Text()
    for name in ("clock", "projector", "audit"):
        status = health[name]["status"]
        told.append(f"{name} ", "dim").append(f"{status}  ", STYLE_OF[status])
    expired, oldest, new = health["leases"]["expired"], seen["oldest"], seen["changed"]["newFailureGroups"]
    told.append("lost leases ", "dim").append(f"{expired}  ", "red" if expired else "")
    if oldest is not None:
        told.append("oldest ", "dim").append(f"{harmless(oldest['type'])} {_duration(oldest['readyForMs'])}  ")
    if new:
        told.append(f"{new} new kinds of failures since the deployment", "red")
    return told


def _failures(failures: Sequence[Seen]) -> Table:
    table = _table("FAILED AT", "ID", "TYPE", "ERROR", right=False)
    for failure in failures[:FAILURES_SHOWN]:
        error = failure["error"] or failure["cause"] or ""
        name = Text(shortened(harmless(failure["type"]), TYPE_MAX_CHARS))
        table.add_row(_short_time(failure["at"]), failure["id"], name, Text(harmless(error), "red"))
    if not failures:
        table.add_row(Text("none", style="dim"))
    return table


def _table(*headings: str, right: bool = True) -> Table:
    """A table whose columns are as wide as their cells; an error is folded where there is no room."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if right and place else "left", no_wrap=heading != "ERROR")
    return table


def _duration(ms: float | None) -> str:
    if ms is None:
        return "-"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


def _short_time(at: str) -> str:
    """The time of an ISO 8601 text, without its fraction; the day is seldom another."""
    return at[11:19]
