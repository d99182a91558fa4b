"""The functions and the REST API, made by `chalice deploy` from a staged copy of the project.

Chalice knows what it made by a record in the project folder. Here the record lies in the code bucket, so that any
machine can deploy. With it lies a digest of what was deployed: what has not changed is not deployed again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chalicelib import aws
from chalicelib.core.errors import TaskyardError
from chalicelib.settings import Settings
from infra.deploy import Say
from infra.deploy.account import Account
from infra.deploy.archive import lay_archive
from infra.deploy.code import CodeBucket, digest_of
from infra.deploy.stages import architecture_of, config_of
from infra.deploy.staging import Given, run_chalice, stage_project
from infra.functions import Function, function_name

RECORD = "chalice.json"
CHALICE_CALL_TIMEOUT_S = 120  # of Chalice's own calls: it sends the archive in one
REST_API = "rest_api"
REPORT = "Resources deployed:"  # by which Chalice's report begins; its URLs are those of AWS, whatever the endpoint


class ApiUnclear(TaskyardError):
    """Which REST API belongs to the installation cannot be told."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What Chalice made, and from what."""

    digest: str = ""
    code: Mapping[str, str] = field(default_factory=dict)  # function name to the SHA-256 that Lambda tells
    record: Mapping[str, Any] = field(default_factory=dict)  # Chalice's own

    @property
    def api_id(self) -> str | None:
        """The REST API, if there is one."""
        resources = self.record.get("resources", ())
        return next((entry["rest_api_id"] for entry in resources if entry["resource_type"] == REST_API), None)


def deploy_functions(
    project: Path, settings: Settings, given: Given, bucket: CodeBucket, account: Account, *, force: bool, say: Say
) -> tuple[Deployed, bool]:
    """Make or update the functions and the API; returns what is deployed now, and whether anything changed.

    A try that ended half-way is taken up where it stands. Raises ``ChaliceFailed``, ``ApiUnclear``.
    """
    known = _known(bucket)
    with tempfile.TemporaryDirectory(prefix="taskyard-deploy-") as scratch:
        staged = Path(scratch)
        stage_project(project, staged, settings, given)
        digest = _digest(staged)
        if not force and known.digest == digest and _stands(known, settings):
            return known, False
        lay_archive(project, staged, architecture_of(settings.stage, config_of(project)))
        record_file = _stage_record(staged, settings, _record(known, project, settings, account))
        timeout = str(CHALICE_CALL_TIMEOUT_S)
        told = run_chalice(staged, settings, ["deploy", "--stage", settings.stage, "--connection-timeout", timeout])
        say(told.partition(REPORT)[0].rstrip())
        deployed = Deployed(digest, _code(settings), json.loads(record_file.read_text()))
    bucket.write_json(RECORD, asdict(deployed))
    return deployed, True


def delete_functions(project: Path, settings: Settings, given: Given, bucket: CodeBucket, account: Account) -> bool:
    """Delete what Chalice made; returns whether there was anything. Raises ``ChaliceFailed``, ``ApiUnclear``."""
    record = _record(_known(bucket), project, settings, account)
    if not record:
        return False
    with tempfile.TemporaryDirectory(prefix="taskyard-destroy-") as scratch:
        staged = Path(scratch)
        stage_project(project, staged, settings, given)
        _stage_record(staged, settings, record)
        run_chalice(staged, settings, ["delete", "--stage", settings.stage])
    bucket.write_json(RECORD, asdict(Deployed()))
    return True


def _known(bucket: CodeBucket) -> Deployed:
    return Deployed(**(bucket.read_json(RECORD) or {}))


def _record(known: Deployed, project: Path, settings: Settings, account: Account) -> Mapping[str, Any]:
    """Chalice's record as it was kept, or else as it can be told from what AWS has; empty where there is nothing."""
    return known.record or _recovered(settings, account, config_of(project)["api_gateway_stage"])


def _stage_record(staged: Path, settings: Settings, record: Mapping[str, Any]) -> Path:
    """Lay the record, if there is any, where Chalice looks for it; returns the file, which Chalice writes anew."""
    file = staged / ".chalice" / "deployed" / f"{settings.stage}.json"
    file.parent.mkdir()
    if record:
        file.write_text(json.dumps(record))
    return file


def _digest(staged: Path) -> str:
    files = (file for file in staged.rglob("*") if file.is_file())
    return digest_of((str(file.relative_to(staged)), file.read_bytes()) for file in files)


def _stands(known: Deployed, settings: Settings) -> bool:
    """Whether what was deployed is still what AWS has."""
    return _code(settings) == known.code and known.api_id in {api["id"] for api in _apis()}


def _code(settings: Settings) -> dict[str, str]:
    """The functions that exist, each with the digest of its code."""
    awslambda = aws.client("lambda")
    found = {}
    for function in Function:
        name = function_name(settings, function)
        try:
            found[name] = awslambda.get_function_configuration(FunctionName=name)["CodeSha256"]
        except awslambda.exceptions.ResourceNotFoundException:
            continue
    return found


def _apis() -> list[dict[str, Any]]:
    pages = aws.client("apigateway").get_paginator("get_rest_apis").paginate()
    return [api for page in pages for api in page["items"]]


def _recovered(settings: Settings, account: Account, api_stage: str) -> dict[str, Any]:
    """Chalice's record of a try that ended before it was written.

    Functions are found by their names; a REST API may have the same name as another, so it is looked for here.
    """
    existing = _code(settings)
    arns = {
        function: f"arn:{account.partition}:lambda:{account.region}:{account.id}:function:{name}"
        for function in Function
        if (name := function_name(settings, function)) in existing
    }
    resources: list[dict[str, Any]] = [
        {"name": str(function), "resource_type": "lambda_function", "lambda_arn": arn} for function, arn in arns.items()
    ]
    match [api["id"] for api in _apis() if api["name"] == settings.base_name]:
        case []:
            pass
        case [api_id]:
            url = account.api_url(api_id, api_stage)
            resources.append(
                {"name": REST_API, "resource_type": REST_API, "rest_api_id": api_id, "rest_api_url": f"{url}/"}
            )
        case several:
            raise ApiUnclear(
                f"there are several REST APIs named {settings.base_name}",
                expected="one",
                got=", ".join(several),
                remedy="delete those that nobody uses, and deploy again",
            )
    return {"resources": resources, "schema_version": "2.0", "backend": "api"} if resources else {}
