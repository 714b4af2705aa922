"""The real Neutron's environment, made when it is not there.

It is `DEUTERON_NEUTRON`, else `~/.cache/deuteron/neutron29`; versions are those of `neutron29.txt`, their digests those
of `neutron29.lock`: apart from our own packages.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "neutron29.txt"
LOCK = HERE / "neutron29.lock"
"""Made by `uv pip compile neutron29.txt --generate-hashes --no-deps --python-version 3.11`."""


def folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("DEUTERON_NEUTRON") or cache / "deuteron" / "neutron29")


def environment() -> Path:
    """The interpreter of Neutron's environment, installed when it is not there or of other versions.

    Raises: CalledProcessError when pip cannot install it.
    """
    python, mark = folder() / "bin" / "python", folder() / "installed.txt"
    if not mark.exists() or mark.read_text() != REQUIREMENTS.read_text():
        venv.create(folder(), clear=folder().exists(), with_pip=True)
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
        subprocess.run([python, *install, "-r", LOCK], check=True)
        mark.write_text(REQUIREMENTS.read_text())
    return python
