"""The backends of the contract suite: where the tables, queues and objects of a test may live.

moto and the embedded emulator are always there. DynamoDB Local and LocalStack take part when the environment says
where they run (EMULATORS and the commands are in docs/):

    TASKYARD_TEST_DYNAMODB_LOCAL_URL=http://127.0.0.1:8001    a DynamoDB Local, started with -sharedDb
    TASKYARD_TEST_LOCALSTACK_URL=http://127.0.0.1:4566        a LocalStack; LOCALSTACK_HOST (with USE_SSL), the
                                                              variables of its own client library, do as well

DynamoDB Local has tables and their streams only; queues and objects are then the embedded emulator's. Every run
uses names of its own, so an emulator that others use too is left as it was, but for what a run leaves behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from moto import mock_aws

from chalicelib import aws
from chalicelib.core.lanes import Lane
from chalicelib.engine.handlers import Registry
from chalicelib.engine.yard import build
from chalicelib.local import stack
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.template import template
from tests.support.yards import CREDENTIALS, SETTINGS, Bench, MovableClock, environment, forget_clients

DYNAMODB_LOCAL_VARIABLE = "TASKYARD_TEST_DYNAMODB_LOCAL_URL"
LOCALSTACK_VARIABLE = "TASKYARD_TEST_LOCALSTACK_URL"
# moto's streams do not know the endpoints that botocore makes of account ids.
VARIABLES = {**CREDENTIALS, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
