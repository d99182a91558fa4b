#!/usr/bin/env bash
# aws-lambda-powertools 3.37.0: idempotent functions that share one persistence layer share its settings.
#
# `idempotent_function` configures the layer it is given at the first call of whichever function runs first, and a layer
# that is configured stays so. A second function with a `key_prefix` and a `event_key_jmespath` of its own on the same
# layer is keyed by the first one's: here two functions that differ in what makes a call the same, where the second
# then takes two different orders for one and returns the first order's result for both.
#
# Seen on Python 3.11 with the versions below. Fails when the behaviour changes. Needs bash, Python 3.11+ and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'aws-lambda-powertools==3.37.0' 'jmespath==1.0.1' 'boto3==1.44.8'
cat >"$folder/probe.py" <<'PYTHON'
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)


class InMemory(BasePersistenceLayer):
    def __init__(self):
        super().__init__()
        self.records = {}

    def _get_record(self, idempotency_key):
        if idempotency_key not in self.records:
            raise IdempotencyItemNotFoundError
        return self.records[idempotency_key]

    def _put_record(self, data_record):
        if data_record.idempotency_key in self.records:
            raise IdempotencyItemAlreadyExistsError
        self.records[data_record.idempotency_key] = data_record

    def _update_record(self, data_record):
        self.records[data_record.idempotency_key] = data_record

    def _delete_record(self, data_record):
        del self.records[data_record.idempotency_key]


layer = InMemory()


@idempotent_function(data_keyword_argument="order", persistence_store=layer,
                     config=IdempotencyConfig(event_key_jmespath="customer"))
def greet(order):
    return f"hello {order['customer']}"


@idempotent_function(data_keyword_argument="order", persistence_store=layer,
                     config=IdempotencyConfig(event_key_jmespath="number"))
def charge(order):
    return f"charged order {order['number']}"


greet(order={"customer": "c1", "number": 1})
print([charge(order={"customer": "c1", "number": number}) for number in (1, 2)])
PYTHON
seen=$("$folder/venv/bin/python" "$folder/probe.py")
echo "seen: $seen"
[ "$seen" = "['charged order 1', 'charged order 1']" ] || { echo "changed: order 2 has a result of its own" >&2; exit 1; }
