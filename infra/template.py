"""The one definition of every AWS resource of an installation, as CloudFormation templates.

- ``template``: what stands before the code: tables, queues, bucket; in deployed stages the functions' roles and log
  groups, alarms and a dashboard, too.
- ``events_template``: what stands after the functions: their event sources and the clock's rule.
- ``additions``: both, as an addition to the template that `chalice package` makes: one stack of everything.

``python -m infra.template`` prints the first as JSON, ready for ``cfn-lint``; ``infra.deploy.stack`` applies the
same dicts. Concrete names come from ``Settings`` and ``core.lanes``, the names the running service uses; logical ids
follow from what they stand for, so they survive a changed order.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

from chalicelib import settings as service_settings
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import DEFAULT_BANDS, Band
from chalicelib.settings import Settings
from infra.events import NO_BATCHES, Batches, event_sources
from infra.fragment import Fragment, attribute
from infra.functions import SENDING, Function, function_name, functions_of, log_groups
from infra.queues import lanes_of, queues
from infra.roles import role_id, roles
from infra.storage import storage
from infra.watch import watch

# The limits of one template: AWS CloudFormation User Guide, "Understand CloudFormation quotas".
RESOURCES_MAX = 500
OUTPUTS_MAX = 200

Queues = Mapping[str, Sequence[Band]]


def template(settings: Settings, consumed: Queues) -> Fragment:
    """The template of what an installation's code runs on.

    ``consumed`` maps each consumed queue to its bands; the queue ``default`` is always there. Equal arguments give
    equal templates. Raises ``InvalidInput`` when the queues are too many for one template.
    """
    resources = _resources(settings, consumed)
    return _document(f"Taskyard {settings.base_name}: what its code runs on", resources, _outputs(resources))


def events_template(
    settings: Settings, consumed: Queues, outputs: Mapping[str, str], batches: Batches = NO_BATCHES
) -> Fragment:
    """The template of what calls the functions, once they exist. ``outputs`` are those of the stack of ``template``.

    Raises as ``event_sources``.
    """

    def function_arn(function: Function) -> Fragment:
        name = function_name(settings, function)
        return {"Fn::Sub": f"arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{name}"}

    resources = event_sources(
        settings,
        lanes_of(consumed),
        function_arn,
        lambda queue: outputs[f"{queue}Arn"],
        outputs["JobsStreamArn"],
        batches,
    )
    return _document(f"Taskyard {settings.base_name}: what calls its functions", resources, {})


def additions(settings: Settings, consumed: Queues, batches: Batches = NO_BATCHES) -> Fragment:
    """What `chalice package` merges into its own template, so that one stack holds the whole installation.

    Raises as ``event_sources``.
    """
    resources = _resources(settings, consumed)
    sources = event_sources(
        settings,
        lanes_of(consumed),
        lambda function: attribute(function.logical_id, "Arn"),
        lambda queue: attribute(queue, "Arn"),
        attribute("JobsTable", "StreamArn"),
        batches,
    )
    functions = {function.logical_id: _function_additions(settings, function) for function in functions_of(settings)}
    api = {"RestAPI": {"Properties": {"TracingEnabled": True}}} if settings.tracing == "on" else {}
    return _document(
        f"Taskyard {settings.base_name}: everything", {**resources, **functions, **api, **sources}, _outputs(resources)
    )


def _resources(settings: Settings, consumed: Queues) -> Fragment:
    lanes = lanes_of(consumed)
    resources = {**storage(settings), **queues(settings, lanes)}
    if not settings.local:
        resources |= {**log_groups(settings), **roles(settings)}
    if not settings.local and settings.watch != "off":
        resources |= watch(settings, lanes)
    return resources


def _function_additions(settings: Settings, function: Function) -> Fragment:
    """What a function of Chalice's template gets: its name, its role, the bucket's name, leave to feed the worker."""
    properties: Fragment = {
        "FunctionName": function_name(settings, function),
        "Role": attribute(role_id(function), "Arn"),
        "Environment": {"Variables": {"TASKYARD_BUCKET": {"Ref": "ObjectsBucket"}}},
    }
    if function in SENDING:
        properties["RecursiveLoop"] = "Allow"
    return {"Properties": properties}


def _outputs(resources: Mapping[str, Fragment]) -> Fragment:
    """Names of tables and bucket, URLs and ARNs of queues, ARNs of roles and of the jobs table's stream."""
    outputs: Fragment = {"JobsStreamArn": attribute("JobsTable", "StreamArn")}
    for logical_id, resource in resources.items():
        match resource["Type"]:
            case "AWS::SQS::Queue":
                outputs[f"{logical_id}Url"] = {"Ref": logical_id}
                outputs[f"{logical_id}Arn"] = attribute(logical_id, "Arn")
            case "AWS::IAM::Role":
                outputs[f"{logical_id}Arn"] = attribute(logical_id, "Arn")
            case "AWS::DynamoDB::Table" | "AWS::S3::Bucket":
                outputs[f"{logical_id}Name"] = {"Ref": logical_id}
    return {name: {"Value": value} for name, value in outputs.items()}


def _document(description: str, resources: Fragment, outputs: Fragment) -> Fragment:
    for section, found, at_most in (("resources", resources, RESOURCES_MAX), ("outputs", outputs, OUTPUTS_MAX)):
        if len(found) > at_most:
            raise InvalidInput(
                "the declared queues do not fit into one CloudFormation template",
                field="queues",
                expected=f"at most {at_most} {section}",
                got=len(found),
                remedy="declare fewer queues, or fewer bands for each",
            )
    document: Fragment = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": description,
        "Resources": resources,
    }
    return {**document, "Outputs": outputs} if outputs else document


def _parsed_queue(text: str) -> tuple[str, tuple[Band, ...]]:
    """A queue written as ``orders:high,normal``; plain ``orders`` has the default bands."""
    name, _, bands = text.partition(":")
    try:
        return name, tuple(Band(band) for band in bands.split(",")) if bands else DEFAULT_BANDS
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; the bands are {', '.join(Band)}") from error


def _declared(chosen: Settings) -> tuple[Settings, Queues]:
    # Imported late: with --queues the template needs none of the handlers that the registry collects.
    from chalicelib.engine.handlers.registry import registry
    from chalicelib.engine.projections.events import decided

    return decided(chosen, registry()), registry().queues


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the template for the settings in the environment."""
    parser = argparse.ArgumentParser(prog="python -m infra.template", description="Print the CloudFormation template.")
    parser.add_argument(
        "--queues",
        nargs="*",
        type=_parsed_queue,
        metavar="NAME[:BAND,...]",
        help="the consumed queues, for example orders:high,normal; by default those declared in code",
    )
    given = parser.parse_args(arguments).queues
    chosen = service_settings.current()
    chosen, consumed = _declared(chosen) if given is None else (chosen, dict(given))
    sys.stdout.write(json.dumps(template(chosen, consumed), indent=2) + "\n")


if __name__ == "__main__":
    main()
