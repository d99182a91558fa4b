"""The one logger: JSON lines, each with what is known of the job at hand."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

from chalicelib import settings

logger = Logger(service="taskyard", level=settings.log_level(os.environ))
