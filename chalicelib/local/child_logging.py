"""How a child process of the local runtime logs."""

from __future__ import annotations

import logging
import sys

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter


def log_as_json() -> None:
    """Write what any library logs, from level WARNING on, as the engine's logger writes: a JSON object a line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LambdaPowertoolsFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
