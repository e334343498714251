"""The content of the wheel and the sdist in the folder ``DYNAMO_OUTBOX_DIST``; without it, the tests build both."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "dynamo_outbox"


class Distributions(NamedTuple):
    """The two files of a release."""

    wheel: Path
    sdist: Path


def project() -> Mapping[str, Any]:
    """Return the project's table in pyproject.toml."""
    found: Mapping[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def build(source: Path, target: Path, *, epoch: str) -> Distributions:
    """Build both with the installed hatchling, without network access."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)  # noqa: S603  # hatchling
    return distributions_in(target)


def distributions_in(folder: Path) -> Distributions:
    (wheel,), (sdist,) = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    return Distributions(wheel, sdist)


def epoch_of(sdist: Path) -> str:
    """Return the timestamp with which a source distribution was built."""
    with tarfile.open(sdist) as archive:
        return str(int(max(member.mtime for member in archive.getmembers())))


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Return the distributions under test."""
    if named := os.environ.get("DYNAMO_OUTBOX_DIST"):
        return distributions_in(Path(named))
    return build(PROJECT, tmp_path_factory.mktemp("dist"), epoch="1764000000")


@pytest.fixture
def metadata(distributions: Distributions) -> Message:
    """Return the wheel's metadata."""
    with ZipFile(distributions.wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def sources() -> dict[str, bytes]:
    """Return the content of the library's files by their names in a wheel."""
    paths = [path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(SOURCE.parent).as_posix(): path.read_bytes() for path in paths}


def test_the_wheel_holds_the_library_and_nothing_else(distributions: Distributions) -> None:
    """The wheel contains every file in src, including py.typed, and no tests, examples or other files."""
    with ZipFile(distributions.wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
        info = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert found == sources()
    assert "dynamo_outbox/py.typed" in found
    assert info == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_source_distribution_holds_the_project(distributions: Distributions) -> None:
    """The sdist contains every file that the project's commands need, and no files that a command created."""
    with tarfile.open(distributions.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert {f"src/{name}" for name in sources()} <= names
    assert folders == {"src", "examples", "tests", "docs", "benchmarks", "release", "constraints", ".github"}
    assert {name for name in names if "/" not in name} == {
        *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "CONTRIBUTING.md", "SECURITY.md", "Makefile"),
        *("PKG-INFO", ".gitignore"),
    }
    assert not [name for name in names if "__pycache__" in name or name.startswith("docs/_")]


@pytest.mark.engine
@pytest.mark.parametrize("command", ["demo", "test"])
def test_the_commands_of_the_readme_run_from_the_source_distribution(
    distributions: Distributions, tmp_path: Path, command: str
) -> None:
    """`make demo` and `make test` pass in an unpacked sdist; they use the existing environments."""
    with tarfile.open(distributions.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    engine = PROJECT / ".venv-ministack"
    environments = [f"VENV={sys.prefix}", f"ENGINE={engine}"]
    ready = [f"{sys.prefix}/.ready", f"{sys.prefix}/.ready-test", f"{engine}/.ready"]
    ran = subprocess.run(  # noqa: S603  # the project's own command
        ["make", command, *environments, *(f"--old-file={stamp}" for stamp in ready)],  # noqa: S607
        cwd=unpacked,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-5000:]}{ran.stderr[-5000:]}"
    assert "setting up" not in ran.stdout


def test_the_source_distribution_builds_the_same_wheel(distributions: Distributions, tmp_path: Path) -> None:
    """A wheel built from an unpacked sdist is identical, byte for byte, to the wheel of the release."""
    with tarfile.open(distributions.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    again = build(unpacked, tmp_path / "dist", epoch=epoch_of(distributions.sdist))
    assert again.wheel.name == distributions.wheel.name
    assert again.wheel.read_bytes() == distributions.wheel.read_bytes()


def test_a_build_can_be_repeated(tmp_path: Path) -> None:
    """Two builds of the same source with the same timestamp are identical; another timestamp gives another wheel."""
    first, second, later = (
        build(PROJECT, tmp_path / str(at), epoch=epoch)
        for at, epoch in enumerate(("1764000000", "1764000000", "1765000000"))
    )
    assert first.wheel.read_bytes() == second.wheel.read_bytes()
    assert first.sdist.read_bytes() == second.sdist.read_bytes()
    assert first.wheel.read_bytes() != later.wheel.read_bytes()


def test_the_metadata_say_what_the_project_does(metadata: Message) -> None:
    """Name, version, licence, Python versions, dependencies, extras and typing are those of pyproject.toml."""
    declared = project()
    extras = [
        f"{dependency}; extra == '{extra}'"
        for extra, dependencies in declared["optional-dependencies"].items()
        for dependency in dependencies
    ]
    assert (metadata["Name"], metadata["Version"]) == (declared["name"], declared["version"])
    assert metadata["Requires-Python"] == declared["requires-python"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("Requires-Dist") == [*declared["dependencies"], *extras]
    assert metadata.get_all("Classifier") == declared["classifiers"]
    assert "Typing :: Typed" in declared["classifiers"]
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_the_bounds_are_the_versions_that_are_tried() -> None:
    """Each dependency's lower bound is the version in constraints/lowest.txt, which names no index."""
    lines = (PROJECT / "constraints" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for dependency in project()["dependencies"]:
        name, bound = dependency.split(">=")
        assert pins[name].removesuffix(".0") == bound
    assert not [line for line in lines if "://" in line or line.startswith("-")]
