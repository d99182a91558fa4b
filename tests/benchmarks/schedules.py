"""What a tick of the clock costs, however many schedules are stored, and how long many that are due at once take.

    python -m tests.benchmarks.schedules [stored ...]

Two tables of figures, of the embedded emulator. First the step of a tick that hands over slots, ten of which are due,
with 0, 1,000 and 100,000 schedules (or as many as the command says) stored that are not: its requests and its time, and
both divided by those of the first row. Then 10,000 that are due in one minute: in how many invocations of the clock,
each of which has a minute less its reserve, and in what time all of them are handed over. The same is shown with every
request answered after AWS's time instead (``LATENCY_S``), so that the emulator's own share is seen. Asserts nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from chalicelib.core.schedules import Schedule
from chalicelib.core.states import Kind
from chalicelib.engine.clock.schedules import hand_over_slots
from chalicelib.engine.commands import schedules
from chalicelib.engine.handlers.declare import task
from chalicelib.functions.clock import RESERVE_MS
from chalicelib.store.attribute_values import to_attribute_values
from chalicelib.store.schedules import _due_key, _item
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS, chunks
from tests.benchmarks.aws_calls import Meter, out
from tests.support.yards import START_MS, Bench, endpoint_bench
