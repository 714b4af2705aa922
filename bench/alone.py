"""An API alone: a process with a folder of its own and no agent, for measurements beside another.

Every write is on disk before it is answered, tokens are proved, requests come over HTTP: all as in a whole cloud.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.client import Credentials, Refused, log_in
from bench.clouds import Failed

_START_TIMEOUT_S = 120.0


class Api:
    """The passwords are the users' names. `hosts` are entries of the settings, by name."""

    def __init__(self, folder: Path, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.folder = folder
        self.socket = folder / "api.sock"
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "state_dir": str(folder), "port": self.port, "socket": str(self.socket), "admin_password": "admin",
            "demo_password": "demo", "dataplane": "none", "external": None, "hosts": hosts,
        }  # fmt: skip
        self._settings = folder / "api.json"
        self._settings.touch(0o600)
        self._settings.write_bytes(msgspec.json.encode(settings))

    @property
    def pid(self) -> int:
        assert self._process is not None  # started before
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers. Raises: Failed."""
        with (self.folder / "api.log").open("ab") as log:
            command = (sys.executable, "-m", "deuteron.api", "--settings", str(self._settings))
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, Refused):
                self.log_in("admin")
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the API does not start:\n{(self.folder / 'api.log').read_text()[-2000:]}")
            time.sleep(0.01)

    def log_in(self, user: str) -> Credentials:
        return log_in(self.port, user, user)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
