"""The bucket that deployments go through, as ``infra.code`` defines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.settings import Settings
from infra.code import code_template
from infra.deploy import stack
from infra.deploy.account import dns_suffix

UPLOAD_TIMEOUT_S = 120


def code_stack_name(settings: Settings) -> str:
    """The name of the stack that holds the bucket."""
    return f"{settings.base_name}-code"


@dataclass(frozen=True, slots=True)
class CodeBucket:
    """What deployments leave behind for the functions, for CloudFormation and for the next deployment."""

    name: str

    @classmethod
    def prepared(cls, settings: Settings) -> CodeBucket:
        """The bucket of an installation, made now if need be. Raises ``StackFailed``."""
        report = stack.apply(settings, code_template(settings), name=code_stack_name(settings))
        return cls(report.outputs["CodeBucketName"])

    def put_archive(self, archive: Path) -> str:
        """Upload a Lambda archive unless its content is there already; returns its key, which names the content."""
        key = f"code/{content_digest(archive)}.zip"
        if not self._has(key):
            self._client.put_object(Bucket=self.name, Key=key, Body=archive.read_bytes())
        return key

    def put_template(self, body: str) -> str:
        """Upload a template; returns the URL that CloudFormation reads it from."""
        key = f"templates/{hashlib.sha256(body.encode()).hexdigest()}.json"
        self._client.put_object(Bucket=self.name, Key=key, Body=body.encode(), ContentType="application/json")
        return self._url(key)

    def read_json(self, key: str) -> Any:
        """A JSON document, or None when there is none."""
        try:
            return json.loads(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())
        except self._client.exceptions.NoSuchKey:
            return None

    def write_json(self, key: str, document: Any) -> None:
        """Keep a JSON document."""
        body = json.dumps(document, indent=2, sort_keys=True).encode()
        self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType="application/json")

    @property
    def _client(self) -> Any:
        return aws.client("s3", read_timeout_s=UPLOAD_TIMEOUT_S)

    def _has(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return False
        return True

    def _url(self, key: str) -> str:
        region = self._client.meta.region_name
        return f"https://s3.{region}.{dns_suffix(region)}/{self.name}/{key}"


def content_digest(archive: Path) -> str:
    """The digest of the sources in an archive, whatever their dates: equal code has an equal digest.

    Byte code is left out: compiling a source twice may give two files that differ and mean the same.
    """
    with ZipFile(archive) as zipped:
        return digest_of((name, zipped.read(name)) for name in zipped.namelist() if not name.endswith(".pyc"))


def digest_of(files: Iterable[tuple[str, bytes]]) -> str:
    """The digest of named contents, in any order."""
    whole = hashlib.sha256()
    for name, content in sorted(files):
        whole.update(f"{name}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()
