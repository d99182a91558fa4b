"""The Lambda functions of an installation: what they are called, and where their logs go.

Chalice makes the functions (`chalice deploy`, or the template of `chalice package`); their names follow from the
stage in both ways, so that everything else can be defined before they exist.
"""

from __future__ import annotations

from enum import StrEnum

from chalicelib.settings import Settings
from infra.fragment import Fragment

LOG_RETENTION_DAYS = 30


class Function(StrEnum):
    """A Lambda function, as app.py and .chalice/config.json name it."""

    API = "api_handler"
    WORKER = "worker"
    DEAD_LETTERS = "dead_letters"
    CLOCK = "clock"
    PROJECTOR = "projector"
    HOOKS = "hooks"
    KAFKA = "kafka"  # there where a topic comes from Kafka

    @property
    def logical_id(self) -> str:
        """Its resource in the template that Chalice packages, and the beginning of the ids that belong to it."""
        return "APIHandler" if self is Function.API else "".join(word.capitalize() for word in self.split("_"))


# They send, or hooks in them may, to lanes that feed the worker, which Lambda would take for a loop after 16 hops.
SENDING = (Function.API, Function.WORKER, Function.DEAD_LETTERS, Function.CLOCK, Function.HOOKS)


def functions_of(settings: Settings) -> tuple[Function, ...]:
    """The functions that an installation has."""
    from chalicelib.engine.handlers.bridged import bridged  # imported late: commands choose their stage before

    brings_in = bool(bridged(settings).inward)
    return tuple(function for function in Function if brings_in or function is not Function.KAFKA)


def function_name(settings: Settings, function: Function) -> str:
    """The name that Chalice gives a function: the base name, and for all but the API their own."""
    return settings.base_name if function is Function.API else f"{settings.base_name}-{function}"


def log_group_id(function: Function) -> str:
    """The logical id of the log group of a function."""
    return f"{function.logical_id}Logs"


def log_groups(settings: Settings) -> Fragment:
    """The log group of each function, by logical id. Lambda would make them itself, to be kept for ever."""
    return {
        log_group_id(function): {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Delete",
            "UpdateReplacePolicy": "Delete",
            "Properties": {
                "LogGroupName": f"/aws/lambda/{function_name(settings, function)}",
                "RetentionInDays": LOG_RETENTION_DAYS,
            },
        }
        for function in functions_of(settings)
    }
