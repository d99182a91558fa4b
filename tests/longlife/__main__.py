"""Whether anything grows that should not: memory, handles and tables under a steady load, for hours.

    python -m tests.longlife [--hours 2] [--rate 4] [--saves] [--csv longlife.csv]
    python -m tests.longlife --read [--csv longlife.csv]
    python -m tests.longlife --simulated-hours 24 [--kept-s 7200]

``taskyard up`` on a port of its own (with ``--saves`` on a data folder, too), which deletes what is done after ten
minutes, is given ``--rate`` acts a second of every kind. Each minute the memory, open files, threads and connections of
each of its processes, and how many items each table has, go to the CSV file. In the end the slope of each is printed,
from a quarter of an hour on, and which are flat; what the tables hold, by kind; and what clients were refused.

Simulated hours go by in one process (``tests/longlife/simulated.py``), and how many items of each kind the tables hold
is printed at the end of each, with what the process holds.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from math import nan
from pathlib import Path

from tests.benchmarks.aws_calls import out
from tests.longlife.real import live
from tests.longlife.samples import MIB, Log, read
from tests.longlife.simulated import ITEMS_TOLERATED, SETTLED_AFTER, TOLERATED, simulate
from tests.longlife.slopes import HOUR_S, Slope, slopes

WARM_UP_S = 900.0
EVERY_S = 60.0
EVERY_MIN = 2  # a round of orders in a simulation


def tell(path: Path) -> None:
    """Print how fast what was sampled has grown."""
    found = slopes(read(path), WARM_UP_S)
    for slope in found:
        out(str(slope))
    out(f"the emulator keeps {an_item(found):,.0f} bytes for each item that the tables grow by")


def an_item(found: Sequence[Slope]) -> float:
    """How many bytes the emulator grows by for each item of the tables."""
    memory = sum(each.an_hour for each in found if each.who.startswith("emulator") and each.measure == "pss_mib")
    items = sum(each.an_hour for each in found if each.measure == "items")
    return memory * MIB / items if items else nan


def tell_simulated(path: Path, hours: int, kept_s: int) -> None:
    """Simulate, and print what there is at the end of each hour, then the slopes."""
    log = Log(path)
    for samples in simulate(60 * hours, kept_s, EVERY_MIN):
        log.add(samples)
        counts = ", ".join(f"{each.measure} {each.value:.0f}" for each in samples)
        out(f"hour {samples[0].elapsed_s / HOUR_S:.0f}: {counts}")
    for slope in slopes(read(path), SETTLED_AFTER * kept_s, HOUR_S, TOLERATED, ITEMS_TOLERATED):
        out(str(slope))


def main() -> None:
    """Live, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--rate", type=float, default=4, help="acts a second")
    parser.add_argument("--saves", action="store_true", help="with a data folder: takes more CPU the more is kept")
    parser.add_argument("--csv", type=Path, default=Path("longlife.csv"))
    parser.add_argument("--read", action="store_true", help="only say what the file has, of a run that was stopped")
    parser.add_argument("--simulated-hours", type=int)
    parser.add_argument("--kept-s", type=int, default=7_200, help="what lives how long in a simulation")
    chosen = parser.parse_args()
    if chosen.read:
        tell(chosen.csv)
    elif chosen.simulated_hours:
        logging.disable()  # thousands of failures as ordered
        tell_simulated(chosen.csv, chosen.simulated_hours, chosen.kept_s)
    else:
        with tempfile.TemporaryDirectory() as folder:
            lived = live(Path(folder), Log(chosen.csv), chosen.hours * HOUR_S, chosen.rate, EVERY_S, saves=chosen.saves)
        tell(chosen.csv)
        for (table, kind), count in sorted(lived.kinds.items()):
            out(f"{table}: {kind} {count}")
        out(f"acts {dict(lived.acts)}; webhooks {lived.posts}; troubles {dict(lived.troubles)}")


if __name__ == "__main__":
    main()
