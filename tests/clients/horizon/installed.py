"""The real Horizon, installed as docs/horizon.md says, and started against a cloud.

Its environment lies below the user's cache, with the digest of all that it is made of in its name: other versions or
settings make another. `whole` is written last, and what has none is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.clouds import wait_for

EXAMPLE = Path(__file__).parents[3] / "examples" / "horizon"
_INSTALL_S = 300.0
_START_S = 60.0


def environment() -> Path:
    """The environment's folder; it is made when it is not there, which takes half a minute.

    Raises: AssertionError with what pip said, when Horizon cannot be installed, or not in time.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deuteron"
    files = sorted(path for path in EXAMPLE.iterdir() if path.is_file())
    made_of = b"".join(path.read_bytes() for path in files) + f"{sys.base_prefix} {sys.version}".encode()
    folder = cache / f"horizon-{hashlib.sha256(made_of).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            (folder / "whole").touch()
    return folder


def _install(folder: Path) -> None:
    try:
        done = subprocess.run(
            [EXAMPLE / "install", folder],
            env={**os.environ, "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INSTALL_S,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(
            f"Horizon is not installed into {folder} after {_INSTALL_S:.0f} s (is the package index reached?):"
            f" {error.output!r}"
        ) from None
    assert done.returncode == 0, f"cannot install Horizon into {folder} (is the package index reached?): {done.stdout}"


@contextmanager
def running(keystone_url: str, log: Path) -> Iterator[str]:
    """The address of a Horizon of this cloud, which ends with the block; what it says goes to the file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = "{}:{}".format(*free.getsockname())
    address = f"http://{place}"
    with log.open("w") as written:
        process = subprocess.Popen(
            [EXAMPLE / "start", environment(), place],
            env={**os.environ, "OPENSTACK_KEYSTONE_URL": keystone_url},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        wait_for("Horizon's login page", lambda: _status(process, address, log), lambda seen: seen == 200, _START_S)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _status(process: subprocess.Popen[bytes], address: str, log: Path) -> int | str:
    assert process.poll() is None, f"Horizon ended: {log.read_text()[-2000:]}"
    try:
        return requests.get(f"{address}/auth/login/", timeout=_START_S).status_code
    except requests.ConnectionError as error:
        return str(error)
