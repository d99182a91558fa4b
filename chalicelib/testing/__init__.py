"""The test kit for those who write handlers: see ``Workbench``, and docs/testing-handlers.md.

Needs the extra ``testing``. Nothing of it runs on Lambda.
"""

from __future__ import annotations

from chalicelib.testing.attempts import Attempt
from chalicelib.testing.calls import Call, Report
from chalicelib.testing.cloud import MotoMissing
from chalicelib.testing.fixtures import workbench_fixture
from chalicelib.testing.workbench import Workbench
from chalicelib.testing.world import Posted, Restless, WorkerDied

__all__ = [
    "Attempt",
    "Call",
    "MotoMissing",
    "Posted",
    "Report",
    "Restless",
    "Workbench",
    "WorkerDied",
    "workbench_fixture",
]
