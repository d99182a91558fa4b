"""Whose AWS this is, and under which URL an API of it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass

from chalicelib import aws
from chalicelib.settings import Settings


@dataclass(frozen=True, slots=True)
class Account:
    """Where a deployment goes."""

    id: str
    partition: str
    region: str
    endpoint_url: str | None  # of an emulator

    @classmethod
    def current(cls, settings: Settings) -> Account:
        """The account of this process's credentials; raises what botocore raises when there are none."""
        arn = aws.client("sts").get_caller_identity()["Arn"]
        _, partition, _, _, account, _ = arn.split(":", 5)
        return cls(account, partition, settings.region, os.environ.get("AWS_ENDPOINT_URL"))

    def __str__(self) -> str:
        where = f" at {self.endpoint_url}" if self.endpoint_url else ""
        return f"account {self.id}, region {self.region}{where}"

    @property
    def place(self) -> dict[str, str]:
        """What templates call it by."""
        return {"AWS::Partition": self.partition, "AWS::Region": self.region, "AWS::AccountId": self.id}

    def api_url(self, api_id: str, api_stage: str) -> str:
        """Where the REST API ``api_id`` answers, without a slash at the end.

        An emulator's is the path that LocalStack made usual.
        """
        if self.endpoint_url:
            return f"{self.endpoint_url.rstrip('/')}/restapis/{api_id}/{api_stage}/_user_request_"
        return f"https://{api_id}.execute-api.{self.region}.{dns_suffix(self.region)}/{api_stage}"


def dns_suffix(region: str) -> str:
    """What the names of AWS's hosts in a region end with."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
