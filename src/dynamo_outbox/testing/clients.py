"""boto3 clients of what listens on this machine."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

__all__ = ["loopback_client"]


def loopback_client(service: str, endpoint_url: str, *, region: str, **config: Any) -> Any:
    """A low-level client of a service at a local engine, or at a proxy in front of one.

    Args:
        service: boto3's name of it.
        endpoint_url: Where it listens.
        region: The Region that the client names.
        config: What else botocore's ``Config`` is told.
    """
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)  # noqa: S106
    direct = Config(proxies={}, **config)  # loopback, whatever the environment says of proxies
    return session.client(service, endpoint_url=endpoint_url, config=direct)  # type: ignore[call-overload]
