"""The functions' zip: the books' code and its requirements without boto3, which Lambda's runtime provides."""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .failure import HopFailedError, hop

EXAMPLE = Path(__file__).resolve().parents[1]
PROJECT = EXAMPLE.parents[1]
WHEELS = PROJECT / "build" / "wheels"
RUNTIME = PROJECT / "build" / "lambda-runtime"


class Function(NamedTuple):
    """A function's name, handler and environment variables."""

    name: str
    handler: str
    variables: tuple[str, ...]


@hop("package")
def build_zip(target: Path) -> Path:
    """Install the books' code and its requirements into one zip, without network access.

    Args:
        target: The zip to write.

    Raises:
        HopFailedError: pip failed.
    """
    with tempfile.TemporaryDirectory(prefix="books-package-") as temporary:
        folder = Path(temporary)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "wheel"), str(PROJECT))
        _pip(
            *("install", "--no-deps", "--no-index", "--no-compile", "--target", str(folder / "code")),
            *("--find-links", str(folder / "wheel"), "--find-links", str(WHEELS)),
            *("--requirement", str(EXAMPLE / "src" / "requirements.txt")),
        )
        sources = [(path, path.relative_to(EXAMPLE / "src")) for path in (EXAMPLE / "src").rglob("*.py")]
        installed = [(path, path.relative_to(folder / "code")) for path in (folder / "code").rglob("*")]
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
            for path, name in sorted([*sources, *installed], key=lambda member: member[1]):
                if path.is_file():
                    package.write(path, name)
    return target


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise HopFailedError("package", f"pip {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


@hop("package")
def check_imports(package: Path, functions: Iterable[Function]) -> None:
    """Import each function's handler in an interpreter that has only the zip's content and boto3.

    The engine's own environment would hide a package that is missing from the zip.

    Raises:
        HopFailedError: A handler can't be imported; the error names it.
    """
    with tempfile.TemporaryDirectory(prefix="books-import-") as folder:
        with zipfile.ZipFile(package) as content:
            # Python can't import compiled modules from a zip, and Lambda unpacks the zip too.
            content.extractall(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda function: _check_import(folder, function), functions))


def _check_import(folder: str, function: Function) -> None:
    module, _, name = function.handler.rpartition(".")
    code = (
        f"import sys; sys.path += {[folder, str(RUNTIME)]!r}; from importlib import import_module; "
        f"sys.exit(not callable(getattr(import_module({module!r}), {name!r})))"
    )
    environment = {"AWS_DEFAULT_REGION": "eu-central-1"} | dict.fromkeys(function.variables, "unset")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"{function.handler} is not callable"]
        raise HopFailedError("package", f"{function.name} can't be imported from its zip and boto3 alone: {reason[0]}")
