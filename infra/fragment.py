"""Pieces of CloudFormation templates, as plain dicts."""

from __future__ import annotations

from typing import Any

Fragment = dict[str, Any]


def attribute(logical_id: str, name: str) -> Fragment:
    """An attribute of a resource of the same template."""
    return {"Fn::GetAtt": [logical_id, name]}
