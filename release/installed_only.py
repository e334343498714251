"""A pytest plugin that stops a run if the library is not imported from the installed wheel."""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

SITE = Path(sysconfig.get_path("purelib")).resolve()
SHOWN = ("dynamo-outbox", "boto3", "botocore", "pydantic", "typing-extensions", "urllib3")


def pytest_report_header() -> str:
    import dynamo_outbox

    versions = ", ".join(f"{name} {version(name)}" for name in SHOWN)
    return f"{versions}; dynamo_outbox from {Path(dynamo_outbox.__file__).parent}"


def strangers() -> list[str]:
    """Return the library's modules that were not imported from this environment."""
    found = {name: module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "dynamo_outbox"}
    return [
        f"{name} from {file}" for name, file in found.items() if not file or SITE not in Path(file).resolve().parents
    ]


def pytest_sessionstart() -> None:
    import dynamo_outbox  # noqa: F401  # to have a module to check

    _refuse(strangers())


def pytest_sessionfinish() -> None:
    _refuse(strangers())


def _refuse(found: list[str]) -> None:
    if found:
        pytest.exit(f"modules from outside the environment under test ({SITE}): {', '.join(found)}", returncode=3)
