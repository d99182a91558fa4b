"""The REST API: there, deployed, with every route of the application, and allowed to call it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from infra.doctor.findings import Check, Level, Observation, compared, names, ok
from infra.doctor.installation import Installation, Routes
from infra.doctor.sources import invocation_policy, may_invoke
from infra.functions import Function, function_name

AREA = "api"
RESOURCE = "RestAPI"  # its logical id in the template of `chalice package`
PAGE = 500  # resources; the most that API Gateway answers at once
INVOKES = "apigateway.amazonaws.com"


def application_routes() -> Routes:
    """The routes of app.py."""
    import app

    return frozenset((method, path) for path, methods in app.app.routes.items() for method in methods)


def checks(installation: Installation) -> Iterator[Check]:
    """One check: whatever is to be seen needs the API's id."""
    yield Check(area=AREA, subject=installation.settings.base_name, question=partial(_api, installation))


def _api(installation: Installation) -> Iterator[Observation]:
    ids = _ids(installation)
    if not ids:
        yield compared("existence", "it exists", "missing", _remedy(installation))
        return
    yield ok("existence", ids[0])
    yield from (_another(installation, ids[0], other) for other in ids[1:])
    yield from _stage(installation, ids[0])
    yield _routes(installation, ids[0])
    yield _permission(installation, ids[0])


def _remedy(installation: Installation) -> str:
    if installation.emulated and not installation.whole:  # some emulators drop what Chalice imports
        return f"{installation.deploy}; if that does not help, this emulator makes routes with --way stack only"
    return installation.deploy


def _ids(installation: Installation) -> list[str]:
    name = installation.settings.base_name
    if installation.whole:
        resource = _resource(name)
        return [] if resource is None else [resource["PhysicalResourceId"]]
    pages = aws.client("apigateway").get_paginator("get_rest_apis").paginate()
    return [api["id"] for page in pages for api in page.get("items", ()) if api["name"] == name]


def _resource(stack: str) -> dict[str, Any] | None:
    """The API in a stack of everything; a stack that was destroyed has data only."""
    try:
        described = aws.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=RESOURCE)
    except ClientError as error:
        # CloudFormation has no code of its own for a resource that is not there.
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        return None
    detail: dict[str, Any] = described["StackResourceDetail"]
    return detail


def _another(installation: Installation, used: str, other: str) -> Observation:
    return Observation(
        level=Level.WARN,
        what="APIs of this name",
        expected="one",
        found=f"{used} and {other}",
        remedy=f"delete the one that nobody calls: "
        f"{installation.aws('apigateway', 'delete-rest-api', rest_api_id=other)}",
    )


def _stage(installation: Installation, api_id: str) -> Iterator[Observation]:
    wanted = installation.config["api_gateway_stage"]
    stages = aws.client("apigateway").get_stages(restApiId=api_id).get("item", [])
    there = [stage["stageName"] for stage in stages]
    yield compared("stage", wanted, wanted if wanted in there else names(there), installation.deploy)


def _routes(installation: Installation, api_id: str) -> Observation:
    pages = (
        aws.client("apigateway")
        .get_paginator("get_resources")
        .paginate(restApiId=api_id, embed=["methods"], PaginationConfig={"PageSize": PAGE})
    )
    there = {
        (method, resource["path"])
        for page in pages
        for resource in page.get("items", ())
        for method in resource.get("resourceMethods", {})
    }
    wanted = installation.checkout.routes
    lacking = [f"{method} {path}" for method, path in wanted - there]
    return compared(
        "routes",
        f"{len(wanted)}",
        f"{len(wanted) - len(lacking)}; missing are {names(lacking)}" if lacking else f"{len(wanted)}",
        installation.deploy,
    )


def _permission(installation: Installation, api_id: str) -> Observation:
    function = function_name(installation.settings, Function.API)

    def of_this_api(arn: Any) -> bool:
        return f":{api_id}/" in arn

    allowed = any(may_invoke(statement, INVOKES, of_this_api) for statement in invocation_policy(function))
    place = installation.facts
    source = f"arn:{place['AWS::Partition']}:execute-api:{place['AWS::Region']}:{place['AWS::AccountId']}:{api_id}/*"
    return compared(
        "leave to invoke",
        INVOKES,
        INVOKES if allowed else "missing",
        installation.aws(
            "lambda",
            "add-permission",
            function_name=function,
            statement_id="RestAPI",
            action="lambda:InvokeFunction",
            principal=INVOKES,
            source_arn=source,
        ),
    )
