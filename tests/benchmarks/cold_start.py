"""What ``import app`` with its clients takes, against Chalice and boto3 alone with the same clients.

    python -m tests.benchmarks.cold_start
    python -m tests.benchmarks.cold_start --package    what Lambda loads, too; needs the package index, and Python 3.12

Each figure is the CPU of the best of several fresh processes, measured in one run, all with their byte code at hand:
pip has compiled the libraries, and the first process compiles this project. On a machine at rest it is the time that
passes; beside other work that says nothing. Processes with a topic that goes to Kafka take turns with those without.
Prints; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

from infra.deploy.package import package
from infra.deploy.stages import CONFIG, PROJECT, config_of

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
BRIDGED = {
    "TASKYARD_KAFKA": "127.0.0.1:1",
    "TASKYARD_KAFKA_TOPICS": json.dumps([{"topic": "sent", "direction": "out"}]),
}
KAFKA_MODULES = "import sys; print(*sorted(name for name in sys.modules if 'kafka' in name))"
FIRST_REQUEST = OURS + "app.yard(); app.app.routes"
TIMED = "import time; start = time.process_time()\n{}\nprint(time.process_time() - start)"


def took_ms(code: str, **variables: str) -> float:
    """The CPU that a fresh process took for ``code``, in milliseconds."""
    return float(_answer(TIMED.format(code), variables)) * 1_000


def best_ms(code: str) -> float:
    """The least that several took."""
    return min(took_ms(code) for _ in range(ROUNDS))


def _answer(program: str, variables: Mapping[str, str]) -> str:
    return subprocess.check_output([sys.executable, "-c", program], env={**ENVIRONMENT, **variables}, text=True)


def _kafka() -> None:
    """What a bridged topic adds to the first batch of a worker, and what is loaded of it without one."""
    without, bridged = zip(
        *((took_ms(FIRST_BATCH), took_ms(FIRST_BATCH, **BRIDGED)) for _ in range(ROUNDS)), strict=True
    )
    ratio = statistics.median(bridged) / statistics.median(without)
    sys.stdout.write(f"its first batch where a topic goes to Kafka: {ratio:.2f} of that without (medians)\n")
    for told, variables in (("without", {}), ("with", BRIDGED)):
        loaded = _answer(f"{FIRST_BATCH}\n{KAFKA_MODULES}", variables).split()
        sys.stdout.write(f"modules of Kafka loaded {told} a bridged topic: {', '.join(loaded) or 'none'}\n")


def _packages() -> None:
    """What the Lambda package of stage dev holds with and without a topic that goes to Kafka."""
    with tempfile.TemporaryDirectory() as folder:
        for told, variables in (("without", {}), ("with", BRIDGED)):
            project = Path(folder, told)
            config = config_of(PROJECT)
            config["stages"]["dev"]["environment_variables"] |= variables
            (project / CONFIG).parent.mkdir(parents=True)
            (project / CONFIG).write_text(json.dumps(config))
            built = package(project / "out", "dev", project=project)
            with ZipFile(built.archive) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
                packages = sum(name.endswith(".dist-info/WHEEL") for name in archive.namelist())
            sys.stdout.write(
                f"the package {told} a topic that goes to Kafka: {packages} packages, "
                f"{built.archive_bytes / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB unpacked\n"
            )


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", action="store_true")
    given = parser.parse_args()
    baseline_ms, ours_ms = best_ms(BASELINE), best_ms(OURS)
    sys.stdout.write(f"chalice + boto3 with two clients: {baseline_ms:.0f} ms\n")
    sys.stdout.write(f"app with its clients: {ours_ms:.0f} ms\n")
    sys.stdout.write(f"ratio: {ours_ms / baseline_ms:.2f} (budget {BUDGET})\n")
    sys.stdout.write(f"with handlers and the worker, as its first batch needs: {best_ms(FIRST_BATCH):.0f} ms\n")
    sys.stdout.write(f"with handlers and routes, as the API's first request needs: {best_ms(FIRST_REQUEST):.0f} ms\n")
    _kafka()
    if given.package:
        _packages()


if __name__ == "__main__":
    main()
