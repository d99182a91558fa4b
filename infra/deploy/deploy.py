"""`taskyard deploy`: first what the code runs on, then the code, then what calls it.

Every step may be repeated: what is as it should be stays untouched, what is missing is made. So a deployment that
ended half-way is finished by deploying again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chalicelib import aws
from chalicelib.core.errors import TaskyardError
from chalicelib.settings import Settings
from infra.deploy import Say, one_stack, stack
from infra.deploy.account import Account
from infra.deploy.adopt import adopt
from infra.deploy.by_chalice import deploy_functions
from infra.deploy.code import CodeBucket
from infra.deploy.mark import leave_mark
from infra.deploy.stages import config_of
from infra.deploy.staging import Given
from infra.events import Batches
from infra.fragment import Fragment
from infra.functions import SENDING, Function, function_name, functions_of
from infra.roles import role_id
from infra.template import Queues, events_template, template

UPDATE_POLL_S = 1
UPDATE_DEADLINE_S = 120


class Way(StrEnum):
    """How functions and routes get to AWS."""

    CHALICE = "chalice"  # `chalice deploy` between two stacks
    STACK = "stack"  # one stack of everything


class OtherWay(TaskyardError):
    """The installation was deployed the other way."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What stands after a deployment."""

    changes: Mapping[str, stack.Change]  # by what was applied
    api_url: str

    @property
    def changed(self) -> bool:
        """Whether anything was changed at all."""
        return any(change is not stack.Change.UNCHANGED for change in self.changes.values())


def way_deployed(settings: Settings) -> Way | None:
    """How the installation was deployed, or None if it was not."""
    if stack.find(one_stack.stack_name(settings)) is not None:
        return Way.STACK
    return Way.CHALICE if stack.find(stack.stack_name(settings)) is not None else None


def deploy(
    project: Path, settings: Settings, consumed: Queues, batches: Batches, way: Way, *, force: bool, say: Say
) -> Deployment:
    """Bring the installation of ``settings`` to what the project says.

    ``consumed`` are the declared queues, ``batches`` what is gathered in them. ``force`` runs Chalice even if nothing
    has changed. Raises ``OtherWay``, ``StackFailed``, ``ChaliceFailed``, ``PackageRefused``, ``InvalidInput`` as
    ``event_sources``, and what botocore raises.
    """
    account = Account.current(settings)
    _expect_same_way(settings, way)
    say(f"{settings.base_name} in {account}")
    bucket = CodeBucket.prepared(settings)
    deployment = (
        _as_one_stack(project, settings, consumed, batches, account, bucket, say)
        if way is Way.STACK
        else _by_chalice(project, settings, consumed, batches, account, bucket, force=force, say=say)
    )
    leave_mark(settings, changed=deployment.changed)
    return deployment


def _by_chalice(
    project: Path,
    settings: Settings,
    consumed: Queues,
    batches: Batches,
    account: Account,
    bucket: CodeBucket,
    *,
    force: bool,
    say: Say,
) -> Deployment:
    wanted = template(settings, consumed)
    _adopted(wanted, stack.stack_name(settings), account, bucket, say)
    infra = stack.apply(settings, wanted, upload=bucket.put_template)
    say(f"stack {infra.name}: {infra.change}")
    deployed, changed = deploy_functions(
        project, settings, given_by(infra.outputs), bucket, account, force=force, say=say
    )
    change = stack.Change.UPDATED if changed else stack.Change.UNCHANGED
    say(f"chalice deploy: {change}")
    _await_functions(settings)
    _let_functions_feed_the_worker(settings)
    events = stack.apply(
        settings,
        events_template(settings, consumed, infra.outputs, batches),
        name=stack.events_stack_name(settings),
        upload=bucket.put_template,
    )
    say(f"stack {events.name}: {events.change}")
    changes = {infra.name: infra.change, "chalice deploy": change, events.name: events.change}
    return _deployment(project, account, deployed.api_id or "", changes)


def _as_one_stack(
    project: Path,
    settings: Settings,
    consumed: Queues,
    batches: Batches,
    account: Account,
    bucket: CodeBucket,
    say: Say,
) -> Deployment:
    _adopted(template(settings, consumed), one_stack.stack_name(settings), account, bucket, say)
    report = one_stack.deploy_stack(project, settings, consumed, batches, bucket)
    say(f"stack {report.name}: {report.change}")
    _await_functions(settings)
    _let_functions_feed_the_worker(settings)  # emulators leave that out of the stack
    return _deployment(project, account, report.outputs["RestAPIId"], {report.name: report.change})


def _adopted(wanted: Fragment, name: str, account: Account, bucket: CodeBucket, say: Say) -> None:
    if taken_over := adopt(wanted, name, account, bucket.put_template):
        say(f"stack {name}: took over {', '.join(taken_over)}")


def given_by(outputs: Mapping[str, str]) -> Given:
    """What the outputs of the infra stack give to the functions."""
    arns = {function: outputs.get(f"{role_id(function)}Arn") for function in Function}
    roles = {function: arn for function, arn in arns.items() if arn is not None}  # one without is not there
    return Given(roles, outputs["ObjectsBucketName"])


def _await_functions(settings: Settings) -> None:
    """Wait until no function is being updated; `chalice deploy` and emulators do not."""
    waiter = aws.client("lambda").get_waiter("function_updated_v2")
    for function in functions_of(settings):
        waiter.wait(
            FunctionName=function_name(settings, function),
            WaiterConfig={"Delay": UPDATE_POLL_S, "MaxAttempts": UPDATE_DEADLINE_S // UPDATE_POLL_S},
        )


def _let_functions_feed_the_worker(settings: Settings) -> None:
    """Allow what Lambda would take for a loop: functions that send to the lanes that feed the worker."""
    awslambda = aws.client("lambda")
    for function in SENDING:
        name = function_name(settings, function)
        if awslambda.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] != "Allow":
            awslambda.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")


def _deployment(project: Path, account: Account, api_id: str, changes: Mapping[str, stack.Change]) -> Deployment:
    return Deployment(changes, account.api_url(api_id, config_of(project)["api_gateway_stage"]))


def _expect_same_way(settings: Settings, way: Way) -> None:
    deployed = way_deployed(settings)
    if deployed not in (None, way):
        raise OtherWay(
            f"{settings.base_name} was deployed the other way, and its data is in the stack of that way",
            expected=f"--way {deployed}",
            got=f"--way {way}",
            remedy=f"deploy with --way {deployed}; or let go of the data with `taskyard destroy --stage "
            f"{settings.stage} --release`, and deploy again",
        )
