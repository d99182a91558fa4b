"""What the console's page weighs, and when it shows something, on `taskyard up`.

    python -m tests.benchmarks.console [--jobs 100000]

Sizes of what is loaded, as it is and compressed as API Gateway does. Then headless Chromium on a processor made four
times slower, with nothing in its cache and with everything: requests, bytes, the first paint, and when the overview's
figures stand; the median of five loads each. At last how long what its pages ask for takes, over HTTP, p50 and p95 of
30 requests. With ``--jobs``, so many tasks are created first, and some of them done. Prints figures; asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from chalicelib.api.console import files
from chalicelib.local.compression import compressed
from tests.benchmarks.aws_calls import out
from tests.support.browser import chromium
from tests.support.up import Service, running

SLOWER = 4
LOADS = 5
BATCH = 100
CLIENTS = 2
ANSWERS = 30
ASKED_FOR = ("/api/overview", "/api/jobs", "/api/jobs?state=waiting", "/api/queues")
WORK = {"text": "to be or not to be", "top": 2}
ABOUT = {"targetType": "bench", "targetId": "console"}
FIGURES = ".figures strong"
SEEN = """() => performance.getEntriesByType('paint').find((each) => each.name == 'first-contentful-paint').startTime"""
TRANSFERRED = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .map((each) => each.transferSize)"""


@dataclass(frozen=True, slots=True)
class Load:
    """How one load went."""

    requests: int
    transferred_bytes: int
    painted_ms: float
    figures_ms: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=0)
    jobs = parser.parse_args().jobs
    _print_sizes()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service, chromium() as browser:
        job_id = service.create("text.statistics", WORK)
        _create(service, jobs)
        out(f"\non a processor {SLOWER} times slower:  requests      bytes  first paint  figures")
        _print_loads("nothing in the cache", [_fresh(browser, service) for _ in range(LOADS)])
        with _context(browser, service) as context:
            _load(context.new_page())
            _print_loads("everything in the cache", [_load(context.new_page()) for _ in range(LOADS)])
        out(f"\n{'what pages ask for':32}{'p50':>12}{'p95':>14}")
        for path in (
            "/api/overview",
            "/api/jobs",
            "/api/jobs?state=waiting",
            f"/api/job/{job_id}/detail",
            "/api/queues",
        ):
            _print_answers(service, path)


def _create(service: Service, jobs: int) -> None:
    batch = {"tasks": [{"type": "text.statistics", "runnerType": "system", "input": WORK, **ABOUT}] * BATCH}
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda _: service.post("/api/task/create-batch", batch), range(jobs // BATCH)))


def _print_answers(service: Service, path: str) -> None:
    def taken_ms() -> float:
        began_s = time.perf_counter()
        service.get(path)
        return (time.perf_counter() - began_s) * 1_000

    taken = [taken_ms() for _ in range(ANSWERS)]
    p95_ms = statistics.quantiles(taken, n=20, method="inclusive")[-1]
    out(f"{path.rpartition('/api')[2]:32}{statistics.median(taken):9,.0f} ms{p95_ms:11,.0f} ms")


def _print_sizes() -> None:
    sent = {"the page": files.page("console/"), **files.files()}
    sizes = {name: (len(file.text.encode()), len(compressed(file.text.encode()))) for name, file in sent.items()}
    out(f"{'':32}{'bytes':>10}{'gzip':>10}")
    for name, (whole, small) in sizes.items():
        out(f"{name:32}{whole:10,}{small:10,}")
    whole, small = (sum(column) for column in zip(*sizes.values(), strict=True))
    out(f"{'in all':32}{whole:10,}{small:10,}")


def _print_loads(name: str, loads: list[Load]) -> None:
    def median(field: str) -> float:
        return statistics.median(getattr(load, field) for load in loads)

    out(
        f"{name:32}{median('requests'):12,.0f}{median('transferred_bytes'):11,.0f}"
        f"{median('painted_ms'):10,.0f} ms{median('figures_ms'):6,.0f} ms"
    )


def _context(browser: Browser, service: Service) -> BrowserContext:
    return browser.new_context(base_url=service.url, viewport={"width": 1280, "height": 860})


def _fresh(browser: Browser, service: Service) -> Load:
    with _context(browser, service) as context:
        return _load(context.new_page())


def _load(page: Page) -> Load:
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto("/console")
    page.wait_for_selector(FIGURES)
    figures_ms = page.evaluate("() => performance.now()")
    page.wait_for_selector(".plot canvas")
    sizes = page.evaluate(TRANSFERRED)
    load = Load(len(sizes), sum(sizes), page.evaluate(SEEN), figures_ms)
    page.close()
    return load


if __name__ == "__main__":
    main()
