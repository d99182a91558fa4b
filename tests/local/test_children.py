"""Children and environments: processes that come back when they die and go when they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.local import environments
from chalicelib.local.children import Child, NotLoaded
from chalicelib.local.emulator import PROJECT_ROOT
from chalicelib.local.environments import Environment, InvocationFailed
from tests.support.processes import is_running
from tests.support.waiting import DEADLINE_S, until

STUB = "tests.support.stub_function"


class Heard:
    """Remembers what children said and what was said of them."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.notices: list[str] = []

    def lines(self, name: str, texts: Sequence[str]) -> None:
        self.written += [(name, text) for text in texts]

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def child(heard: Heard) -> Iterator[Child]:
    started = Child("stub", STUB, [], heard)
    started.start()
    yield started
    started.stop(0)


@pytest.fixture
def environment(child: Child) -> Environment:
    return Environment(child, timeout_s=DEADLINE_S)


def pid_of(child: Child) -> int:
    incarnation = child.ready(DEADLINE_S)
    assert incarnation is not None
    return incarnation.process.pid


class TestChild:
    def test_its_words_go_to_the_output(self, environment: Environment, heard: Heard) -> None:
        environment.invoke({"say": "hello"})
        until(lambda: ("stub", "hello") in heard.written)

    def test_one_that_is_killed_is_replaced_at_once(self, child: Child, heard: Heard) -> None:
        first = pid_of(child)
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(child) != first)
        assert heard.notices == [f"stub (pid {first}) was killed by SIGKILL; it is started again at once"]

    def test_one_that_cannot_start_is_tried_again_more_and_more_slowly(self, heard: Heard) -> None:
        broken = Child("broken", STUB, ["dies"], heard)
        broken.start()
        try:
            until(lambda: len(heard.notices) >= 2)
        finally:
            broken.stop(0)
        assert [notice.split("; ")[1] for notice in heard.notices[:2]] == [
            "it is started again in 0.5 s",
            "it is started again in 1 s",
        ]
        assert "ended with exit code 3" in heard.notices[0]
        assert ("broken", "no such module") in heard.written

    def test_stopping_ends_the_process_and_starts_no_other(self, child: Child, heard: Heard) -> None:
        pid = pid_of(child)
        child.stop(DEADLINE_S)
        assert not is_running(pid)
        assert child.ready(0) is None
        assert heard.notices == []

    def test_stopping_kills_one_that_will_not_end(self, heard: Heard) -> None:
        deaf = Child("deaf", "tests.support.deaf_child", [], heard)
        deaf.start()
        pid = pid_of(deaf)
        deaf.stop(0.1)
        assert not is_running(pid)

    def test_one_that_was_never_started_can_be_stopped(self, heard: Heard) -> None:
        Child("unborn", STUB, [], heard).stop(0)

    def test_one_that_is_renewed_goes_over_to_the_process_that_stood_by(self, child: Child, heard: Heard) -> None:
        environment = Environment(child, timeout_s=DEADLINE_S)
        before = environment.invoke({})["pid"]
        child.prepare()
        assert child.load() == {"ready": True, "queues": {}, "batches": {}}
        assert environment.invoke({})["pid"] == before
        child.switch()
        assert environment.invoke({})["pid"] != before
        until(lambda: not is_running(before))
        assert heard.notices == []

    def test_what_the_old_process_has_begun_it_ends(self, child: Child, tmp_path: Path) -> None:
        environment = Environment(child, timeout_s=DEADLINE_S)
        begun, go_on = tmp_path / "begun", tmp_path / "go-on"
        before = pid_of(child)
        with ThreadPoolExecutor(1) as other:
            running = other.submit(environment.invoke, {"touch": str(begun), "await": str(go_on)})
            until(begun.exists)
            child.load()
            child.switch()
            go_on.touch()
            assert running.result()["pid"] == before
        assert environment.invoke({})["pid"] != before

    def test_one_whose_successor_does_not_load_stays(self, child: Child) -> None:
        before = pid_of(child)
        child._environment = {**child._environment, "STUB_IS_BROKEN": "no such module"}
        with pytest.raises(NotLoaded, match="no such module"):
            child.load()
        assert pid_of(child) == before
        child._environment = {**os.environ}
        child.load()
        child.switch()
        assert pid_of(child) != before

    def test_stopping_ends_the_process_that_stands_by_too(self, child: Child) -> None:
        child.prepare()
        waiting = child._next
        assert waiting is not None
        child.stop(DEADLINE_S)
        assert not is_running(waiting.process.pid)
        with pytest.raises(NotLoaded):
            child.load()

    def test_it_ends_when_its_parent_is_killed(self) -> None:
        script = """
            import sys, time
            from chalicelib.local.children import Child
            from tests.local.test_children import STUB, Heard
            child = Child("stub", STUB, [], Heard())
            child.start()
            print(child.ready(20).process.pid, flush=True)
            time.sleep(60)
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            parent.kill()
        until(lambda: not is_running(pid))


class TestEnvironment:
    def test_answers_what_the_function_returns(self, environment: Environment) -> None:
        assert environment.invoke({"Records": ["ä"]})["event"] == {"Records": ["ä"]}

    def test_is_the_same_process_from_invocation_to_invocation(self, environment: Environment) -> None:
        assert environment.invoke({})["pid"] == environment.invoke({})["pid"]

    def test_a_function_that_raises_goes_on(self, environment: Environment) -> None:
        pid = environment.invoke({})["pid"]
        with pytest.raises(InvocationFailed, match="it raised ValueError: no such order"):
            environment.invoke({"raise": "no such order"})
        assert environment.invoke({})["pid"] == pid

    def test_a_function_that_dies_is_replaced(self, environment: Environment, heard: Heard) -> None:
        pid = environment.invoke({})["pid"]
        with pytest.raises(InvocationFailed, match="its process ended"):
            environment.invoke({"die": 70})
        assert environment.invoke({})["pid"] != pid
        assert "ended with exit code 70" in heard.notices[0]

    def test_a_function_that_overruns_its_time_is_killed_and_replaced(self, child: Child, heard: Heard) -> None:
        environment = Environment(child, timeout_s=1)
        pid = environment.invoke({})["pid"]
        with pytest.raises(InvocationFailed, match="it took longer than 1 s and was killed"):
            environment.invoke({"hang": True})
        assert environment.invoke({})["pid"] != pid
        assert "was killed by SIGKILL" in heard.notices[0]

    def test_carries_events_of_megabytes(self, environment: Environment) -> None:
        event = {"body": "x" * 3_000_000}
        assert environment.invoke(event)["event"] == event

    def test_says_so_when_the_process_is_gone_for_good(self, environment: Environment, child: Child) -> None:
        child.stop(0)
        assert not environment.await_ready(DEADLINE_S)
        with pytest.raises(InvocationFailed, match="did not start"):
            environment.invoke({})


class TestBatches:
    """A batch may have to be received first: until then, the function's time does not run."""

    def test_tells_how_many_messages_there_are_before_the_function_is_called(self, environment: Environment) -> None:
        begun: list[list[str]] = []
        environment.work({"event": {}, "begun": ["acme", "", ""]}, lambda answer: begun.append(answer["begun"]))
        assert begun == [["acme", "", ""]]

    def test_of_nothing_calls_no_function(self, environment: Environment) -> None:
        begun: list[list[str]] = []
        environment.work({"event": {"die": 70}, "begun": []}, lambda answer: begun.append(answer["begun"]))
        assert begun == [[]]

    def test_a_function_that_raises_dies_or_overruns_its_time(self, child: Child) -> None:
        environment = Environment(child, timeout_s=1)
        begun: list[list[str]] = []
        for event, reason in (
            ({"raise": "no such order"}, "it raised ValueError: no such order"),
            ({"die": 70}, "its process ended"),
            ({"hang": True}, "it took longer than 1 s and was killed"),
        ):
            with pytest.raises(InvocationFailed, match=reason):
                environment.work({"event": event, "begun": [""]}, lambda answer: begun.append(answer["begun"]))
        assert begun == [[""], [""], [""]]

    def test_a_process_that_hangs_before_it_begins(
        self, environment: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environments, "RECEIVE_LIMIT_S", 1)
        begun: list[list[str]] = []
        with pytest.raises(InvocationFailed, match="it took longer than 1 s and was killed"):
            environment.work({"event": {"hang": True}}, lambda answer: begun.append(answer["begun"]))
        assert begun == []
