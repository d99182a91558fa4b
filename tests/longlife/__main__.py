"""Whether anything grows that should not: memory, handles and tables under a steady load, for hours.

    python -m tests.longlife [--hours 2] [--rate 4] [--saves] [--csv longlife.csv]

``taskyard up`` on a port of its own (with ``--saves`` on a data folder, too), which deletes what is done after ten
minutes, is given ``--rate`` acts a second of every kind. Each minute the memory, open files, threads and connections of
each of its processes, and how many items each table has, go to the CSV file. In the end the slope of each is printed,
from a quarter of an hour on, and which are flat; what the tables hold, by kind; and what clients were refused.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from math import nan
from pathlib import Path

from tests.benchmarks.aws_calls import out
from tests.longlife.real import Lived, live
from tests.longlife.samples import MIB, Log, read
from tests.longlife.slopes import HOUR_S, Slope, slopes

WARM_UP_S = 900.0
EVERY_S = 60.0


def tell(path: Path, lived: Lived) -> None:
    """Print what was seen."""
    found = slopes(read(path), WARM_UP_S)
    for slope in found:
        out(str(slope))
    out(f"the emulator keeps {an_item(found):,.0f} bytes for each item that the tables grow by")
    for (table, kind), count in sorted(lived.kinds.items()):
        out(f"{table}: {kind} {count}")
    out(f"acts {dict(lived.acts)}; webhooks {lived.posts}; troubles {dict(lived.troubles)}")


def an_item(found: Sequence[Slope]) -> float:
    """How many bytes the emulator grows by for each item of the tables."""
    memory = sum(each.an_hour for each in found if each.who.startswith("emulator") and each.measure == "pss_mib")
    items = sum(each.an_hour for each in found if each.measure == "items")
    return memory * MIB / items if items else nan


def main() -> None:
    """Live, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--rate", type=float, default=4, help="acts a second")
    parser.add_argument("--saves", action="store_true", help="with a data folder: takes more CPU the more is kept")
    parser.add_argument("--csv", type=Path, default=Path("longlife.csv"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lived = live(Path(folder), Log(chosen.csv), chosen.hours * HOUR_S, chosen.rate, EVERY_S, saves=chosen.saves)
    tell(chosen.csv, lived)


if __name__ == "__main__":
    main()
