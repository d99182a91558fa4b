#!/usr/bin/env bash
# croniter 7.0.0: a day of the month beside an nth weekday is dropped without a word, or makes the schedule never run.
#
# A day and a weekday are joined by "or": `0 0 13 * 5` is due on each 13th and each Friday. With `5#2` (the second Friday)
# in place of `5` the day no longer counts: the 13th is not due. And where the two can never fall on one day, as in
# `0 0 1 * 1#3` (the 1st, or the third Monday), the expression is never due at all, though is_valid says yes to it.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'croniter==7.0.0' 'python-dateutil==2.9.0.post0'
cat >"$folder/probe.py" <<'PYTHON'
from datetime import datetime

from croniter import CroniterBadDateError, croniter

START = datetime(2026, 1, 1)


def days(expression, number):
    walk = croniter(expression, START)
    try:
        return [f"{walk.get_next(datetime):%m-%d}" for _ in range(number)]
    except CroniterBadDateError:
        return "never"


print(days("0 0 13 * 5", 4), days("0 0 13 * 5#2", 3), croniter.is_valid("0 0 1 * 1#3"), days("0 0 1 * 1#3", 1))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="['01-02', '01-09', '01-13', '01-16'] ['01-09', '02-13', '03-13'] True never"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
