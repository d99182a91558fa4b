#!/usr/bin/env bash
# arq 0.28.0: a cron job that runs every half hour rests for an hour and a half when the clocks go back.
#
# A worker with a `timezone` asks `next_cron` for the time after the last one. In the hour that comes twice (Berlin, 25
# October 2026: from 2 to 3 o'clock) the runs of its second pass are left out: after 00:30 UTC the next one is at 02:00 UTC,
# and what was to run every half hour has run at neither 01:00 nor 01:30. When the clocks go forward two times are asked
# for twice: 02:00 and 02:30, which no clock shows, and the same instants again as 03:00 and 03:30.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'arq==0.28.0' \
    'redis==5.3.1' \
    'hiredis==3.5.0' \
    'click==8.5.1' \
    'tzdata==2026.6'
cat >"$folder/probe.py" <<'PYTHON'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from arq.cron import next_cron

BERLIN = ZoneInfo("Europe/Berlin")


def runs(start, number):
    found, at = [], start.astimezone(BERLIN)
    for _ in range(number):
        at = next_cron(at, minute={0, 30}, second=0, microsecond=0)
        found.append(f"{at.astimezone(UTC):%H:%M}")
    return found


print("back", runs(datetime(2026, 10, 24, 23, 40, tzinfo=UTC), 4), "forward", runs(datetime(2026, 3, 29, 0, 10, tzinfo=UTC), 5))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="back ['00:00', '00:30', '02:00', '02:30'] forward ['00:30', '01:00', '01:30', '01:00', '01:30']"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
