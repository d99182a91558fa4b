"""How a child process of the local runtime logs."""

from __future__ import annotations

import logging
import sys

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from chalicelib.logger import logger


def log_as_json() -> None:
    """Write what any library logs, from level WARNING on, as the engine's logger writes: a JSON object a line.

    The engine's logger writes its own lines, and hands them on to the root, too.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LambdaPowertoolsFormatter())
    handler.addFilter(lambda record: not f"{record.name}.".startswith(f"{logger.name}."))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
