"""Functions whose parameters are declared by a record speak of themselves."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from chalicelib.services import jobs, messages, tasks


@pytest.mark.parametrize(
    ("function", "args", "said"),
    [
        (messages.publish, (), "publish() missing 2 required positional arguments: 'topic' and 'payload'"),
        (messages.publish, ("t", {}, 1), "publish() takes"),
        (jobs.list, (), "list() got an unexpected keyword argument 'stat'"),
        (tasks.create, (), "create() got an unexpected keyword argument 'stat'"),
    ],
)
def test_wrong_arguments_are_told_of_the_function_that_was_called(function: Any, args: Any, said: str) -> None:
    unknown = {} if function is messages.publish else {"stat": "failed"}
    with pytest.raises(TypeError) as told:
        function(*args, **unknown)
    assert str(told.value).startswith(said)


def test_their_signature_is_that_of_the_record() -> None:
    assert list(inspect.signature(messages.publish).parameters) == [*inspect.signature(messages.NewMessage).parameters]
    assert list(inspect.signature(jobs.list).parameters) == [*inspect.signature(jobs.Listing).parameters]
