"""How long a quiet tenant waits on ``taskyard up``, alone and beside another that has many jobs waiting.

    python -m tests.benchmarks.fairness [--jobs 100000] [--nap-ms 0] [--workers 2]

First the quiet tenant creates tasks one by one; then the noisy one creates ``--jobs`` of them in batches, and the quiet
one creates as many as before, while those wait. Printed is how long the quiet tenant's tasks waited, from their
acceptance to the begin of their run, both times as the ledger has them, and the ratio, with the range in which nine in
ten ratios lie where tasks are drawn anew from those measured; and, by the handlers' own record, how many tasks of the
noisy one began while a task of the quiet one waited, which a busy machine does not change. Each task sleeps
``--nap-ms``. With ``--without-tenants`` nobody says whose the tasks are. Asserts nothing.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib.engine.handlers.declare import task
from tests.benchmarks.aws_calls import out
from tests.support.up import Service, running

BATCH = 100
CLIENTS = 2
QUIET = 150  # tasks: with 60, the p95 was that of the three slowest
PAUSE_S = 0.1
DRAWN = 2_000  # times, for the range of the ratio
DONE_LIMIT_S = 600.0
COUNTED_MAX = 10_000


@task("bench.nap", pool="naps")
def nap(given: dict[str, Any]) -> None:
    """Say whose it is, and sleep for some ``s``."""
    with open(given["record"], "a", encoding="utf-8") as record:
        record.write(f"{given['of']} {time.time()}\n")
    if given["s"]:
        time.sleep(given["s"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--nap-ms", type=float, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--without-tenants", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record")
        quiet, noisy = (work_of(name, record, chosen.nap_ms, chosen.without_tenants) for name in ("quiet", "noisy"))
        options = ("--workers", str(chosen.workers))
        with running(Path(folder), *options, TASKYARD_HANDLERS="tests.benchmarks.fairness") as service:
            waits_of(service, quiet, 10)  # what is done for the first time
            alone = waits_of(service, quiet, QUIET)
            began_s = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as clients:
                batch = {"tasks": [noisy] * BATCH}
                list(clients.map(lambda _: service.post("/api/task/create-batch", batch), range(chosen.jobs // BATCH)))
            created_s = time.monotonic() - began_s
            before = waiting(service)
            began_at_s = time.time()
            beside = waits_of(service, quiet, QUIET)
            after = waiting(service)
            passed = begun_meanwhile(record, began_at_s, beside)
    out(f"{chosen.jobs} jobs created in {created_s:.0f} s; waiting at first {before}, in the end {after}")
    out(f"{'':8}{'p50 ms':>8}{'p95 ms':>8}{'max ms':>8}")
    for name, waits in (("alone", alone), ("beside", beside)):
        out(f"{name:8}{statistics.median(waits):8.0f}{p95(waits):8.0f}{max(waits):8.0f}")
    out("ratio of p95: {:.2f}, nine in ten {:.2f} to {:.2f}".format(p95(beside) / p95(alone), *spread(alone, beside)))
    counts = f"p50 {statistics.median(passed):.0f}, p95 {p95(passed):.0f}, max {max(passed):.0f}"
    out(f"begun of the other meanwhile: {counts}")


def work_of(name: str, record: Path, nap_ms: float, without_tenants: bool) -> dict[str, Any]:
    """A task as it is created."""
    given = {"s": nap_ms / 1_000, "of": name, "record": str(record)}
    tenant = None if without_tenants else name
    about = {"targetType": "bench", "targetId": name, "tenant": tenant}
    return {"type": "bench.nap", "runnerType": "system", "input": given, **about}


def begun_meanwhile(record: Path, since_s: float, waits_ms: list[float]) -> list[float]:
    """How many tasks of the noisy tenant began while each task of the quiet one waited, by the handlers' record."""
    lines = (line.split() for line in record.read_text().splitlines())
    begun = sorted((float(at_s), of) for of, at_s in lines if float(at_s) >= since_s)
    noisy = [at_s for at_s, of in begun if of == "noisy"]
    quiet = [at_s for at_s, of in begun if of == "quiet"]
    spans = zip(quiet, waits_ms, strict=True)  # they are created, and begin, one after the other
    return [sum(at_s - wait_ms / 1_000 < each < at_s for each in noisy) for at_s, wait_ms in spans]


def waits_of(service: Service, work: dict[str, Any], number: int) -> list[float]:
    """Create tasks one after the other; returns how many milliseconds each waited for its run."""
    ids = []
    for _ in range(number):
        ids.append(service.post("/api/task/create", work)["id"])
        time.sleep(PAUSE_S)
    ends_s = time.monotonic() + DONE_LIMIT_S
    waits = []
    for task_id in ids:
        while not (found := service.get(f"/api/task/detail?id={task_id}"))["startedAt"]:
            if time.monotonic() > ends_s:
                raise TimeoutError(f"task {task_id} was not begun within {DONE_LIMIT_S} s")
            time.sleep(PAUSE_S)
        waits.append((_time(found["startedAt"]) - _time(found["createdAt"])) * 1_000)
    return waits


def waiting(service: Service) -> str:
    """How many tasks wait; lists count to 10,000."""
    number = int(service.get("/api/task/list?filter.status=pending&perPage=1")["totalCount"])
    return f"{number}" if number < COUNTED_MAX else f"{number} or more"


def p95(values: list[float]) -> float:
    """The value that one in twenty exceeds."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def spread(alone: list[float], beside: list[float]) -> tuple[float, float]:
    """Between which values nine in ten ratios of p95 lie, of samples that are drawn from these with replacement."""
    draw = random.Random(0).choices  # noqa: S311 - nothing secret
    ratios = [p95(draw(beside, k=len(beside))) / p95(draw(alone, k=len(alone))) for _ in range(DRAWN)]
    twentieths = statistics.quantiles(ratios, n=20, method="inclusive")
    return twentieths[0], twentieths[-1]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
