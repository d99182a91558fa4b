"""The whole installation as one CloudFormation stack: the template of `chalice package` merged with infra.

What `taskyard package` builds, `aws cloudformation package` and `deploy` take as well; here both steps are one.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from chalicelib.settings import Settings
from infra.deploy import stack
from infra.deploy.code import CodeBucket
from infra.deploy.package import package
from infra.events import Batches
from infra.template import Queues, additions


def stack_name(settings: Settings) -> str:
    """The name of the stack."""
    return settings.base_name


def deploy_stack(
    project: Path, settings: Settings, consumed: Queues, batches: Batches, bucket: CodeBucket
) -> stack.StackReport:
    """Package, upload and apply. Raises ``PackageRefused``, ``ChaliceFailed``, ``StackFailed``."""
    with tempfile.TemporaryDirectory(prefix="taskyard-deploy-") as scratch:
        merged = additions(settings, consumed, batches)
        report = package(Path(scratch), settings.stage, project=project, merged=merged)
        template = json.loads(report.template.read_text())
        key = bucket.put_archive(report.archive)
    return stack.apply(
        settings, _with_code(template, bucket, key), name=stack_name(settings), upload=bucket.put_template
    )


def _with_code(template: dict[str, Any], bucket: CodeBucket, key: str) -> dict[str, Any]:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": bucket.name, "Key": key}
    return template
