"""The functions and their roles."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from chalicelib import aws
from infra.deploy.stages import function_config, variables_of
from infra.doctor.findings import Check, Level, Observation, compared, names, ok
from infra.doctor.installation import Installation
from infra.functions import SENDING, Function, function_name, functions_of
from infra.roles import role_id

FUNCTIONS = "functions"
ROLES = "roles"

Question = Callable[[Installation, Function], Iterator[Observation]]


def checks(installation: Installation) -> Iterator[Check]:
    """Looks at each function, and at its role."""
    for function in functions_of(installation.settings):
        name = function_name(installation.settings, function)
        questions: list[tuple[Question, str | None]] = [(_function, installation.deploy), (_concurrency, None)]
        if function is Function.WORKER and installation.checkout.light:
            questions.append((_light, None))
        if function in SENDING:
            questions.append((_recursion, None))
        for question, remedy in questions:
            yield Check(
                area=FUNCTIONS,
                subject=name,
                question=partial(question, installation, function),
                when_missing=remedy,
            )
        yield Check(
            area=ROLES,
            subject=role_id(function),
            question=partial(_role, installation, function),
            when_missing=installation.deploy_anew,
        )


# -- functions ------------------------------------------------------------------------------------


def _function(installation: Installation, function: Function) -> Iterator[Observation]:
    name = function_name(installation.settings, function)
    found = aws.client("lambda").get_function_configuration(FunctionName=name)
    compare = partial(compared, emulated=installation.emulated)
    configure = partial(installation.aws, "lambda", "update-function-configuration", function_name=name)
    # AWS brings an idle function back by itself; it is then called Inactive, and works.
    state = found.get("State")
    yield compare(
        "state", "Active", "Active" if state == "Inactive" else state, found.get("StateReason") or installation.deploy
    )
    yield compare(
        "last update", "Successful", found.get("LastUpdateStatus"), f"wait until it is done, or {installation.deploy}"
    )
    yield compare("runtime", _python(), found.get("Runtime"), installation.deploy, level=Level.WARN)
    timeout_s, memory_mb = (
        _configured(installation, function, key) for key in ("lambda_timeout", "lambda_memory_size")
    )
    yield compare("time-out in s", timeout_s, found.get("Timeout"), configure(timeout=timeout_s))
    yield compare("memory in MB", memory_mb, found.get("MemorySize"), configure(memory_size=memory_mb))
    role = installation.facts.get(f"{role_id(function)}.Arn")
    yield compare("role", role, found.get("Role"), configure(role=role or "ARN"))
    tracing = "Active" if _configured(installation, function, "xray") else "PassThrough"
    yield compare(
        "tracing",
        tracing,
        found.get("TracingConfig", {}).get("Mode", "PassThrough"),
        configure(tracing_config=f"Mode={tracing}"),
    )
    yield from _environment(installation, function, found.get("Environment", {}).get("Variables", {}))


def _environment(installation: Installation, function: Function, found: Mapping[str, str]) -> Iterator[Observation]:
    """Names only: a value may be a secret."""
    expected = _variables(installation, function)
    other = {name for name, value in expected.items() if found.get(name) != value}
    yield compared(
        "environment",
        "as .chalice/config.json says",
        f"differs in {names(other)}" if other else "as .chalice/config.json says",
        installation.deploy,
    )
    extra = {name for name in found if name.startswith("TASKYARD_") and name not in expected}
    if extra:
        yield Observation(
            level=Level.WARN,
            what="settings made by hand",
            expected="none",
            found=names(extra),
            remedy=f"declare them in .chalice/config.json, or lose them with the next {installation.deploy}",
        )


def _variables(installation: Installation, function: Function) -> dict[str, str]:
    """The environment of a function, as Chalice reads its configuration."""
    config, stage = installation.config, installation.settings.stage
    own = config["stages"][stage]["lambda_functions"].get(function, {})
    return {**variables_of(stage, config), **own.get("environment_variables", {})}


def _light(installation: Installation, _function: Function) -> Iterator[Observation]:
    given_up = "a duplicate delivery may run beside the first, and nobody sees them running"
    yield ok("light handlers", f"{names(installation.checkout.light)}: {given_up}")


def _concurrency(installation: Installation, function: Function) -> Iterator[Observation]:
    name = function_name(installation.settings, function)
    wanted = _configured(installation, function, "reserved_concurrency")
    found = aws.client("lambda").get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    remedy = (
        installation.aws("lambda", "delete-function-concurrency", function_name=name)
        if wanted is None
        else installation.aws(
            "lambda", "put-function-concurrency", function_name=name, reserved_concurrent_executions=wanted
        )
    )
    yield compared("reserved concurrency", wanted, found, remedy, emulated=installation.emulated)


def _recursion(installation: Installation, function: Function) -> Iterator[Observation]:
    name = function_name(installation.settings, function)
    wanted = installation.properties(function.logical_id)["RecursiveLoop"]
    found = aws.client("lambda").get_function_recursion_config(FunctionName=name).get("RecursiveLoop")
    yield compared(
        "recursive loop",
        wanted,
        found,
        installation.aws("lambda", "put-function-recursion-config", function_name=name, recursive_loop=wanted),
        emulated=installation.emulated,
    )


def _configured(installation: Installation, function: Function, key: str) -> Any:
    return function_config(installation.config, installation.settings.stage, function, key)


def _python() -> str:
    """The runtime that Chalice chooses: the version of the Python that deploys."""
    major, minor, _ = platform.python_version_tuple()
    return f"python{major}.{minor}"


# -- roles ----------------------------------------------------------------------------------------


def _role(installation: Installation, function: Function) -> Iterator[Observation]:
    iam = aws.client("iam")
    properties = installation.properties(role_id(function))
    role = installation.facts[role_id(function)]
    inline = set(_all_of(iam, "list_role_policies", "PolicyNames", role))
    for wanted in properties["Policies"]:
        yield _policy(installation, role, wanted, there=wanted["PolicyName"] in inline)
    for name in sorted(inline - {wanted["PolicyName"] for wanted in properties["Policies"]}):
        remove = installation.aws("iam", "delete-role-policy", role_name=role, policy_name=name)
        yield _extra(f"policy {name}", remove)
    for attached in _all_of(iam, "list_attached_role_policies", "AttachedPolicies", role):
        arn = attached["PolicyArn"]
        yield _extra(
            f"policy {attached['PolicyName']}",
            installation.aws("iam", "detach-role-policy", role_name=role, policy_arn=arn),
        )


def _all_of(iam: Any, operation: str, what: str, role: str) -> list[Any]:
    """What IAM lists of a role, which may come in pages of any size."""
    listed: list[Any] = iam.get_paginator(operation).paginate(RoleName=role).build_full_result()[what]
    return listed


def _policy(installation: Installation, role: str, wanted: Mapping[str, Any], *, there: bool) -> Observation:
    name, document = wanted["PolicyName"], wanted["PolicyDocument"]
    put = installation.aws("iam", "put-role-policy", role_name=role, policy_name=name, policy_document=document)
    if not there:
        return compared(f"policy {name}", "that of this checkout", "missing", put)
    found = aws.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    differing = _differing(_statements(document), _statements(found))
    if not differing:
        return ok(f"policy {name}", "that of this checkout")
    return compared(f"policy {name}", "that of this checkout", f"differs in {names(differing)}", put)


def _extra(what: str, remove: str) -> Observation:
    return Observation(
        level=Level.WARN, what=what, expected="no policy besides that of this checkout", found="attached", remedy=remove
    )


def _statements(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The statements by their ids, lists as sets: their order means nothing."""
    return {
        statement.get("Sid", f"statement {number}"): {
            **statement,
            **{key: frozenset(_listed(statement[key])) for key in ("Action", "Resource") if key in statement},
        }
        for number, statement in enumerate(document["Statement"], start=1)
    }


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _differing(expected: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    return [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
