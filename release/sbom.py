"""Write the SBOM of the wheel and its dependencies: ``python release/sbom.py dist/….whl FILE CYCLONEDX-PY``.

The script installs the wheel into an empty environment and removes pip. The SBOM, in CycloneDX JSON, lists the rest:
the library and the newest versions of its dependencies, with their licences.
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
