"""The app's functions, as the local runtime finds and limits them."""

from __future__ import annotations

import json

import pytest

import app
from chalicelib.core.errors import InvalidInput
from chalicelib.local import functions
from chalicelib.local.emulator import PROJECT_ROOT
from chalicelib.settings import Settings


def test_limits_are_those_that_are_deployed() -> None:
    config = json.loads((PROJECT_ROOT / ".chalice" / "config.json").read_text())
    deployed = {functions.API: config, **{name: config | own for name, own in config["lambda_functions"].items()}}
    limits = functions.limits(Settings())
    assert limits.keys() == deployed.keys()
    for name, limit in limits.items():
        assert (limit.timeout_s, limit.memory_mb) == (
            deployed[name]["lambda_timeout"],
            deployed[name]["lambda_memory_size"],
        )


def test_the_workers_limit_is_a_setting() -> None:
    assert functions.limits(Settings(function_timeout_s=20))[functions.WORKER].timeout_s == 20


def test_every_function_is_found_as_lambda_finds_it() -> None:
    for function in app.app.pure_lambda_functions:
        module, _, attribute = function.handler_string.rpartition(".")
        assert module == "app"
        assert functions.load(function.name) is getattr(app, attribute)
    assert functions.load(functions.API) is app.app
    assert {function.name for function in app.app.pure_lambda_functions} == functions.limits(Settings()).keys() - {
        functions.API
    }


def test_an_unknown_function_is_named_with_those_there_are() -> None:
    known = "api or clock or dead_letters or hooks or projector or worker"
    with pytest.raises(InvalidInput, match=f"expected {known}; got nope"):
        functions.load("nope")


def test_a_context_names_the_function_as_it_is_deployed() -> None:
    context = functions.context_of(functions.CLOCK, Settings(), "r-1", 0)
    assert context.function_name == "taskyard-local-clock"
    assert context.invoked_function_arn.endswith(":function:taskyard-local-clock")
    assert context.aws_request_id == "r-1"
