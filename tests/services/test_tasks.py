"""Tasks in Python: created, worked on, waited for, completed from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.errors import Conflict, InvalidInput, NotFound, TaskyardError, TooLarge
from chalicelib.core.job import JobError
from chalicelib.core.retry import Exponential, Fixed
from chalicelib.core.signature import sign
from chalicelib.core.states import State
from chalicelib.engine.worker.claim import claim
from chalicelib.services import tasks
from chalicelib.services.current import at_work
from chalicelib.services.records import LogEntry, Task, moment_of
from chalicelib.services.task_orders import NextTask
from chalicelib.services.tasks import NewTask, TaskCanceled, TaskFailed, TaskUnfinished, WrongSignature
from chalicelib.store.transitions.running import Lease
from tests.services.handlers.workers import end, ended, worked
from tests.support.yards import Bench, moto_bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on

SECRET = "s3cr3t-of-the-task"  # noqa: S105
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    """One installation for all tests of this file; each uses a type or a target of its own."""
    with (
        moto_bench([worked, end]) as made,
        patch("moto.sqs.models.unix_time_millis", lambda: float(made.clock.ms)),
        patch("moto.sqs.models.unix_time", lambda: made.clock.ms / 1_000),
    ):
        yield made


def manual(task_type: str, **fields: Any) -> Task:
    """A task that a person completes."""
    return tasks.create(task_type, **{"target_id": "t-1", "target_type": "document", **fields})


def system(given: Any, **fields: Any) -> Task:
    """A task that the handler ``worked`` runs."""
    return manual("worked", runner_type="system", input=given, **fields)


def waiting(secret: str | None = None) -> Task:
    """A task that waits to be called back."""
    made = system(None, context={"secret": secret})
    with pytest.raises(TaskUnfinished):
        tasks.wait_complete(made, 0, 1)
    return tasks.detail(made)


def refused(**fields: Any) -> str | None:
    """The field that a task is refused for."""
    with pytest.raises(InvalidInput) as error:
        manual(**{"task_type": "t", **fields})
    return error.value.field


class TestCreate:
    def test_priorities_by_name(self, topic: str) -> None:
        made = manual(topic, priority="critical", next=NextTask(type="worked", priority="low"))
        assert made.next is not None
        assert (made.priority, made.next["priority"]) == (15, -10)

    def test_every_field(self, bench: Bench, topic: str) -> None:
        parent = manual(topic)
        made = tasks.create(
            topic,
            target_id="readme",
            target_type="document",
            input={"name": "x"},
            user_id="u-1",
            runner_type="manual",
            delay_s=1.5,
            script_name="nightly_2-b",
            options={"o": 1},
            context={"secret": SECRET, "n": 1},
            priority=7,
            max_retries=4,
            backoff=Fixed(100),
            timeout_ms=5_000,
            parent=parent,
            next=NextTask(
                type=topic, runner_type="manual", delay_s=2, context={"secret": SECRET}, next={"type": "worked"}
            ),
            remove_on_complete=True,
            idempotency_key=f"key of {topic}",
        )
        now = moment_of(bench.clock.ms)
        assert made == Task(
            id=made.id,
            type=topic,
            script_name="nightly_2-b",
            target_id="readme",
            target_type="document",
            runner_type="manual",
            status=State.PENDING,
            progress=0.0,
            msg=None,
            input={"name": "x"},
            output=None,
            error=None,
            cause=None,
            context={"n": 1},
            options={"o": 1},
            next={
                "type": topic,
                "runnerType": "manual",
                "delay": 2.0,
                "context": {},
                "next": {"type": "worked", "runnerType": "system"},
            },
            priority=7,
            max_retries=4,
            retry_count=0,
            attempts=0,
            poll_count=0,
            timeout_ms=5_000,
            parent_id=parent.id,
            remove_on_complete=True,
            trace_id=made.trace_id,
            created_user_id="u-1",
            completed_user_id=None,
            schedule=None,
            slot_time=None,
            graph_id=None,
            node=None,
            start_time=now + 1.5 * SECOND,
            started_at=None,
            completed_at=None,
            created_at=now,
            updated_at=now,
        )
        job = bench.job(made.id)
        assert (job.backoff, job.blocked) == (Fixed(100), True)
        assert bench.yard.payloads.context(job) == {"secret": SECRET, "n": 1}

    def test_many_at_once_each_for_itself(self, topic: str) -> None:
        about = {"target_id": topic, "target_type": "document"}
        wanted: list[Any] = [
            NewTask(
                type=topic, **about, input="x" * 5_000, context={"secret": SECRET, "n": 1}, next={"type": "worked"}
            ),
            NewTask(type=topic, **about, priority="urgent"),
            NewTask(type="worked", runner_type="system", **about, input={"n": 1}, options={"o": 1}),
            NewTask(type="nobody", runner_type="system", **about),
            {"type": topic},
            NewTask(type=topic, **about, input=2, idempotency_key=f"many {topic}"),
            NewTask(type=topic, **about, input=2, idempotency_key=f"many {topic}"),
            NewTask(type=topic, **about, input=3, idempotency_key=f"many {topic}"),
        ]
        outcomes = tasks.create_many(wanted)
        assert [getattr(outcome, "field", None) for outcome in outcomes] == [
            *(None, "priority", None, "type", None, None, None, "idempotency_key"),
        ]
        made = [outcome for outcome in outcomes if isinstance(outcome, Task)]
        assert [task.input for task in made] == ["x" * 5_000, {"n": 1}, 2, 2]
        assert [*tasks.list(target_id=topic, descending=False).items] == made[:3]
        assert made[2].id == made[3].id
        assert (made[0].context, made[1].options) == ({"n": 1}, {"o": 1})

    def test_many_once_are_created_once_and_a_name_is_free_again_where_none_was(self, bench: Bench, topic: str) -> None:
        about = {"target_id": topic, "target_type": "document"}
        for _ in range(2):
            with at_work(bench.yard, 4_712):
                bad, good = tasks.create_many(
                    [
                        NewTask(type=topic, **about, input="x" * 6_000_000, once="large"),
                        NewTask(type=topic, **about, input=1, once="small"),
                    ]
                )
                assert isinstance(bad, TooLarge)
                assert isinstance(good, Task)
                assert tasks.create(topic, **about, once="large").input is None
        assert len(tasks.list(target_id=topic).items) == 2

    def test_an_idempotency_key_and_once(self, topic: str) -> None:
        first = manual(topic, idempotency_key=f"key of {topic}")
        assert manual(topic, idempotency_key=f"key of {topic}").id == first.id
        creating = system({"create": f"{topic}.once", "failures": 1})
        with pytest.raises(TaskUnfinished):
            tasks.wait_complete(creating, 0, 1)
        made = tasks.wait_complete(creating)
        assert (made["attempt"], [task.id for task in tasks.list(type=f"{topic}.once")]) == (2, [made["made"]])
        assert refused(once="x", idempotency_key="y") == "once"
        assert refused(once="x") == "once"

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"task_type": ""}, "type"),
            ({"target_id": ""}, "target_id"),
            ({"target_type": 7}, "target_type"),
            ({"user_id": ""}, "user_id"),
            ({"runner_type": "robot"}, "runner_type"),
            ({"delay_s": -1}, "delay_s"),
            ({"delay_s": float("nan")}, "delay_s"),
            ({"delay_s": True}, "delay_s"),
            ({"script_name": "../x"}, "script_name"),
            ({"options": [1]}, "options"),
            ({"context": "x"}, "context"),
            ({"context": {"secret": 7}}, "context.secret"),
            ({"priority": 1_001}, "priority"),
            ({"priority": "High"}, "priority"),
            ({"next": {"type": "worked", "priority": "urgent"}}, "next.priority"),
            ({"max_retries": 100}, "max_retries"),
            ({"timeout_ms": -1}, "timeout_ms"),
            ({"backoff": "nobody"}, "backoff"),
            ({"backoff": ""}, "backoff"),
            ({"backoff": False}, "backoff"),
            ({"backoff": {"delay": "1"}}, "backoff"),
            ({"backoff": {"wait": 1}}, "backoff.wait"),
            ({"next": NextTask(type="")}, "next.type"),
            ({"next": NextTask(type="x", context={"secret": ""})}, "next.context.secret"),
            ({"next": NextTask(type="nobody.runs.it")}, "next.type"),
            ({"next": "worked"}, "next"),
            ({"next": {"input": 1}}, "next.type"),
            ({"next": {"type": "worked", "target_id": "x"}}, "next.target_id"),
            ({"next": {"type": "worked", "next": 5}}, "next.next"),
            ({"next": {"type": "worked", "next": {"type": "nobody.runs.it"}}}, "next.next.type"),
            ({"remove_on_complete": "no"}, "remove_on_complete"),
            ({"input": {"rows": [int]}}, "input.rows[0]"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, fields: dict[str, Any], field: str) -> None:
        assert refused(**fields) == field

    def test_a_backoff_in_kues_forms(self, bench: Bench) -> None:
        forms = (True, {"type": "exponential"}, {"delay": 7})
        found = [bench.job(manual("t", delay_s=2, backoff=form).id).backoff for form in forms]
        assert found == [Fixed(2_000), Exponential(4_000, cap_ms=2_592_000_000), Fixed(7)]

    def test_a_parent_must_be_there(self) -> None:
        with pytest.raises(NotFound):
            manual("t", parent="nobody")
        assert refused(parent=999_999_999) == "parent"


class TestList:
    def test_filters_orders_and_pages(self, bench: Bench, topic: str) -> None:
        made = []
        for n, target in enumerate(("b", "c", "a")):
            bench.clock.move(1_000)
            made.append(manual(topic, target_id=f"{topic}-{target}", input={"name": f"Report {n}"}))
        tasks.complete(made[0])
        first, second, third = (task.id for task in made)

        def found(**query: Any) -> list[int]:
            return [task.id for task in tasks.list(**{"type": topic, **query})]

        assert found() == [third, second, first]
        assert found(descending=False) == [first, second, third]
        assert found(sort="targetId", descending=False) == [third, first, second]
        assert found(status="success") == found(status=State.SUCCESS) == [first]
        assert found(target_id=f"{topic}-c") == found(target_name="RePort 1") == [second]
        assert found(target_type="document", runner_type="manual") == [third, second, first]
        assert found(runner_type="system") == found(target_type="x") == []
        assert found(created_from=made[1].created_at) == [third, second]
        assert found(created_until=made[1].created_at) == [second, first]
        assert found(completed_from=made[0].created_at) == [first]
        assert found(completed_until=made[0].created_at) == []
        assert found(id=second) == found(id=str(second), target_name="1") == [second]
        assert found(id=second, target_name="2") == found(id="x") == []
        page = tasks.list(type=topic, per_page=2)
        assert (page.total_count, [task.input for task in page]) == (3, [{"name": "Report 2"}, {"name": "Report 1"}])
        assert found(per_page=2, cursor=page.next_cursor) == found(per_page=2, page=2) == [first]
        by_target = tasks.list(type=topic, sort="targetId", descending=False, per_page=2)
        walk = {"sort": "targetId", "descending": False, "cursor": by_target.next_cursor}
        assert [*by_target.items, *tasks.list(type=topic, **walk).items] == tasks.list(
            type=topic, sort="targetId", descending=False
        ).items
        for other in ({"sort": "targetId"}, {"sort": "type", "descending": False}, {}):
            with pytest.raises(InvalidInput, match="this is no cursor of this list"):
                tasks.list(type=topic, cursor=by_target.next_cursor, **other)
        assert tasks.list(id=first).items[0].status == "success"
        assert (found(id=first, page=2), tasks.list(id=first, page=2).total_count) == ([], 1)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"sort": "color"}, "sort"),
            ({"status": "done"}, "status"),
            ({"runner_type": "robot"}, "runner_type"),
            ({"per_page": 101}, "per_page"),
            ({"cursor": "x"}, "cursor"),
            ({"sort": "id", "cursor": "20"}, "cursor"),
            ({"created_from": moment_of(2_000), "created_until": moment_of(1_000)}, "created_until"),
        ],
    )
    def test_what_is_wrong_is_told(self, query: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidInput) as error:
            tasks.list(**query)
        assert error.value.field == field


class TestSettle:
    def test_complete(self, bench: Bench, topic: str) -> None:
        done = tasks.complete(manual(topic), output=[1], msg="by hand", user_id="u-2")
        assert (done.status, done.output, done.msg, done.completed_user_id, done.progress) == (
            State.SUCCESS,
            [1],
            "by hand",
            "u-2",
            100.0,
        )
        assert done.completed_at == moment_of(bench.clock.ms)
        failed = tasks.complete(manual(topic).id, "failed", error="no stock")
        assert (failed.status, failed.error) == (State.FAILED, JobError("Failed", "no stock"))
        with pytest.raises(Conflict):
            tasks.complete(done)
        with pytest.raises(InvalidInput):
            tasks.complete(manual(topic), "canceled")

    @pytest.mark.parametrize(
        ("call", "field"),
        [
            (lambda task: tasks.complete(task, msg=5), "msg"),  # type: ignore[arg-type]
            (lambda task: tasks.process_next(task, 5), "result"),  # type: ignore[arg-type]
            (lambda task: tasks.callback(task, "0"), "code"),  # type: ignore[arg-type]
            (lambda task: tasks.callback(task, float("nan")), "code"),
            (lambda task: tasks.callback(task, 0, message=5), "message"),  # type: ignore[arg-type]
            (lambda task: tasks.log(task, 5), "message"),  # type: ignore[arg-type]
            (lambda task: tasks.log_with_signature(task, None, message=5), "message"),  # type: ignore[arg-type]
        ],
    )
    def test_what_is_of_a_wrong_type_is_told_and_changes_nothing(
        self, call: Callable[[Task], object], field: str, topic: str
    ) -> None:
        task = manual(topic)
        with pytest.raises(InvalidInput) as error:
            call(task)
        assert error.value.field == field
        assert (tasks.detail(task).status, tasks.detail(task).log) == (State.PENDING, ())

    def test_a_completion_handler_is_called_by_a_worker(self) -> None:
        handed_over = tasks.complete(manual("ended"), output={"n": 1})
        assert (handed_over.status, handed_over.output) == (State.PENDING, {"n": 1})
        assert tasks.wait_complete(handed_over) == {"n": 1}
        assert ended == [{"n": 1}]

    def test_cancel_one_and_all_about_a_target(self, topic: str) -> None:
        made = [manual(topic, target_id=topic) for _ in range(3)]
        assert tasks.cancel(made[0]).status == tasks.cancel(made[0]).status == State.CANCELED
        assert tasks.cancel_matching(target_id=topic, target_type="document", type=topic) == 2
        assert tasks.cancel_matching(target_id=topic, target_type="document", type=topic) == 0
        with pytest.raises(InvalidInput):
            tasks.cancel_matching(target_id="", target_type="document", type=topic)

    def test_retry_one_and_several(self, topic: str) -> None:
        canceled, failed, live = manual(topic), manual(topic), manual(topic)
        tasks.cancel(canceled)
        tasks.complete(failed, "failed")
        assert tasks.retry(canceled).status == State.PENDING
        outcomes = tasks.retry_many([failed, live, "nobody"])
        assert [type(outcome) for outcome in outcomes] == [Task, Conflict, NotFound]
        assert tasks.detail(failed).error is None


class TestDelete:
    def test_what_is_done_and_with_force_all_else(self, topic: str) -> None:
        done, open_ = manual(topic), manual(topic)
        tasks.complete(done)
        tasks.delete(done)
        with pytest.raises(Conflict, match=r"only a job that is done can be deleted; .* cancel it first, or force it"):
            tasks.delete(open_)
        tasks.delete(str(open_.id), force=True)
        assert tasks.list(type=topic).items == []
        for gone in (done, open_, "nobody"):
            with pytest.raises(NotFound):
                tasks.delete(gone, force=True)

    def test_force_is_yes_or_no(self, topic: str) -> None:
        made = manual(topic)
        with pytest.raises(InvalidInput, match="force: this is neither yes nor no"):
            tasks.delete(made, force="no")  # type: ignore[arg-type]
        assert tasks.detail(made).status == State.PENDING


class TestSigned:
    def test_log(self, bench: Bench, topic: str) -> None:
        made = manual(topic, context={"secret": SECRET})
        tasks.log(made, "one", {"n": 1})
        bench.clock.move(1)
        tasks.log_with_signature(made, sign(SECRET, made.id, {"data": [2], "message": "two"}), message="two", data=[2])
        bench.clock.move(1)
        tasks.log_with_signature(made, sign(SECRET, made.id, {"message": ""}))
        for signature in (None, sign("x", made.id, {"message": ""})):
            with pytest.raises(WrongSignature):
                tasks.log_with_signature(made, signature)
        now = moment_of(bench.clock.ms)
        step = timedelta(milliseconds=1)
        assert tasks.detail(made).log == (
            LogEntry(time=now, message="", data=None),
            LogEntry(time=now - step, message="two", data=[2]),
            LogEntry(time=now - 2 * step, message="one", data={"n": 1}),
        )
        tasks.log_with_signature(manual(topic), None, message="no secret, no signature")
        with pytest.raises(NotFound):
            tasks.log("999999999")

    def test_callback(self, topic: str) -> None:
        done = tasks.callback(manual(topic), 0, data={"n": 1}, user_id="u-1")
        assert (done.status, done.output, done.completed_user_id) == (State.SUCCESS, {"n": 1}, "u-1")
        failed = tasks.callback(manual(topic), 3, message="no stock")
        assert (failed.status, failed.error) == (State.FAILED, JobError("Failed", "no stock"))
        secret = manual(topic, context={"secret": SECRET})
        with pytest.raises(WrongSignature):
            tasks.callback_with_signature(secret, sign(SECRET, secret.id, {"code": 1}), 0)
        signature = sign(SECRET, secret.id, {"code": 0, "data": {}, "message": "m"})
        assert tasks.callback_with_signature(secret, signature, 0, data={}, message="m").status == State.SUCCESS
        assert tasks.detail(secret).log[0].message == "m"  # type: ignore[index]

    def test_process_next(self) -> None:
        result = '{"code": 0, "data": 1}'
        assert tasks.process_next(waiting(), result).output == {"code": 0, "data": 1}
        assert tasks.process_next(waiting(), '{"code": 1}').status == State.FAILED
        secret = waiting(SECRET)
        with pytest.raises(WrongSignature):
            tasks.process_next_with_signature(secret, sign(SECRET, secret.id, '{"code":0,"data":1}'), result)
        done = tasks.process_next_with_signature(secret, sign(SECRET, secret.id, result), result)
        assert done.status == State.SUCCESS
        broken = waiting()
        with pytest.raises(InvalidInput):
            tasks.process_next(broken, "{")
        assert tasks.detail(broken).status == State.FAILED
        with pytest.raises(Conflict):
            tasks.process_next(done, result)


class TestWaiting:
    def test_a_pending_task_is_run_at_once(self, bench: Bench) -> None:
        made = system([1, 2], delay_s=3_600)
        assert tasks.wait_complete(made) == [1, 2]
        assert (tasks.detail(made).attempts, bench.job(made.id).state) == (1, State.SUCCESS)
        assert tasks.wait_complete(made) == [1, 2]

    def test_one_that_fails_or_is_canceled(self, topic: str) -> None:
        failing = system("no luck", max_retries=0)
        with pytest.raises(TaskFailed, match="ValueError: no luck"):
            tasks.wait_complete(failing)
        canceled = tasks.cancel(manual(topic))
        with pytest.raises(TaskCanceled):
            tasks.wait_complete(canceled)
        with pytest.raises(NotFound):
            tasks.wait_complete("999999999")

    def test_it_looks_so_often_with_so_much_between(self, topic: str) -> None:
        made, slept = manual(topic), list[float]()
        with pytest.raises(TaskUnfinished) as error:
            tasks.wait_complete(made, 250, 4, sleep=slept.append)
        assert (slept, error.value.got) == ([0.25] * 3, "pending")

        def completed(pause_s: float) -> None:
            slept.append(pause_s)
            if len(slept) == 5:
                tasks.complete(made, output="at last")

        assert tasks.wait_complete(made, sleep=completed) == "at last"
        assert slept[3:] == [1.0, 1.0]
        for wrong in ({"poll_interval_ms": -1}, {"max_poll_times": 0}):
            with pytest.raises(InvalidInput):
                tasks.wait_complete(made, **wrong)


class TestClock:
    def test_runner_sends_what_is_due(self, bench: Bench) -> None:
        made = system(1, delay_s=3_600)
        bench.clock.move(3_601_000)
        assert tasks.runner()["due_sent"] >= 1
        assert tasks.detail(made).status == State.PENDING
        assert tasks.runner(lambda: False)["due_sent"] == 0

    def test_reset_all_runs_what_is_running_again(self, bench: Bench) -> None:
        made = system("x", delay_s=1_000)
        bench.clock.move(1_000_000)
        claim(bench.yard, bench.job(made.id), Lease("0" * 16, bench.clock.ms + 60_000, "gone"))
        assert tasks.detail(made).status == State.RUNNING
        assert tasks.reset_all() == 1
        assert tasks.detail(made).status == State.PENDING
        assert tasks.reset_all() == 0

    @pytest.mark.parametrize("stale_only", [False, True])
    @pytest.mark.parametrize("before", [datetime(2025, 1, 1), "2025-01-01T00:00:00Z", 0])  # noqa: DTZ001  # naive, that is
    def test_reset_all_takes_an_aware_time_alone(self, stale_only: bool, before: Any) -> None:
        with pytest.raises(InvalidInput, match=r"before: .* expected an aware datetime of the years 1970 to 9998"):
            tasks.reset_all(stale_only=stale_only, before=before)

    def test_reset_all_resets_not_all_where_a_time_is_given(self, bench: Bench) -> None:
        made = system("x")
        claim(bench.yard, bench.job(made.id), Lease("0" * 16, bench.clock.ms + 60_000, "gone"))
        with pytest.raises(InvalidInput, match=r"before: .* expected stale_only=True beside it"):
            tasks.reset_all(before=datetime(2000, 1, 1, tzinfo=UTC))
        assert tasks.detail(made).status == State.RUNNING
        assert tasks.reset_all() == 1

    def test_reset_all_spares_what_is_not_stale(self, bench: Bench) -> None:
        made = system("x")
        claim(bench.yard, bench.job(made.id), Lease("0" * 16, bench.clock.ms + 60_000, "gone"))
        bench.clock.move(1_799_999)
        assert tasks.reset_all(stale_only=True) == 0
        began = tasks.detail(made).started_at
        assert began is not None
        assert tasks.reset_all(stale_only=True, before=began - timedelta(milliseconds=1)) == 0
        bench.clock.move(1)
        assert tasks.reset_all(stale_only=True) == 1
        assert tasks.detail(made).status == State.PENDING


def test_what_is_raised_is_all_of_one_family() -> None:
    assert all(issubclass(kind, TaskyardError) for kind in (TaskFailed, TaskCanceled, TaskUnfinished, WrongSignature))
