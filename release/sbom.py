"""Writes the SBOM of what installing the wheel brings: ``python release/sbom.py dist/….whl FILE CYCLONEDX-PY``.

The wheel is installed alone into an empty environment, pip is taken out of it, and what is left is written down as
CycloneDX JSON: the library and, with its version and licence, everything that it needs, as of today.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from environments import PROJECT, empty_environment


def main(wheel: str, target: str, cyclonedx: str) -> None:
    with empty_environment() as environment:
        environment.install(str(Path(wheel).resolve()))
        environment.run(["-m", "pip", "--quiet", "uninstall", "--yes", "setuptools", "pip"])
        options = ["--pyproject", str(PROJECT / "pyproject.toml"), "--mc-type", "library"]
        output = ["--output-reproducible", "--output-file", str(Path(target).resolve())]
        subprocess.run([cyclonedx, "environment", *options, *output, str(environment.python)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
