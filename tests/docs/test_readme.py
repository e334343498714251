"""README.md: its code runs as printed and is type-checked, and its links work on PyPI."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
PAGE = README.read_text(encoding="utf-8")
FILES = ["tables.py", "shop.py", "try_it.py"]
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT_TABLE["urls"]["Repository"]
RAW = REPOSITORY.replace("https://github.com/", "https://raw.githubusercontent.com/")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the README's Python blocks, each in the file that its paragraph begins with."""
    blocks = re.findall(r"^`(\w+\.py)` (?:.+\n)+\n```python\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
    assert PAGE.count("```python\n") == len(blocks)
    assert [name for name, _ in blocks] == FILES
    for name, block in blocks:
        (tmp_path / name).write_text(block, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder with the library's sources on its path, and without AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    paths = {"PYTHONPATH": str(PROJECT / "src"), "MYPYPATH": str(PROJECT / "src")}
    return subprocess.run(  # noqa: S603  # our own page
        [sys.executable, *arguments], cwd=folder, env=kept | paths, capture_output=True, text=True, check=False
    )


def test_the_first_use_prints_what_the_readme_shows(folder: Path) -> None:
    """The three files run without AWS, and print the output in the README."""
    ((command, printed),) = re.findall(r"```console\n\$ python ([^\n]*)\n(.*?)```", PAGE, re.DOTALL)
    ran = run(folder, *command.split())
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, printed, "")


def test_the_code_passes_mypy_strict(folder: Path) -> None:
    """`mypy --strict` accepts all Python blocks; boto3's stubs may be missing."""
    options = ["--strict", "--config-file=", "--disable-error-code=import-untyped", "--cache-dir=.mypy_cache"]
    ran = run(folder, "-m", "mypy", *options, *FILES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_tables_are_created_in_aws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python tables.py` creates the tables with the keys, the stream and the TTL that the README lists."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        runpy.run_path(str(folder / "tables.py"), run_name="__main__")
        client = boto3.client("dynamodb")
        tables = {name: client.describe_table(TableName=name)["Table"] for name in client.list_tables()["TableNames"]}
        assert {name: [key["AttributeName"] for key in table["KeySchema"]] for name, table in tables.items()} == {
            "orders": ["order_id"],
            "orders-events": ["pk", "sk"],
            "stock": ["item"],
            "packing-handled": ["pk"],
        }
        streams = {
            name: table["StreamSpecification"]["StreamViewType"]
            for name, table in tables.items()
            if table.get("StreamSpecification", {}).get("StreamEnabled")
        }
        assert streams == {"orders-events": "NEW_IMAGE"}
        for name in ("orders-events", "packing-handled"):
            described = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}


def test_the_wheel_that_the_readme_installs_is_the_one_that_is_built() -> None:
    """The names of the wheel and the sdist contain the current version."""
    names = set(re.findall(r"dynamo_outbox-[^\s`]+", PAGE))
    version = PROJECT_TABLE["version"]
    assert names == {f"dynamo_outbox-{version}-py3-none-any.whl", f"dynamo_outbox-{version}.tar.gz"}


def test_the_readme_is_short() -> None:
    """The README has fewer than 280 lines; details are in docs."""
    assert len(PAGE.splitlines()) < 280


LINKS = sorted(set(re.findall(r"\]\(([^)\s]+)\)", PAGE)))


def test_every_link_is_absolute() -> None:
    """PyPI does not resolve relative links."""
    assert [link for link in LINKS if not link.startswith("https://")] == []


def test_the_project_urls_have_one_base() -> None:
    """Every URL in pyproject.toml and every link into a repository begins with the same repository URL."""
    assert [url for url in PROJECT_TABLE["urls"].values() if not url.startswith(REPOSITORY)] == []
    into_repositories = [link for link in LINKS if "github" in link]
    assert into_repositories
    bases = (f"{REPOSITORY}/blob/main/", f"{RAW}/main/")
    assert [link for link in into_repositories if not link.startswith(bases)] == []


@pytest.mark.parametrize("link", sorted(link for link in [*LINKS, *PROJECT_TABLE["urls"].values()] if "/main/" in link))
def test_a_link_into_the_repository_leads_to_a_file(link: str) -> None:
    """The linked file exists, and so does the heading that the link names."""
    path, _, anchor = link.partition("/main/")[2].partition("#")
    page = PROJECT / path
    assert page.is_file()
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}
