"""Hours on a real ``taskyard up`` under a steady load, its processes and tables looked at each minute."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.test_up import taskyard
from tests.longlife.load import HANDLERS, Load, sink
from tests.longlife.samples import Log, kinds, of_processes, of_tables
from tests.support.up import Service, running

RETENTION_S = 600


@dataclass(frozen=True, slots=True)
class Lived:
    """What clients did and met, how many webhooks came, and what the tables held in the end."""

    acts: Counter[str]
    troubles: Counter[str]
    posts: int
    kinds: Counter[tuple[str, str]]


def live(folder: Path, log: Log, seconds: float, rate: float, every_s: float, *, saves: bool = False) -> Lived:
    """One life; its samples go to ``log``, what the installation says to ``up.log`` in ``folder``.

    ``saves``: with a data folder, where the emulator writes down all that it holds after every change.
    """
    environment = {f"TASKYARD_RETENTION_{what}_S": str(RETENTION_S) for what in ("COMPLETED", "FAILED", "UNREPLAYED")}
    options = ("--data-dir", str(folder / "data")) if saves else ()
    with sink() as (url, came), running(folder, *options, TASKYARD_HANDLERS=HANDLERS, **environment) as service:
        added = taskyard(
            "webhooks", "add", url, "--type", "scripted", "--events", "complete,failed", "--url", service.url
        )
        assert added.returncode == 0, added.stderr
        load = Load(service)
        load.prepare()
        with _sampling(service, log, every_s):
            load.keep_on(seconds, rate)
        return Lived(load.acts, load.troubles, came["posts"], kinds(service.endpoint_url))


@contextmanager
def _sampling(service: Service, log: Log, every_s: float) -> Iterator[None]:
    """Samples in a thread of its own while the block lasts: one at once, then every so often."""
    ended, began_s, endpoint_url = threading.Event(), time.monotonic(), service.endpoint_url
    failures: list[BaseException] = []

    def sample() -> None:
        try:
            while True:
                elapsed_s = round(time.monotonic() - began_s, 1)
                log.add([*of_processes(service.process.pid, elapsed_s), *of_tables(endpoint_url, elapsed_s)])
                if ended.wait(every_s):
                    return
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]
