"""The services and operations that go the lean way, and where they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.session import Session


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and its operations by the names of a client's methods."""

    name: str
    service_id: str
    signing_name: str
    target: str  # what X-Amz-Target begins with
    operations: Mapping[str, str]


SERVICES: Mapping[str, Service] = {
    "dynamodb": Service(
        "dynamodb",
        "DynamoDB",
        "dynamodb",
        "DynamoDB_20120810",
        {
            "batch_get_item": "BatchGetItem",
            "batch_write_item": "BatchWriteItem",
            "delete_item": "DeleteItem",
            "get_item": "GetItem",
            "put_item": "PutItem",
            "query": "Query",
            "transact_write_items": "TransactWriteItems",
            "update_item": "UpdateItem",
        },
    ),
    "sqs": Service(
        "sqs",
        "SQS",
        "sqs",
        "AmazonSQS",
        {
            "change_message_visibility": "ChangeMessageVisibility",
            "change_message_visibility_batch": "ChangeMessageVisibilityBatch",
            "delete_message": "DeleteMessage",
            "delete_message_batch": "DeleteMessageBatch",
            "get_queue_attributes": "GetQueueAttributes",
            "get_queue_url": "GetQueueUrl",
            "receive_message": "ReceiveMessage",
            "send_message": "SendMessage",
            "send_message_batch": "SendMessageBatch",
        },
    ),
}


def endpoint_of(session: Session, service: Service, region: str) -> str:
    """Where a service is called: what the environment or the shared configuration say, or AWS's rules for a region."""
    configured = None
    if not session.get_config_variable("ignore_configured_endpoint_urls"):
        told = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service.name)
        configured = told.provide()
    url = configured or _endpoint_by_rules(session, service, region)
    return url if url.count("/") > 2 else f"{url}/"


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
