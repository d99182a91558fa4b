#!/usr/bin/env bash
# APScheduler 3.11.3: the weekdays of a crontab line are read one day late.
#
# `CronTrigger.from_crontab` is for crontab expressions, in which 0 and 7 are Sunday and 1 is Monday. It hands the numbers on
# to fields that count from Monday: `0 9 * * 1` fires on Tuesdays and `0 9 * * 0` on Mondays, without a word; 7 is refused.
# Names (`mon`) are right. Day and weekday together mean "and" here, where crontab means "or": `0 0 13 * fri` fires on a
# Friday the 13th only.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'APScheduler==3.11.3' \
    'tzlocal==5.4.5' \
    'tzdata==2026.6'
cat >"$folder/probe.py" <<'PYTHON'
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger


def first(line):
    return f"{CronTrigger.from_crontab(line, UTC).get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC)):%a %m-%d}"


print(first("0 9 * * 1"), first("0 9 * * 0"), first("0 9 * * mon"), first("0 0 13 * fri"))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="Tue 01-06 Mon 01-05 Mon 01-05 Fri 02-13"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
