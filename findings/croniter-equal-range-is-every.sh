#!/usr/bin/env bash
# croniter 7.0.0: a range from a value to itself means the whole field.
#
# Programs that write `FROM-TO` write `9-9` for a window of one hour. `0 9-9 * * *` is then due every hour, and `0 0 5-5 * *`
# every day; is_valid says yes to both. `9` alone, and `9-10`, mean what they say.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'croniter==7.0.0' \
    'python-dateutil==2.9.0.post0' \
    'six==1.17.0'
cat >"$folder/probe.py" <<'PYTHON'
from datetime import datetime

from croniter import croniter


def due(expression, shown):
    walk = croniter(expression, datetime(2026, 1, 1))
    return [f"{walk.get_next(datetime):{shown}}" for _ in range(3)]


print(due("0 9-9 * * *", "%d %H"), due("0 0 5-5 * *", "%m-%d"), due("0 9 * * *", "%d %H"), due("0 9-10 * * *", "%d %H"))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="['01 01', '01 02', '01 03'] ['01-02', '01-03', '01-04'] ['01 09', '02 09', '03 09'] ['01 09', '01 10', '02 09']"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
