"""Celery with SQS in a virtual environment of its own, made once in a folder and found there again."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PINNED = (
    "celery[sqs]==5.7.0",
    "kombu==5.7.0",
    "billiard==4.3.2",
    "boto3==1.44.8",
    "botocore==1.44.8",
    "pycurl==7.49.0",
    "urllib3==2.8.0",
)


def celery_python(folder: Path) -> Path:
    """The interpreter of that environment below ``folder``; installed if it is not there, or was half made."""
    environment = folder / f"celery-{hashlib.sha256(' '.join(PINNED).encode()).hexdigest()[:12]}"
    python, complete = environment / "bin" / "python", environment / "complete"
    if not complete.exists():
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-qq", *PINNED], check=True)
        complete.touch()
    return python
