"""AWS clients of a test's own, at an emulator."""

from __future__ import annotations

from typing import Any

import botocore.session


def client(service: str, endpoint_url: str) -> Any:
    """A client of ``service`` at ``endpoint_url``."""
    return botocore.session.get_session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  # an emulator takes any
    )
