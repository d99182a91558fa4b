"""What a child process of the local runtime writes."""

from __future__ import annotations

import json
import subprocess
import sys

from chalicelib.local.emulator import PROJECT_ROOT

SCRIPT = """
import logging
from chalicelib.logger import logger
from chalicelib.local.child_logging import log_as_json
log_as_json()
logger.warning("dead letter", extra={"job_id": 7})
logging.getLogger("urllib3.connection").warning("slow")
logging.getLogger("taskyard_shop").warning("sold out")
"""


def test_each_line_is_written_once() -> None:
    written = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(line["message"], line.get("job_id")) for line in lines] == [
        ("dead letter", 7),
        ("slow", None),
        ("sold out", None),
    ]
