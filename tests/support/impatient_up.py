"""`taskyard up` with two workers that have one second to end.

python -m tests.support.impatient_up --port PORT --data-dir DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chalicelib.local.supervisor import Plan
from chalicelib.local.up import up

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    given = parser.parse_args()
    plan = Plan(workers=2, endpoint_url=None, data_dir=given.data_dir, clock_interval_s=60.0, shutdown_timeout_s=1.0)
    sys.exit(up(plan, given.port, "INFO", None))
