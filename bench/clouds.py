"""A cloud of the bench: started by the command line, in a folder of its own, gone at the end."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.client import Credentials, log_in

HOST = "aio"


class Failed(Exception):
    """A measurement cannot go on."""


@dataclass(frozen=True)
class Cloud:
    """A running cloud; `folder` is its state."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        return dict(msgspec.json.decode((self.folder / "cloud.json").read_bytes()))

    def log_in(self, user: str = "admin") -> Credentials:
        record = self.record
        return log_in(record["port"], record[f"{user}_password"], user)

    def deuteron(self, *arguments: str, timeout_s: float = 300) -> str:
        """The standard output of a command. Raises: Failed."""
        return self.told(*arguments, timeout_s=timeout_s)[0]

    def told(self, *arguments: str, timeout_s: float = 300) -> tuple[str, str]:
        """The standard output of a command, and what it says of its steps. Raises: Failed."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"deuteron {shlex.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def on(self, command: str, host: str = HOST) -> str:
        """The output of a shell command on a host. Raises: Failed."""
        return self.deuteron("exec", host, "--", "sh", "-ec", command)

    def start_on(self, host: str, *command: str) -> subprocess.Popen[str]:
        """A program on a host, with pipes to talk to it."""
        return subprocess.Popen(
            self.command("exec", host, "--", *command), env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def up(self, *options: str) -> float:
        """Start it; the milliseconds until it is ready to use. Raises: Failed."""
        begun = time.perf_counter()
        self.deuteron("up", *options, timeout_s=900)
        return (time.perf_counter() - begun) * 1000

    def pids(self) -> dict[str, int]:
        """Process ids, seen from outside, by name."""
        from deuteron.sandbox import control
        from deuteron.sandbox.cloud import State

        reply = control.ask(State(self.folder), control.Ask(do="status"))
        if reply is None:
            raise Failed("the cloud is not running")
        return {"supervisor": reply.pid, **reply.outer_pids}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DEUTERON_STATE_DIR": str(self.folder)}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "deuteron.cli", *arguments]


@contextlib.contextmanager
def fresh(*options: str) -> Iterator[Cloud]:
    """A new cloud, taken down and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="deuteron-bench-") as folder:
        cloud = Cloud(Path(folder) / "cloud")
        try:
            cloud.up(*options)
            yield cloud
        finally:
            subprocess.run(cloud.command("down", "--delete"), env=cloud.environment, capture_output=True, check=False)
