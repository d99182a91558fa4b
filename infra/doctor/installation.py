"""The installation that is checked: what it should be, and where it stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.core.flow import Flow
from chalicelib.settings import Settings
from infra.deploy import one_stack, stack
from infra.deploy.account import Account
from infra.deploy.intrinsics import FUNCTION_TYPE, facts_of, resolved
from infra.deploy.stack import Described
from infra.deploy.stages import Config
from infra.deploy.staging import Given, staged_config
from infra.events import Batches
from infra.fragment import Fragment
from infra.functions import functions_of
from infra.roles import role_id
from infra.template import Queues, additions

Routes = frozenset[tuple[str, str]]  # method and path, as API Gateway writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What would be deployed: this checkout's declarations, for one stage."""

    settings: Settings
    config: Config  # .chalice/config.json
    consumed: Queues
    routes: Routes
    light: Sequence[str] = ()  # task types and topics of light handlers
    batches: Batches = field(default_factory=dict)
    # What handlers declare of each task type and topic, by the name of its concurrency count.
    flows: Mapping[str, Flow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A stage's installation. ``resources`` is the template of everything, by logical ids, not yet resolved."""

    checkout: Checkout
    config: Config  # as Chalice gets it, for this stage alone, with roles and bucket
    stacks: Mapping[str, Described]  # those that exist, of the three that may
    outputs: Mapping[str, str]
    resources: Mapping[str, Fragment]
    present: frozenset[str]  # the logical ids that the stacks have; what may not be seen of them counts as there
    facts: Mapping[str, str]  # see ``resolving``
    endpoint_url: str | None  # of an emulator; None is AWS
    now_ms: Callable[[], int]

    @property
    def settings(self) -> Settings:
        """Of the stage."""
        return self.checkout.settings

    @property
    def emulated(self) -> bool:
        """Whether this is an emulator, which may drop what it is told."""
        return self.endpoint_url is not None

    @property
    def whole(self) -> bool:
        """Whether one stack holds everything, functions and API included."""
        return one_stack.stack_name(self.settings) in self.stacks

    @property
    def deploy(self) -> str:
        """The command that deploys this checkout the way it was deployed."""
        return self._taskyard("deploy", *(["--way", "stack"] if self.whole else []))

    @property
    def deploy_anew(self) -> str:
        """The commands that make everything but the data anew."""
        return f"{self._taskyard('destroy', '--release')}, then {self.deploy}"

    def remake(self, logical_id: str, command: str) -> str:
        """How to get a resource that is missing: by ``command`` if it was deleted behind its stack's back.

        What a stack has never had is deployed: made by hand it would be outside, and CloudFormation would refuse to
        make it.
        """
        return command if logical_id in self.present else self.deploy

    def _taskyard(self, command: str, *options: str) -> str:
        where = ["--endpoint-url", self.endpoint_url] if self.endpoint_url else []
        return shlex.join(["taskyard", command, "--stage", self.settings.stage, *options, *where])

    def of_type(self, *kinds: str) -> Iterator[str]:
        """The logical ids of the resources of some types, in the template's order."""
        return (key for key, resource in self.resources.items() if resource.get("Type", FUNCTION_TYPE) in kinds)

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The properties of a resource, resolved; raises ``NotKnown``."""
        properties: dict[str, Any] = resolved(self.resources[logical_id].get("Properties", {}), self.facts)
        return properties

    def aws(self, *words: str, **options: object) -> str:
        """A command of the AWS CLI for this installation's region and endpoint, ready for a shell.

        An option that is no text is written as JSON; ``table_name`` is ``--table-name``.
        """
        told = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
        given = [word for name, value in told for word in (name, value if isinstance(value, str) else as_json(value))]
        where = ["--endpoint-url", self.endpoint_url] if self.endpoint_url else []
        return shlex.join(["aws", *words, *given, "--region", self.facts["AWS::Region"], *where])


def found(checkout: Checkout, now_ms: Callable[[], int]) -> Installation:
    """The installation of ``checkout``'s stage; raises what botocore raises when AWS cannot be asked."""
    settings = checkout.settings
    account = Account.current(settings)
    stacks = {name: described for name in stack_names(settings) if (described := stack.find(name)) is not None}
    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for described in stacks.values()
        for output in described.get("Outputs", ())
    }
    resources = additions(settings, checkout.consumed, checkout.batches)["Resources"]
    facts = facts_of(resources, account.place, outputs)
    roles = {function: facts.get(f"{role_id(function)}.Arn", "unknown") for function in functions_of(settings)}
    return Installation(
        checkout=checkout,
        config=staged_config(checkout.config, settings, Given(roles, facts["ObjectsBucket"])),
        stacks=stacks,
        outputs=outputs,
        resources=resources,
        present=_present(stacks, resources),
        facts=facts,
        endpoint_url=account.endpoint_url,
        now_ms=now_ms,
    )


def _present(stacks: Iterable[str], resources: Iterable[str]) -> frozenset[str]:
    try:
        templates = [stack.deployed(name) for name in stacks]
    except ClientError:  # the check of the stacks says it
        return frozenset(resources)
    return frozenset(key for template in templates if template is not None for key in template["Resources"])


def stack_names(settings: Settings) -> tuple[str, str, str]:
    """The stack of everything; or that of what the code runs on, and that of what calls it."""
    return one_stack.stack_name(settings), stack.stack_name(settings), stack.events_stack_name(settings)


def as_json(value: object) -> str:
    """A value as an argument of a command."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
