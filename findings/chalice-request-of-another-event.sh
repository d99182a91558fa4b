#!/usr/bin/env bash
# chalice 1.34.0: a function that is no route sees the HTTP request that the process served before.
#
# `app.current_request` is set by a route and not taken away. Code that is shared by routes and SQS or scheduled functions, and
# asks it who is calling, raises AttributeError in a fresh process; in one that has served a request (the test client, and
# `chalice local`) it gets that request, with its path, headers and authorizer, for work that has nothing to do with it.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'chalice==1.34.0' \
    'boto3==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
from chalice import Chalice
from chalice.test import Client

app = Chalice("shop")
seen = []


@app.on_sqs_message(queue="orders")
def work(event):
    try:
        seen.append(app.current_request.context["resourcePath"])
    except AttributeError as error:
        seen.append(type(error).__name__)


@app.route("/whoami")
def whoami():
    return {}


with Client(app) as client:
    message = client.events.generate_sqs_event(["an order"])
    client.lambda_.invoke("work", message)
    client.http.get("/whoami")
    client.lambda_.invoke("work", message)
print(*seen)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
expected="AttributeError /whoami"
[ "$seen" = "$expected" ] || { echo "changed: expected $expected" >&2; exit 1; }
