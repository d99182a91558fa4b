"""What a handler may do with the services by the worker's role alone, and with what docs/fastify-mq.md adds to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib import aws, services
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.yard import build
from chalicelib.services import dead_letters, installation, messages, queues, schedules, tasks, traces
from chalicelib.services.messages import NewMessage
from chalicelib.services.records import Task
from chalicelib.services.task_orders import NextTask
from chalicelib.services.tasks import NewTask
from infra.functions import Function
from infra.roles import policy
from infra.template import template
from tests.services.handlers.publishers import publisher
from tests.services.handlers.workers import end, worked
from tests.support.iam import Policy, Recorder, resolved
from tests.support.yards import SETTINGS, moto_bench

DEV = replace(SETTINGS, stage="dev", bucket="objects")
DOCUMENT = Path(__file__).parents[2] / "docs" / "fastify-mq.md"
FUNCTIONS = (publisher, worked, end)
LARGE = "x" * 300_000  # kept in the bucket


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with moto_bench(FUNCTIONS, DEV) as bench:
        aws.client.cache_clear()
        made = Recorder()
        made.attach(aws._session())
        yard = build(Registry.of(FUNCTIONS), DEV, now_ms=bench.clock)
        with installation.using(yard):
            yield made


def of_worker(handlers: Path) -> Policy:
    """The worker's policy with a file of what its handlers need."""
    return resolved(policy(DEV, Function.WORKER, handlers), template(DEV, Registry.of(FUNCTIONS).queues))


def refused(recorder: Recorder, granted: Policy, act: Callable[[], object]) -> set[str]:
    """The actions that ``act`` needs and the policy does not grant."""
    recorder.needed.clear()
    installation.yard().known_lanes.clear()  # as in a new process
    with recorder.during(Function.WORKER):
        act()
    return {need.action for need in recorder.needed[Function.WORKER] if not granted.allows(need)}


def dead() -> int:
    messages.publish("dead", {"text": LARGE}, max_retries=1)
    return messages.fail(messages.poll("dead")[0]).id


def dead_with_an_item_beside_it() -> None:
    messages.publish("beside", {"text": "x" * 1_000}, max_retries=1)
    messages.fail(messages.poll("beside")[0])


def locked(topic: str) -> messages.Message:
    messages.publish(topic, {})
    return messages.poll(topic)[0]


def test_the_workers_role_suffices_to_publish_settle_and_replay(recorder: Recorder) -> None:
    role = of_worker(Path("none.json"))
    done, failed, letter = locked("done"), locked("failed"), dead()

    def act() -> None:
        messages.publish("deployed", {"to": "x"})
        messages.publish("fresh.topic", {"text": LARGE}, priority=10)
        messages.publish("fresh.topic", {}, idempotency_key="k")
        messages.publish("fresh.topic", {}, idempotency_key="k")
        messages.get(messages.publish("fresh.topic", {"text": "x" * 1_000}))
        messages.publish_many([NewMessage(topic="fresh.topic", payload={"n": n}) for n in range(2)])
        messages.complete(done)
        messages.fail(failed)
        dead_letters.replay(letter)

    assert refused(recorder, role, act) == set()


def test_and_for_all_that_is_done_with_tasks_but_lists(recorder: Recorder) -> None:
    role = of_worker(Path("none.json"))
    about = {"target_id": "t", "target_type": "t"}
    parked = tasks.create("worked", **about, runner_type="system")
    with pytest.raises(tasks.TaskUnfinished):
        tasks.wait_complete(parked, 0, 1)

    def act() -> None:
        parent = tasks.create("by.hand", **about, input={"text": LARGE}, next=NextTask(type="worked", input=1))
        tasks.create("worked", **about, runner_type="system", parent=parent, idempotency_key="t")
        tasks.create("worked", **about, runner_type="system", input=1, delay_s=3_600)
        tasks.complete(tasks.create("by.hand", **about, remove_on_complete=True), output="x" * 1_000)
        tasks.complete(parent, output={"text": LARGE})
        tasks.complete(tasks.create("ended", **about), output=1)
        tasks.callback(tasks.create("by.hand", **about), 0, data="x" * 1_000)
        tasks.process_next(parked, '{"code": 0}')
        tasks.retry(tasks.cancel(tasks.create("worked", **about, runner_type="system", input=1)))
        tasks.wait_complete(tasks.create("worked", **about, runner_type="system", input=[1]))
        tasks.log(parent, "logged", {"n": 1})
        tasks.detail(parent)
        many = [NewTask(type="worked", **about, runner_type="system", input=n) for n in (1, "x" * 1_000)]
        for made in tasks.create_many([*many, NewTask(type="by.hand", **about)]):
            assert isinstance(made, Task)
            tasks.delete(made, force=True)

    assert refused(recorder, role, act) == set()

    def look() -> None:
        tasks.list(type="by.hand", sort="id")
        tasks.cancel_matching(type="by.hand", **about)
        tasks.reset_all()

    assert refused(recorder, role, look) == {"dynamodb:Query"}
    large = tasks.create("by.hand", **about, input=LARGE)
    assert refused(recorder, role, lambda: tasks.delete(large, force=True)) == {"s3:DeleteObject"}


def test_for_the_rest_it_needs_what_the_documentation_adds(recorder: Recorder, tmp_path: Path) -> None:
    found = re.search(r"<!-- policy -->\n```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    handlers = tmp_path / "handlers.json"
    handlers.write_text(found[1])
    dead()
    dead_with_an_item_beside_it()
    sent = messages.publish("rest", {})

    def act() -> None:
        messages.poll("never.published")
        messages.publish("rest", {})
        messages.extend(messages.poll("rest", 1)[0])
        messages.list(topic="rest")
        dead_letters.list()
        traces.get(sent.trace_id)
        next(traces.list())
        queues.depth()
        schedules.create("often", every_s=60, task={"type": "worked"})
        schedules.update("often", jitter_s=1)
        schedules.run_now("often")
        schedules.pause("often")
        schedules.resume("often")
        schedules.list()
        schedules.preview("often")
        schedules.history("often")
        schedules.delete("often")
        services.why(sent)
        services.usage(sent)
        queues.recover_locked()
        queues.cleanup(status="FAILED")

    assert refused(recorder, of_worker(Path("none.json")), act) == {
        "dynamodb:Query",
        "dynamodb:GetItem",
        "s3:DeleteObject",
    }
    dead_with_an_item_beside_it()
    dead()
    assert refused(recorder, of_worker(handlers), act) == set()
