"""Tempest's own Python environments: what a lock file names, outside of the tree and apart from our packages.

Each lies below the user's cache, with the digest of the lock file and of the interpreter in its name: another lock file
makes another folder. Its programs name its folder, so it is made where it stays; `whole` is written last, and what has
none is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

TEMPEST = Path(__file__).with_name("requirements.lock")
"""Made by `pip-compile --generate-hashes` of the one line `tempest==47.0.0`."""
PLUGIN = Path(__file__).with_name("plugin.lock")
"""The same of that line, `neutron-tempest-plugin==3.3.0`, `keystone-tempest-plugin==0.22.0` and
`cinder-tempest-plugin==1.23.0`."""


def environment(lock_file: Path) -> Path:
    """The environment's folder; it is made when it is not there, which takes some 20 s.

    Raises: AssertionError with what pip said, when the packages cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_of = lock_file.read_bytes() + f"{sys.base_prefix} {sys.version}".encode()
    folder = cache / "deuteron" / f"tempest-{hashlib.sha256(made_of).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            _make(folder, lock_file)
    return folder


def _make(folder: Path, lock_file: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    install = (
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        str(lock_file),
    )
    done = subprocess.run([folder / "bin" / "python", *install], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"cannot install tempest into {folder}: {done.stderr}"
    (folder / "whole").touch()
