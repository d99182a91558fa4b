"""What ``import app`` with its clients takes, against Chalice and boto3 alone with the same clients.

    python -m tests.benchmarks.cold_start

Each figure is the CPU of the best of several fresh processes, measured in one run, all with their byte code at hand:
pip has compiled the libraries, and the first process compiles this project. On a machine at rest it is the time that
passes; beside other work that says nothing. Prints; asserts nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys

ROUNDS = 9
BUDGET = 0.75
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BASELINE = """
import chalice, boto3
boto3.client("sqs")
boto3.client("dynamodb")
"""
OURS = """
import app
from chalicelib import aws
aws.client("sqs")
aws.client("dynamodb")
"""
FIRST_BATCH = OURS + "import chalicelib.functions.worker; app.yard()"
FIRST_REQUEST = OURS + "app.yard(); app.app.routes"
TIMED = "import time; start = time.process_time()\n{}\nprint(time.process_time() - start)"


def best_ms(code: str) -> float:
    """The least CPU that a fresh process took for ``code``, in milliseconds."""
    command = [sys.executable, "-c", TIMED.format(code)]
    times = [float(subprocess.check_output(command, env=ENVIRONMENT)) for _ in range(ROUNDS)]
    return min(times) * 1_000


def main() -> None:
    baseline_ms, ours_ms = best_ms(BASELINE), best_ms(OURS)
    sys.stdout.write(f"chalice + boto3 with two clients: {baseline_ms:.0f} ms\n")
    sys.stdout.write(f"app with its clients: {ours_ms:.0f} ms\n")
    sys.stdout.write(f"ratio: {ours_ms / baseline_ms:.2f} (budget {BUDGET})\n")
    sys.stdout.write(f"with handlers and the worker, as its first batch needs: {best_ms(FIRST_BATCH):.0f} ms\n")
    sys.stdout.write(f"with handlers and routes, as the API's first request needs: {best_ms(FIRST_REQUEST):.0f} ms\n")


if __name__ == "__main__":
    main()
