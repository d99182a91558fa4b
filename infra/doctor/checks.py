"""Running checks: asking AWS each one's question, and telling what it refused to answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain

from botocore.exceptions import ClientError

from chalicelib.core.errors import shown
from infra.doctor.findings import Check, Finding, Level, Observation

CHECKS_AT_ONCE = 8  # Lambda's control plane takes 15 requests a second: AWS Lambda Developer Guide, "Lambda quotas"
DENIED = re.compile("AccessDenied|Unauthorized|Forbidden|^403$|AuthorizationError")
MISSING = re.compile("NotFound|NonExistent|NoSuch|DoesNotExist|QueueDoesNotExist|^404$")
DENIED_ACTION = re.compile(r"not authorized to perform:? (\S+)")


def run_all(checks: Iterable[Check]) -> list[Finding]:
    """What all checks find, in their order; several run at a time."""
    with ThreadPoolExecutor(CHECKS_AT_ONCE) as threads:
        return list(chain.from_iterable(threads.map(_findings, checks)))


def missing(error: ClientError) -> bool:
    """Whether AWS says that there is no such thing."""
    return MISSING.search(error.response["Error"]["Code"]) is not None


def _findings(check: Check) -> list[Finding]:
    return [
        Finding(area=check.area, **{**asdict(found), "subject": found.subject or check.subject})
        for found in _observations(check)
    ]


def _observations(check: Check) -> Iterator[Observation]:
    try:
        yield from check.question()
    except ClientError as error:
        if not missing(error):
            yield _unchecked(error)
        elif check.when_missing is not None:
            yield Observation(
                level=Level.WRONG, what="existence", expected="it exists", found="missing", remedy=check.when_missing
            )
    except Exception as error:  # an answer that lacks what AWS promises must not hide what else is wrong
        yield Observation(
            level=Level.UNKNOWN,
            what="answer",
            expected="one that can be read",
            found=shown(f"{type(error).__name__}: {error}"),
        )


def _unchecked(error: ClientError) -> Observation:
    message = error.response["Error"].get("Message") or "no message"
    code = error.response["Error"]["Code"]
    if DENIED.search(code):
        named = DENIED_ACTION.search(message)
        action = named[1] if named else error.operation_name
        return Observation(
            level=Level.UNKNOWN,
            what=error.operation_name,
            expected="permission to ask",
            found="access denied",
            remedy=f"allow the action {action} to whoever runs this command",
        )
    return Observation(
        level=Level.UNKNOWN, what=error.operation_name, expected="an answer", found=shown(f"{code}: {message}")
    )
