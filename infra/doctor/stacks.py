"""The stacks: there, complete, and made from the templates of this checkout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from chalicelib import aws
from infra.deploy import stack
from infra.deploy.stack import QUEUE_TYPE
from infra.doctor.findings import Check, Level, Observation, compared, names, ok
from infra.doctor.installation import Installation, stack_names
from infra.fragment import Fragment
from infra.template import events_template, template

AREA = "stacks"
COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
UNDONE = "UPDATE_ROLLBACK_COMPLETE"  # works as before the deployment that failed


def checks(installation: Installation) -> Iterator[Check]:
    """A check of each stack that there should be."""
    whole, *parts = stack_names(installation.settings)
    for name in [whole] if installation.whole else parts:
        yield Check(area=AREA, subject=name, question=partial(_stack, installation, name))


def _stack(installation: Installation, name: str) -> Iterator[Observation]:
    if name not in installation.stacks:
        yield compared("existence", "it exists", "missing", installation.deploy)
        return
    yield _state(installation, name)
    yield _template(installation, name)


def _state(installation: Installation, name: str) -> Observation:
    status = installation.stacks[name]["StackStatus"]
    if status in COMPLETE:
        return ok("state", status)
    events = installation.aws("cloudformation", "describe-stack-events", stack_name=name)
    if status == UNDONE:
        remedy, level = f"see why it was undone ({events}), then {installation.deploy}", Level.WARN
    elif status.endswith("_IN_PROGRESS"):
        remedy, level = "look again once it has settled", Level.WARN
    else:
        remedy, level = f"see what failed ({events}), then {installation.deploy}", Level.WRONG
    return Observation(level=level, what="state", expected=" or ".join(COMPLETE), found=status, remedy=remedy)


def _template(installation: Installation, name: str) -> Observation:
    present = aws.client("cloudformation").get_template(StackName=name)["TemplateBody"]
    deployed = (json.loads(present) if isinstance(present, str) else present)["Resources"]
    differing = sorted(_differing(_expected(installation, name), deployed, whole=installation.whole))
    return compared(
        "template",
        "that of this checkout",
        f"differs in {names(differing)}" if differing else "that of this checkout",
        installation.deploy,
        level=Level.WARN,
    )


def _expected(installation: Installation, name: str) -> Fragment:
    settings, checkout = installation.settings, installation.checkout
    if installation.whole:
        return dict(installation.resources)
    if name == stack.stack_name(settings):
        resources: Fragment = template(settings, checkout.consumed)["Resources"]
        return resources
    try:
        resources = events_template(settings, checkout.consumed, installation.outputs, checkout.batches)["Resources"]
    except KeyError as error:  # a lane that the first stack does not have yet
        return {f"what needs the output {error.args[0]}": None}
    return resources


def _differing(expected: Fragment, deployed: Fragment, *, whole: bool) -> Iterator[str]:
    """The logical ids of what is not deployed as expected; lanes of old, and in one stack what Chalice makes, may be
    there besides."""
    for key, resource in expected.items():
        if not (_contains(deployed.get(key), resource) if whole else deployed.get(key) == resource):
            yield key
    if not whole:
        yield from (key for key, found in deployed.items() if key not in expected and found["Type"] != QUEUE_TYPE)


def _contains(deployed: Any, expected: Any) -> bool:
    """Whether ``deployed`` is ``expected``, with more fields perhaps."""
    if isinstance(expected, dict) and isinstance(deployed, dict):
        return all(key in deployed and _contains(deployed[key], each) for key, each in expected.items())
    return bool(deployed == expected)
