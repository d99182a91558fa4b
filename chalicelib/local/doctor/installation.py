"""The installation that is examined: what it should be, and where it stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.local.doctor.resolving import FUNCTION_TYPE, facts_of, resolved
from chalicelib.local.stack import Described, stack_name
from chalicelib.local.stages import Config
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.template import Queues, additions

AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".aws.dev")

Routes = frozenset[tuple[str, str]]  # method and path, as API Gateway writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The code of this checkout, as a stage gets it."""

    settings: Settings
    config: Config  # .chalice/config.json
    consumed: Queues
    routes: Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A stage's installation. ``resources`` is the template of everything, by logical ids, not yet resolved."""

    wanted: Deployed
    stacks: Mapping[str, Described]  # those that exist, of the three that may
    outputs: Mapping[str, str]
    resources: Mapping[str, Fragment]
    facts: Mapping[str, str]  # see ``resolving``
    endpoint_url: str | None  # of an emulator; None is AWS
    now_ms: Callable[[], int]

    @property
    def settings(self) -> Settings:
        """Of the stage."""
        return self.wanted.settings

    @property
    def emulated(self) -> bool:
        """Whether this is an emulator, which may drop what it is told."""
        return self.endpoint_url is not None

    @property
    def whole(self) -> bool:
        """Whether one stack holds everything, functions and API included."""
        return self.settings.base_name in self.stacks

    @property
    def deploy(self) -> str:
        """The command that deploys this checkout."""
        words = ["taskyard", "deploy", "--stage", self.settings.stage]
        return shlex.join(words + (["--endpoint-url", self.endpoint_url] if self.endpoint_url else []))

    def of_type(self, *kinds: str) -> Iterator[str]:
        """The logical ids of the resources of some types, in the template's order."""
        return (key for key, resource in self.resources.items() if resource.get("Type", FUNCTION_TYPE) in kinds)

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The properties of a resource, resolved; raises ``NotKnown``."""
        properties: dict[str, Any] = resolved(self.resources[logical_id].get("Properties", {}), self.facts)
        return properties

    def aws(self, *words: str) -> str:
        """A command of the AWS CLI for this installation's region and endpoint, ready for a shell."""
        where = ["--endpoint-url", self.endpoint_url] if self.endpoint_url else []
        return shlex.join(["aws", *words, "--region", self.facts["AWS::Region"], *where])


def events_stack_name(settings: Settings) -> str:
    """The stack of what calls the functions, where they are made by `chalice deploy`."""
    return f"{settings.base_name}-events"


def found(wanted: Deployed, now_ms: Callable[[], int]) -> Installation:
    """The installation of ``wanted``; raises what botocore raises when AWS cannot be asked for its stacks."""
    settings = wanted.settings
    identity = aws.client("sts").get_caller_identity()
    place = {
        "AWS::Partition": identity["Arn"].split(":")[1],
        "AWS::Region": settings.region,
        "AWS::AccountId": identity["Account"],
    }
    stacks = dict(_stacks(settings.base_name, stack_name(settings), events_stack_name(settings)))
    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for name in (stack_name(settings), settings.base_name)
        for output in stacks.get(name, {}).get("Outputs", ())
    }
    resources = additions(settings, wanted.consumed)["Resources"]
    return Installation(
        wanted=wanted,
        stacks=stacks,
        outputs=outputs,
        resources=resources,
        facts=facts_of(resources, place, outputs),
        endpoint_url=_emulator(aws.client("sts").meta.endpoint_url),
        now_ms=now_ms,
    )


def as_json(value: object) -> str:
    """A value as an argument of a command."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _stacks(*names: str) -> Iterator[tuple[str, Described]]:
    cloudformation = aws.client("cloudformation")
    for name in names:
        try:
            described = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            # CloudFormation has no code of its own for a stack that is not there.
            if "does not exist" not in error.response["Error"]["Message"]:
                raise
            continue
        yield from ((name, stack) for stack in described if stack["StackStatus"] != "DELETE_COMPLETE")


def _emulator(endpoint_url: str) -> str | None:
    host = urlsplit(endpoint_url).hostname or ""
    return None if host.endswith(AWS_DOMAINS) else endpoint_url
