"""What the OpenAPI document says is so: requests made from it, right and wrong ones, are answered as it says.

With the same seed each time, so that a failure can be repeated; a few examples for each operation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import CHECKS

from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.local.gateway import Gateway
from chalicelib.local.lambda_context import LambdaContext
from tests.support.service import HOST, service

EXAMPLES = 2  # of right requests and of wrong ones, for each operation; where no key is needed, one that is right
BATCHES = {
    "/mq/message/publish-batch",
    "/mq/message/complete-batch",
    "/mq/message/fail-batch",
    "/api/task/create-batch",
    "/job/search",
}
RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# Rules that JSON Schema cannot tell: a cursor that some answer named, a time zone that there is.
UNTOLD = "positive_data_acceptance"
# Of a batch, an entry that is wrong is told in its result; of kue's requests, all that is wrong is told with 200.
TOLD_IN_RESULTS = "negative_data_rejection"


def _context(request_id: str) -> LambdaContext:
    return LambdaContext(
        function_name="api",
        aws_request_id=request_id,
        invoked_function_arn="arn",
        memory_limit_in_mb=128,
        deadline_s=time.time() + 29,
    )


@pytest.fixture(params=["local", "prod"])
def stage(request: pytest.FixtureRequest) -> Iterator[tuple[Any, dict[str, str]]]:
    """The document of an installation without keys, and of one with them; with the headers that open it."""
    with service(stage=request.param) as api:
        key = new_key(os.urandom)
        api.yard.directory.put_access_key(
            AccessKey(name="tester", scopes=frozenset("*"), digest=digest_of(key), created_at_ms=api.clock.ms)
        )
        schema = schemathesis.openapi.from_dict(_for_keys(api.get("/openapi.json").json))
        schema.app = Gateway(api.module.app, "api", 29, _context)
        yield schema, {"Authorization": f"Bearer {key}"} if request.param == "prod" else {}


def _for_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The document as if there were no users: every request here has a key in the header that is theirs, too."""
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        operation["security"] = [way for way in operation["security"] if "user" not in way]
    return document


def test_what_is_answered_is_what_the_document_says(stage: tuple[Any, dict[str, str]]) -> None:
    schema, headers = stage
    operations = [found.ok() for found in schema.get_all_operations()]
    answered: set[str] = set()
    for operation in operations:
        for mode in _modes(operation) if headers else [RIGHT]:
            asked = given(case=operation.as_strategy(generation_mode=mode))(_asking(headers, answered))
            seed(7)(settings(FEW, max_examples=EXAMPLES if headers else 1)(asked))()
    assert answered == {operation.label for operation in operations}


def _asking(headers: dict[str, str], answered: set[str]) -> Callable[..., None]:
    def ask(case: Any) -> None:
        if case.path.endswith("/poll"):
            case.query.pop("wait", None)  # this clock stands still
        is_none = "" in (case.query or {}).values()  # in a query, an empty value is none
        excluded = [UNTOLD, TOLD_IN_RESULTS] if case.path in BATCHES or is_none else [UNTOLD]
        response = case.call(base_url=f"http://{HOST}", headers=headers)
        case.validate_response(response, excluded_checks=CHECKS.get_by_names(excluded), headers=headers)
        answered.add(case.operation.label)

    return ask


def _modes(operation: Any) -> list[Any]:
    """Right requests, and wrong ones where more than a path can be wrong."""
    return [RIGHT, WRONG] if [*operation.query, *operation.body] else [RIGHT]
