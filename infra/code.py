"""The bucket that deployments go through: code, large templates, and what the last deployment was."""

from __future__ import annotations

from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.storage import private_bucket


def code_template(settings: Settings) -> Fragment:
    """The template of the stack that stands before all others; its output ``CodeBucketName`` names the bucket."""
    name = {"Fn::Sub": f"{settings.base_name}-code-${{AWS::AccountId}}-${{AWS::Region}}"}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Taskyard {settings.base_name}: what its deployments go through",
        "Resources": {"CodeBucket": {"Type": "AWS::S3::Bucket", "Properties": private_bucket(name)}},
        "Outputs": {"CodeBucketName": {"Value": {"Ref": "CodeBucket"}}},
    }
