#!/usr/bin/env bash
# cloudevents 2.2.0: an event whose data is a JSON array or a boolean leaves as Python's text when it is sent in binary mode.
#
# CloudEvents lets `data` be any JSON value, and the structured mode of this library reads and writes them all. Sent on in
# binary mode with `datacontenttype: application/json`, an array becomes `[{'paid': True}]` and a boolean `True`: no
# JSON, though the header says so, and nothing is raised. A receiver that uses the library itself gets a text instead of
# the array. Objects are written as JSON, and cloudevents.v1 (the interface of before, in the same package) writes all of
# them so.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'cloudevents==2.2.0' 'deprecation==2.1.0' 'python-dateutil==2.9.0.post0' \
    'packaging==26.3' 'six==1.17.0'
cat >"$folder/probe.py" <<'PYTHON'
import json

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event
from cloudevents.v1.http import from_http, to_binary

HEADERS = {"content-type": "application/cloudevents+json"}


def sent_on(data):
    """What is sent in binary mode of an event that came in structured mode: by the interface of now, and of before."""
    attributes = {"specversion": "1.0", "id": "1", "source": "/a", "type": "b", "datacontenttype": "application/json"}
    came = json.dumps({**attributes, "data": data}).encode()
    now = to_binary_event(from_http_event(HTTPMessage(HEADERS, came)))
    assert now.headers["content-type"] == "application/json"
    _, before = to_binary(from_http(HEADERS, came))
    print(now.body.decode(), before.decode(), type(from_http_event(now).get_data()).__name__, sep=" | ")


sent_on({"paid": True})
sent_on([{"paid": True}])
sent_on(True)
PYTHON
seen=$("$folder/venv/bin/python" -W ignore "$folder/probe.py")
echo "seen: $seen"
expected=$(cat <<'TEXT'
{"paid": true} | {"paid": true} | dict
[{'paid': True}] | [{"paid": true}] | str
True | true | str
TEXT
)
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
