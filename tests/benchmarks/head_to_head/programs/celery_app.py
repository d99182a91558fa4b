"""Celery, tuned: a prefork pool, ten messages ahead for each process, long polls, no results and no events.

python -m celery -A celery_app worker --concurrency 4 ...
python celery_app.py JOBS           publish so many, one ``delay()`` each, as Celery does
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import marks
import meter
from celery import Celery
from celery.signals import worker_ready

QUEUE = "celery"
PREFETCH = 10
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]

app = Celery("trivial", broker=f"sqs://test:test@{urlsplit(ENDPOINT).netloc}//")
app.conf.update(
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "polling_interval": 0,
        "wait_time_seconds": 20,
        "visibility_timeout": 3_600,
        "predefined_queues": {  # no ListQueues, no CreateQueue
            QUEUE: {
                "url": f"{ENDPOINT}/000000000000/{QUEUE}",
                "access_key_id": "test",
                "secret_access_key": "test",
            }
        },
    },
    task_default_queue=QUEUE,
    task_acks_late=os.environ.get("HEAD_TO_HEAD_ACKS") == "late",
    task_ignore_result=True,
    task_send_sent_event=False,
    worker_prefetch_multiplier=PREFETCH,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def trivial(value: object) -> None:
    """Note that the job is done."""
    del value
    marks.done()


@worker_ready.connect
def ready(**_: object) -> None:
    """Say that the worker takes jobs."""
    Path(os.environ["HEAD_TO_HEAD_READY"]).touch()


def publish(jobs: int) -> int:
    """Publish so many."""
    for _ in range(jobs):
        trivial.delay(meter.BODY)
    return jobs


if __name__ == "__main__":
    from celery_app import publish as publish_named  # the task's name is that of the imported module

    publish_named(meter.WARM_UP)
    meter.report(meter.measured(lambda: publish_named(int(sys.argv[1]) - meter.WARM_UP)))
