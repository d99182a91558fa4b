"""Tenants: on whose behalf a job is done. Those of one lane share it, so that none waits behind another's backlog.

A tenant is what SQS takes as a ``MessageGroupId``, which is how it travels (Amazon SQS API reference, SendMessage).
"""

from __future__ import annotations

import re

from chalicelib.core.errors import InvalidInput

TENANT_MAX_CHARS = 128
TENANT = r"^[!-~]+$"
TENANT_EXPECTED = f"1 to {TENANT_MAX_CHARS} letters, digits and punctuation marks of ASCII, without blanks"


def tenant_of(field_name: str, given: object) -> str:
    """A tenant's key, as it is given. Raises ``InvalidInput``."""
    if not isinstance(given, str) or len(given) > TENANT_MAX_CHARS or re.fullmatch("[!-~]+", given) is None:
        raise InvalidInput("this can be no tenant", field=field_name, expected=TENANT_EXPECTED, got=given)
    return given
