"""The simulator of a ZFS Storage Appliance as tests have it: a process of its own, at ports that are free."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from deuteron.appliance.trouble import Trouble

PASSWORD = "correct horse battery"


class Simulator:
    """One appliance; `start` again after `kill` finds what it kept, at the same ports."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "password").write_text(PASSWORD)
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.rest = self.portal = 0

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "deuteron.appliance", "--state", str(self.folder / "state"),
                "--port", str(self.rest), "--portal-port", str(self.portal),
                "--password-file", str(self.folder / "password"), *self._arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("a"),
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        )  # fmt: skip
        assert self._process.stdout is not None
        limit = threading.Timer(30, self._process.kill)
        limit.start()
        line = self._process.stdout.readline()
        limit.cancel()
        assert line, (self.folder / "log").read_text()
        ready = json.loads(line)
        self.rest, self.portal = ready["rest"], ready["portal"]

    def kill(self) -> None:
        """Without a word, as a loss of power."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def wait(self) -> None:
        """Until it has ended by itself."""
        if self._process is not None:
            self._process.wait(30)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def trouble(self, *troubles: Trouble) -> None:
        path = self.folder / "state" / "trouble.json"
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(list(troubles)))
        part.rename(path)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers; as the user, unless headers say otherwise."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.rest}{path}",
            method=method,
            data=None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers=headers or {"X-Auth-User": "root", "X-Auth-Key": PASSWORD},
        )
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                data, status, given = answer.read(), answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                data, status, given = error.read(), error.code, dict(error.headers)
        return status, json.loads(data) if data else None, given

    def options(self, **more: Any) -> dict[str, Any]:
        """A table of a back end, as the seeds' chapter has it."""
        return {
            "zfssa_host": f"127.0.0.1:{self.rest}",
            "zfssa_auth_user": "root",
            "zfssa_auth_password": PASSWORD,
            "zfssa_pool": "default",
            "zfssa_target_portal": f"127.0.0.1:{self.portal}",
            "zfssa_project": "test",
            "zfssa_initiator_group": "default",
            "zfssa_target_interfaces": "e1000g0",
            "zfssa_lun_sparse": True,
            "zfssa_rest_timeout": 10,
        } | more


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Simulator]:
    simulator = Simulator(folder, *arguments)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.kill()
