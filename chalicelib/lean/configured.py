"""Where and as whom a service is called by all that botocore looks at: profiles, files, roles, rules of endpoints."""

from __future__ import annotations

import os
from typing import Any

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.session import Session
from botocore.utils import get_environ_proxies

from chalicelib.lean.access import Access, with_path
from chalicelib.lean.services import Service


def by_botocore(service: Service, region: str, session: Session) -> Access:
    """How a service is called in ``region``; raises what botocore raises."""
    url = endpoint_of(session, service, region)
    bundle = session.get_config_variable("ca_bundle")
    verify: Any = os.environ.get("REQUESTS_CA_BUNDLE", True) if bundle is None else bundle
    return Access(url, session.get_credentials(), verify, get_environ_proxies(url))


def endpoint_of(session: Session, service: Service, region: str) -> str:
    """What the environment or the shared configuration say, or AWS's rules for a region."""
    configured = None
    if not session.get_config_variable("ignore_configured_endpoint_urls"):
        told = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service.name)
        configured = told.provide()
    return with_path(configured or _endpoint_by_rules(session, service, region))


def _endpoint_by_rules(session: Session, service: Service, region: str) -> str:
    loader = session.get_component("data_loader")
    rules, partitions = loader.load_service_model(service.name, "endpoint-rule-set-1"), loader.load_data("partitions")
    url: str = (
        EndpointProvider(rules, partitions)
        .resolve_endpoint(
            Region=region,
            UseFIPS=bool(session.get_config_variable("use_fips_endpoint")),
            UseDualStack=bool(session.get_config_variable("use_dualstack_endpoint")),
        )
        .url
    )
    return url
