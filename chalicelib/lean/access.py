"""Where and as whom a service is called.

On Lambda, and in most containers, the environment alone says it. To find out no more than that, botocore loads all of
itself, which takes longer than all else before a first call; so it is asked only where there is more to find.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore

from chalicelib.lean.services import Service

if TYPE_CHECKING:
    from botocore.session import Session

# Variables that name files, other accounts or endpoints of another kind: botocore knows what they mean.
BOTOCORES = (
    "AWS_CONFIG_FILE",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DATA_PATH",
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
# Regions of AWS's own partition: the others have other domains.
REGION = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials that do not change."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)

    def get_frozen_credentials(self) -> Keys:
        """As botocore's: those of a moment."""
        return self


@dataclass(frozen=True, slots=True)
class Access:
    """``credentials`` are botocore's or ``Keys``, ``None`` where there are none; ``verify`` is a file of certificates,
    ``True`` for botocore's. ``proxies`` is what botocore makes of a proxy before the endpoint.
    """

    url: str
    credentials: Any
    verify: Any = True
    proxies: Mapping[str, str] | None = None


def credentials(session: Callable[[], Session]) -> Any:
    """Who this process is to AWS, ``None`` where nothing says it; raises what botocore raises."""
    return _keys(os.environ) or session().get_credentials()


def by_environment(service: Service, region: str, environment: Mapping[str, str]) -> Access | None:
    """How a service is called if the environment alone says it, else ``None``."""
    keys = _keys(environment)
    configured = environment.get(f"AWS_ENDPOINT_URL_{service.name.upper()}") or environment.get("AWS_ENDPOINT_URL")
    if keys is None or not (configured or REGION.fullmatch(region)):
        return None
    url = configured or f"https://{service.name}.{region}.amazonaws.com"
    return Access(
        with_path(url), keys, environment.get("AWS_CA_BUNDLE") or environment.get("REQUESTS_CA_BUNDLE") or True
    )


def with_path(url: str) -> str:
    """An endpoint with the path that a request to it has."""
    return url if url.count("/") > 2 else f"{url}/"


def user_agent() -> str:
    """Who calls, as botocore says it."""
    python = f"Python/{platform.python_version()} {platform.system()}/{platform.release()}"
    place = os.environ.get("AWS_EXECUTION_ENV")
    return f"Botocore/{botocore.__version__} {python}{f' exec-env/{place}' if place else ''}"


def _keys(environment: Mapping[str, str]) -> Keys | None:
    """Those of the environment, where nothing else has a say."""
    key_id, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret or _is_configured(environment):
        return None
    return Keys(key_id, secret, environment.get("AWS_SESSION_TOKEN") or None)


def _is_configured(environment: Mapping[str, str]) -> bool:
    """Whether more than the environment has a say: files, proxies, or a system that may name proxies itself."""
    return (
        any(environment.get(name) for name in BOTOCORES)
        or any(name.lower().endswith("_proxy") for name in environment)
        or sys.platform != "linux"
        or Path(os.path.expanduser("~/.aws")).exists()  # which not every user has
    )
