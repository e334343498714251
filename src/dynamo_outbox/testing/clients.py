"""boto3 clients for servers on this machine."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

__all__ = ["loopback_client"]


def loopback_client(service: str, endpoint_url: str, *, region: str, **config: Any) -> Any:
    """Return a low-level client of a service at a local engine or a proxy; `config` is for botocore's ``Config``."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)  # noqa: S106
    direct = Config(proxies={}, **config)  # no proxy for loopback, even if the environment names one
    return session.client(service, endpoint_url=endpoint_url, config=direct)  # type: ignore[call-overload]
