"""Declaring handlers, and the registry that collects the declarations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import DEFAULT_BANDS, Band
from chalicelib.core.retry import Exponential, Fixed, Named
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.declare import DEFAULT_POOL, Handler, backoff, on, on_success, subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.handlers.signatures import place_of
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from tests.support.yards import Bench, moto_bench

LOW, NORMAL, MEDIUM, HIGH, CRITICAL = Band.LOW, Band.NORMAL, Band.MEDIUM, Band.HIGH, Band.CRITICAL


class Address(BaseModel):
    """A part of an input."""

    city: str = Field(min_length=2)


class OutgoingMessage(BaseModel):
    """An input with fields that must be there."""

    weight_g: int = Field(gt=0)
    to: Address


class Receipt(BaseModel):
    """An output that is a model."""

    weight_g: int
    city: str


@task("parcels.weigh", pool="parcels", lanes=(LOW, CRITICAL), timeout_s=1.5, max_attempts=5, backoff=Fixed(250))
def weigh(outgoing: OutgoingMessage, context: Context) -> Receipt:
    """A typed handler that wants the context."""
    assert isinstance(context, Context)
    return Receipt(weight_g=outgoing.weight_g, city=outgoing.to.city)


@task("parcels.echo")
def echo(value: Any) -> Any:
    """A plain handler without the context."""
    return value


@task("parcels.attempt")
def attempt(_value: Any, context: Context) -> int:
    """A plain handler with the context."""
    return context.attempt


@subscribe("parcels.sent", lanes=(MEDIUM,))
def notify(_parcel: Any) -> None:
    """One subscriber."""


@subscribe("parcels.sent", lanes=(MEDIUM,), max_attempts=7, backoff=Named("patient"))
@subscribe("parcels.lost")
def record(_parcel: Any, _context: Context) -> None:
    """Another one, of two topics."""


@backoff("patient")
def patient(retry: int) -> float:
    """A wait of the user's own."""
    return retry * 1_000.0


def refusal(declare: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        declare()
    return refused.value


def line_of(function: Any) -> int:
    line: int = function.__code__.co_firstlineno
    return line


def registered_or_refused(*functions: Any, field: str, then: Callable[[Registry], bool]) -> bool:
    """Whether the declarations are refused naming ``field``, or else do what ``then`` asks of them."""
    try:
        registry = Registry.of(functions)
    except InvalidInput as error:
        return error.field == field
    return then(registry)


# -- what a declaration becomes -----------------------------------------------------------------------


def test_a_declaration_leaves_the_function_as_it_is() -> None:
    assert echo({"a": 1}) == {"a": 1}
    assert patient(3) == 3_000.0
    assert echo.__name__ == "echo"


def test_everything_a_task_declares() -> None:
    assert Registry.of([weigh]).tasks == {
        "parcels.weigh": Handler(
            name="parcels.weigh",
            queue="parcels",
            bands=(CRITICAL, LOW),
            function=weigh,
            timeout_ms=1_500,
            max_attempts=5,
            backoff=Fixed(250),
            input_model=OutgoingMessage,
            wants_context=True,
        )
    }


def test_what_a_task_has_without_being_told() -> None:
    assert Registry.of([echo]).tasks == {
        "parcels.echo": Handler(
            name="parcels.echo",
            queue=DEFAULT_POOL,
            bands=DEFAULT_BANDS,
            function=echo,
            timeout_ms=None,
            max_attempts=None,
            backoff=None,
            input_model=None,
            wants_context=False,
        )
    }


def test_a_handler_is_named_by_where_it_lives() -> None:
    assert Registry.of([weigh]).tasks["parcels.weigh"].label == f"{__name__}.weigh"


def test_a_topic_may_have_several_subscribers_in_the_order_of_their_declaration() -> None:
    registry = Registry.of([notify, record])
    assert [handler.function for handler in registry.subscribers["parcels.sent"]] == [notify, record]
    assert [handler.function for handler in registry.subscribers["parcels.lost"]] == [record]
    sent = registry.subscribers["parcels.sent"][1]
    assert (sent.queue, sent.bands) == ("parcels.sent", (MEDIUM,))
    assert (sent.max_attempts, sent.backoff) == (7, Named("patient"))
    assert registry.subscribers["parcels.lost"][0].max_attempts is None
    assert registry.tasks == {}


def test_one_function_may_be_a_task_and_a_subscriber() -> None:
    @task("both")
    @subscribe("both.wanted")
    def both(_value: Any) -> None:
        pass

    registry = Registry.of([both])
    assert registry.tasks["both"].function is both
    assert registry.subscribers["both.wanted"][0].function is both


def test_the_queues_are_those_of_the_declarations_and_the_default_pool() -> None:
    assert Registry.of([]).queues == Registry().queues == {DEFAULT_POOL: (HIGH, NORMAL, LOW)}
    assert Registry.of([weigh, echo, notify, record]).queues == {
        DEFAULT_POOL: (HIGH, NORMAL, LOW),
        "parcels": (CRITICAL, LOW),
        "parcels.sent": (MEDIUM,),
        "parcels.lost": (HIGH, NORMAL, LOW),
    }


def test_those_are_served_of_which_a_handler_runs_something() -> None:
    assert Registry.of([]).served == {}
    assert Registry.of([weigh, notify]).served == {"parcels": (CRITICAL, LOW), "parcels.sent": (MEDIUM,)}


def test_the_order_in_which_lanes_are_named_does_not_matter() -> None:
    @task("one", pool="shared", lanes=(LOW, HIGH, HIGH))
    def one(_value: Any) -> None:
        pass

    @task("two", pool="shared", lanes=(HIGH, LOW))
    def two(_value: Any) -> None:
        pass

    assert Registry.of([one, two]).queues["shared"] == (HIGH, LOW)


def test_what_is_not_declared_is_passed_over() -> None:
    def plain(_value: Any) -> None:
        pass

    registry = Registry.of([plain, 5, "text", None, OutgoingMessage, print, Registry, object(), sys])
    assert registry == Registry()


def test_a_decorated_declaration_is_still_one() -> None:
    def noisy(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @wraps(function)
        def louder(value: Any) -> Any:
            return [function(value)]

        return louder

    handler = Registry.of([noisy(echo)]).tasks["parcels.echo"]
    assert handler.function(1) == [1]
    assert handler.label == f"{__name__}.echo"


# -- contradictions -----------------------------------------------------------------------------------


def test_two_handlers_of_one_task_type() -> None:
    @task("parcels.echo")
    def other(_value: Any) -> None:
        pass

    error = refusal(lambda: Registry.of([echo, other]))
    first, second = (f"{__name__}.{function.__qualname__} ({place_of(function)})" for function in (echo, other))
    assert (error.message, error.field, error.expected) == (
        f"two handlers declare one task type: {first} and {second}",
        "parcels.echo",
        "one",
    )
    assert place_of(echo) == f"tests/engine/handlers/test_declare.py:{line_of(echo)}"


@pytest.mark.parametrize("swapped", [False, True])
def test_handlers_of_one_queue_with_different_lanes(swapped: bool) -> None:
    @task("other", pool="parcels", lanes=(LOW,))
    def other(_value: Any) -> None:
        pass

    error = refusal(lambda: Registry.of([other, weigh] if swapped else [weigh, other]))
    second = weigh if swapped else other
    assert error.message == f"handlers of one queue declare different lanes ({place_of(second)})"
    assert error.field == "parcels"
    assert {error.expected, error.got} == {"critical, low", "low"}


def test_subscribers_of_one_topic_with_different_lanes() -> None:
    @subscribe("parcels.sent")
    def other(_parcel: Any) -> None:
        pass

    error = refusal(lambda: Registry.of([notify, other]))
    assert (error.field, error.expected, error.got) == ("parcels.sent", "medium", "high, normal, low")


def test_two_backoff_functions_of_one_name() -> None:
    @backoff("patient")
    def hasty(_retry: int) -> float:
        return 0.0

    assert "patient (" in refusal(lambda: Registry.of([patient, hasty])).message


def test_lanes_that_the_default_pool_does_not_have_are_not_passed_over() -> None:
    @task("urgent", lanes=(CRITICAL,))
    def urgent(_value: Any) -> None:
        pass

    assert registered_or_refused(urgent, field=DEFAULT_POOL, then=lambda made: CRITICAL in made.queues[DEFAULT_POOL])


def test_two_subscribers_that_look_alike_are_both_called() -> None:
    """Functions made by one factory have one name; each must be called, or refused in the first place."""
    called: list[str] = []

    def forwarding(to: str) -> Callable[[Any], None]:
        @subscribe("parcels.sent")
        def forward(_parcel: Any) -> None:
            called.append(to)

        return forward

    def both_are_called(made: Registry) -> bool:
        functions = [handler.function for handler in made.subscribers["parcels.sent"]]
        with moto_bench(functions) as bench:
            job = publish(bench.yard, NewJob(kind=Kind.MESSAGE, type="parcels.sent"))
            bench.work(bench.lane(job))
        return called == ["warehouse", "billing"]

    alike = (forwarding("warehouse"), forwarding("billing"))
    assert registered_or_refused(*alike, field="parcels.sent", then=both_are_called), called


# -- handlers that cannot work ------------------------------------------------------------------------


def nothing() -> None:
    pass


def three(_a: Any, _b: Any, _c: Any) -> None:
    pass


def any_number(*_values: Any) -> None:
    pass


def by_keyword(*, value: Any) -> None:
    del value


@pytest.mark.parametrize(("function", "count"), [(nothing, "0"), (three, "3"), (any_number, "0"), (by_keyword, "0")])
def test_a_handler_takes_one_or_two_parameters(function: Callable[..., None], count: str) -> None:
    error = refusal(lambda: Registry.of([task("odd")(function)]))
    assert (error.field, error.expected, error.got) == (function.__qualname__, "one or two parameters", count)


def test_a_handler_that_needs_more_than_it_is_given_is_refused() -> None:
    @task("odd")
    def odd(_value: Any, *, mode: str) -> str:
        return mode

    assert refusal(lambda: Registry.of([odd])).field is not None


@pytest.mark.parametrize(
    ("options", "field", "got"),
    [
        ({"lanes": ()}, "lanes", "()"),
        ({"timeout_s": 0}, "timeout_s", "0"),
        ({"timeout_s": -1.5}, "timeout_s", "-1.5"),
        ({"max_attempts": 0}, "max_attempts", "0"),
        ({"max_attempts": 101}, "max_attempts", "101"),
        ({"timeout_s": 86_400.5}, "timeout_s", "86400.5"),
        ({"timeout_s": 0.0004}, "timeout_s", "0.0004"),  # no whole millisecond
        ({"timeout_s": "5"}, "timeout_s", "5"),
        ({"timeout_s": True}, "timeout_s", "True"),
        ({"max_attempts": 2.0}, "max_attempts", "2.0"),
        ({"max_attempts": "3"}, "max_attempts", "3"),
        ({"max_attempts": True}, "max_attempts", "True"),
        ({"backoff": {"delay": 5}}, "backoff", "{'delay': 5}"),
        ({"backoff": 200}, "backoff", "200"),
        ({"backoff": Fixed("5")}, "backoff", "Fixed(delay_ms='5')"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("declare", [task, subscribe])
def test_options_out_of_range_are_refused_where_they_are_written(
    declare: Callable[..., Any], options: dict[str, Any], field: str, got: str
) -> None:
    error = refusal(lambda: declare("odd", **options))
    assert (error.field, error.got) == (field, got)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 2.5}, "concurrency"),
        ({"concurrency": 1_001}, "concurrency"),
        ({"size": "10"}, "size"),
        ({"size": 0}, "size"),
        ({"script": "../x"}, "script"),
        ({"script": None}, "script"),
        ({"pool": ""}, "pool"),
    ],
)
def test_what_only_a_task_declares_is_checked_too(options: dict[str, Any], field: str) -> None:
    assert refusal(lambda: task("odd", **options)).field == field


@pytest.mark.parametrize(
    ("decorator", "remedy"),
    [
        (task, 'write @task("the.type")'),
        (subscribe, 'write @subscribe("the.topic")'),
        (on_success, 'write @on_success("the.type")'),
        (on, 'write @on("failed"), or @on("failed", "the.type")'),
        (backoff, 'write @backoff("the_name")'),
    ],
)
def test_a_decorator_without_parentheses_says_what_to_write(decorator: Any, remedy: str) -> None:
    error = refusal(lambda: decorator(echo))
    assert error.message == f"@{decorator.__name__} stands without its parentheses"
    assert error.remedy == remedy
    assert refusal(lambda: decorator(["one", "two"])).remedy == remedy


def test_a_hook_is_declared_for_a_type() -> None:
    error = refusal(lambda: on("failed", 7))  # type: ignore[arg-type]
    assert (error.field, error.remedy) == ("type", 'write @on("failed"), or @on("failed", "the.type")')


@pytest.mark.parametrize("lanes", ["high", ("high", "soon"), 5, None, [[]]])
def test_lanes_are_bands(lanes: Any) -> None:
    error = refusal(lambda: task("odd", lanes=lanes))
    assert (error.field, error.expected) == ("lanes", "one to five of low, normal, medium, high, critical")
    assert error.remedy == "write lanes=(Band.HIGH, Band.NORMAL)"


def test_a_class_is_no_handler() -> None:
    error = refusal(lambda: Registry.of([task("odd")(Tool)]))
    assert (error.field, error.expected, error.got) == ("Tool", "a function", "a class")


class Tool:
    """Called as a function is."""

    def __call__(self, value: Any, context: Context) -> Any:
        return [value, context]


def test_what_is_called_as_a_function_may_be_a_handler() -> None:
    tool: Any = Tool()
    registry = Registry.of([task("tool")(tool), task("part")(partial(echo))])
    assert registry.tasks["tool"].wants_context is True
    assert registry.tasks["part"].wants_context is False
    assert registry.tasks["tool"].label == f"{__name__}.Tool"


def test_a_wrapper_that_gives_more_is_called_with_what_it_takes_itself() -> None:
    def with_tools(function: Callable[..., Any]) -> Callable[[Any], Any]:
        @wraps(function)
        def given(value: Any) -> Any:
            return function(value, None, "tools")

        return given

    @task("tooled")
    @with_tools
    def tooled(value: OutgoingMessage, _context: Any, tools: str) -> list[Any]:
        return [value, tools]

    handler = Registry.of([tooled]).tasks["tooled"]
    assert (handler.wants_context, handler.input_model) == (False, OutgoingMessage)
    assert handler.function(1) == [1, "tools"]


def test_an_annotation_that_is_not_there_when_the_module_runs() -> None:
    def typed(value: "Missing", context: "Absent") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        pass

    error = refusal(lambda: Registry.of([task("typed")(typed)]))
    assert (error.got, error.remedy) == ("name 'Missing' is not defined", "import it outside of `if TYPE_CHECKING`")

    def untyped(value: Any, context: "Absent") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        pass

    assert Registry.of([task("untyped")(untyped)]).tasks["untyped"].wants_context is True


@pytest.mark.parametrize("name", ["", "x" * 401, "two\nlines", 7, None, echo], ids=lambda name: repr(name)[:20])
def test_a_name_that_no_job_can_have_is_refused(name: Any) -> None:
    fields = [refusal(partial(declare, name)).field for declare in (task, subscribe, on_success, backoff)]
    assert fields == ["type", "topic", "type", "name"]


def test_the_name_of_a_function_is_a_backoff() -> None:
    declared = task("odd", backoff="patient")(lambda value: value)
    assert Registry.of([declared]).tasks["odd"].backoff == Named("patient")


@pytest.mark.parametrize("options", [{"max_attempts": 1}, {"max_attempts": 100}, {"lanes": tuple(Band)}])
def test_options_at_the_ends_of_their_ranges(options: dict[str, Any]) -> None:
    handler = Registry.of([task("edge", pool="edge", **options)(lambda value: value)]).tasks["edge"]
    assert handler.max_attempts == options.get("max_attempts")
    assert len(handler.bands) == len(options.get("lanes", DEFAULT_BANDS))


# -- backoff functions --------------------------------------------------------------------------------


def test_a_backoff_function_is_found_by_its_name() -> None:
    assert Registry.of([patient]).backoff_function("patient") is patient


@pytest.mark.parametrize(
    ("declared", "expected"), [([], "one declared with @backoff(name)"), ([patient], "patient")], ids=["none", "some"]
)
def test_an_unknown_backoff_name_is_answered_with_the_known_ones(declared: list[Any], expected: str) -> None:
    error = refusal(lambda: Registry.of(declared).backoff_function("hasty"))
    assert (error.field, error.expected, error.got) == ("backoff", expected, "hasty")


@pytest.mark.parametrize("function", [nothing, three, any_number, by_keyword])
def test_a_backoff_function_takes_the_retry_and_perhaps_the_delay(function: Callable[..., None]) -> None:
    error = refusal(lambda: Registry.of([backoff("odd")(function)]))
    assert (error.field, error.expected) == (function.__qualname__, "one or two parameters")


# -- inputs -------------------------------------------------------------------------------------------


def test_a_typed_input_arrives_as_its_model() -> None:
    handler = Registry.of([weigh]).tasks["parcels.weigh"]
    assert handler.parse({"weight_g": 5, "to": {"city": "Ulm"}}) == OutgoingMessage(weight_g=5, to=Address(city="Ulm"))


@pytest.mark.parametrize("value", [None, 0, "", [], {"weight_g": "heavy"}, 1.5, True])
def test_an_untyped_input_arrives_as_it_was_sent(value: Any) -> None:
    assert Registry.of([echo]).tasks["parcels.echo"].parse(value) is value


def test_an_annotation_that_is_no_model_checks_nothing() -> None:
    @task("shape")
    def shape(_value: dict[str, int]) -> None:
        pass

    assert Registry.of([shape]).tasks["shape"].parse({"sides": "three"}) == {"sides": "three"}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "input"),
        ([], "input"),
        ({}, "input.weight_g"),
        ({"weight_g": 0, "to": {"city": "Ulm"}}, "input.weight_g"),
        ({"weight_g": 5}, "input.to"),
        ({"weight_g": 5, "to": {"city": "U"}}, "input.to.city"),
        ({"weight_g": 5, "to": 7}, "input.to"),
    ],
)
def test_a_wrong_input_is_refused_by_the_first_field_at_fault(value: Any, field: str) -> None:
    error = refusal(lambda: Registry.of([weigh]).tasks["parcels.weigh"].parse(value))
    assert (error.message, error.field) == ("parcels.weigh cannot take this input", field)
    assert error.expected
    assert str(error).startswith(f"{field}: parcels.weigh cannot take this input; expected ")


def test_what_is_refused_is_told_in_the_words_of_every_other_error() -> None:
    error = refusal(lambda: Registry.of([weigh]).tasks["parcels.weigh"].parse({"weight_g": 5, "to": {"city": ""}}))
    assert (error.expected, error.got) == ("text of at least 2 characters", "an empty text")


# -- a package of handlers ----------------------------------------------------------------------------

PACKAGE = {
    "__init__.py": "",
    "first.py": """
from chalicelib import backoff, task

@task("first")
def run(value):
    return value

@backoff("slow")
def slow(retry):
    return 9
""",
    "second.py": """
from chalicelib import subscribe
from {name}.first import run, slow  # imported, so not declared a second time

@subscribe("second")
def listen(value, context):
    return run(value)

def helper(value):
    return value
""",
    "inner/__init__.py": "",
    "inner/third.py": """
from chalicelib import task

class Tools:
    pass

@task("third", pool="inner")
def run(value):
    return Tools()
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    name = "some_declared_handlers"
    for path, text in PACKAGE.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{name}", name))
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def test_a_package_is_searched_with_all_its_modules(package: ModuleType) -> None:
    registry = Registry.of_packages([package])
    assert set(registry.tasks) == {"first", "third"}
    assert {topic: len(found) for topic, found in registry.subscribers.items()} == {"second": 1}
    assert set(registry.backoffs) == {"slow"}
    assert registry.tasks["third"].label == "some_declared_handlers.inner.third.run"
    assert set(registry.queues) == {DEFAULT_POOL, "second", "inner"}


# -- what they are given when they run ----------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with moto_bench([weigh, echo, attempt, notify, record, patient]) as made:
        yield made


def outcome(bench: Bench, new_job: NewJob) -> tuple[State, Any]:
    """Publish, run once; the state and the output after that."""
    job = publish(bench.yard, new_job)
    bench.work(bench.lane(job))
    found = bench.job(job.id)
    return found.state, bench.yard.payloads.output(found)


def test_a_typed_handler_gets_its_model_and_may_return_one(bench: Bench) -> None:
    new_job = NewJob(kind=Kind.TASK, type="parcels.weigh", input={"weight_g": 5, "to": {"city": "Ulm"}})
    assert outcome(bench, new_job) == (State.SUCCESS, {"weight_g": 5, "city": "Ulm"})


@pytest.mark.parametrize("value", [None, 0, "", [], {}, {"deep": [1, None, {"é": "🚀"}]}, False])
def test_a_plain_handler_gets_and_returns_plain_json(bench: Bench, value: Any) -> None:
    assert outcome(bench, NewJob(kind=Kind.TASK, type="parcels.echo", input=value)) == (State.SUCCESS, value)


def test_the_context_tells_which_attempt_it_is(bench: Bench) -> None:
    assert outcome(bench, NewJob(kind=Kind.TASK, type="parcels.attempt")) == (State.SUCCESS, 1)


def test_a_publish_is_held_to_what_the_handler_takes(bench: Bench) -> None:
    new_job = NewJob(kind=Kind.TASK, type="parcels.weigh", input={"weight_g": -1, "to": {"city": "Ulm"}})
    assert refusal(lambda: publish(bench.yard, new_job)).field == "input.weight_g"


@pytest.mark.parametrize(
    ("type_", "expected"),
    [("parcels.wiegh", "parcels.weigh"), ("letters", "parcels.attempt or parcels.echo or parcels.weigh")],
)
def test_an_unknown_task_type_is_answered_with_the_nearest_or_all(bench: Bench, type_: str, expected: str) -> None:
    error = refusal(lambda: publish(bench.yard, NewJob(kind=Kind.TASK, type=type_)))
    assert (error.field, error.expected, error.got) == ("type", expected, type_)
    assert error.remedy is not None
    assert bench.yard.settings.handlers in error.remedy


def test_an_unknown_backoff_is_refused_at_publish(bench: Bench) -> None:
    error = refusal(lambda: publish(bench.yard, NewJob(kind=Kind.TASK, type="parcels.echo", backoff=Named("hasty"))))
    assert (error.field, error.expected, error.got) == ("backoff", "patient", "hasty")


@pytest.mark.parametrize("wrong", ["patient", {"delay": 1}, True, Fixed(1.5)], ids=repr)  # type: ignore[arg-type]
@pytest.mark.parametrize("name", ["parcels.echo", "parcels.sent"])
def test_what_is_no_backoff_is_refused_at_publish(bench: Bench, name: str, wrong: Any) -> None:
    kind = Kind.TASK if name == "parcels.echo" else Kind.MESSAGE
    assert refusal(lambda: publish(bench.yard, NewJob(kind=kind, type=name, backoff=wrong))).field == "backoff"


def test_a_job_takes_its_attempts_from_whoever_says(bench: Bench) -> None:
    """The job's own word, the handler's, the most generous subscriber's, or three."""
    outgoing = {"weight_g": 5, "to": {"city": "Ulm"}}
    found = [
        publish(bench.yard, new_job).max_attempts
        for new_job in (
            NewJob(kind=Kind.TASK, type="parcels.weigh", input=outgoing, max_attempts=2),
            NewJob(kind=Kind.TASK, type="parcels.weigh", input=outgoing),
            NewJob(kind=Kind.MESSAGE, type="parcels.sent"),
            NewJob(kind=Kind.MESSAGE, type="parcels.lost"),
            NewJob(kind=Kind.TASK, type="parcels.echo", backoff=Exponential(1)),
        )
    ]
    assert found == [2, 5, 7, 3, 3]
