"""`taskyard up`: the whole service on this machine, supervised until it is told to stop.

    supervisor ── emulator                         (MiniStack, unless --endpoint-url names another)
        │ ├───── api                               HTTP to proxy events
        │ ├───── worker-1 … worker-N               ┐
        │ ├───── dead_letters-1, clock-1,          ├ one Lambda function each, one invocation at a time
        │ └───── projector-1                       ┘
        └ event sources, threads: lanes and dead-letter queue (SQS), the jobs table's stream, the clock

Every child ends by itself when the supervisor does. Stopping goes from the outside in, so that nothing is written
behind the back of what counts it: no new messages, running handlers end, the API ends, the stream is read to its
end, the emulator saves.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from rich.console import Console

from chalicelib.core.errors import TaskyardError
