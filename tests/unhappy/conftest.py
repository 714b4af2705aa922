"""Machines that lack something, made for one command at a time in private namespaces; nothing of this one changes.

A test writes what is wrong as a shell script. It runs as root of private namespaces (root's mount namespace, or an
ordinary user's user namespace with its subordinate ids), and then the command runs there: as that root, or as a
stranger, an ordinary user without anything.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deuteron.cli.checks import what_prevents_a_sandbox
from tests import needs

STRANGER = 54321
CLI = [sys.executable, "-m", "deuteron.cli"]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What was said on standard error, without progress."""
        return [line for line in self.err.splitlines() if line and " s  " not in line[:10]]


@dataclass(frozen=True)
class Machine:
    """A folder for one test, and ways to run `deuteron` with a state folder in it."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "s"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DEUTERON_STATE_DIR": str(self.state), "DEUTERON_PROGRAM": "deuteron"}

    def run(self, *arguments: str, **variables: str) -> Done:
        return self._done([*CLI, *arguments], variables)

    def where(self, wrong: str, *arguments: str, **variables: str) -> Done:
        """Run a command as root of a machine on which the script `wrong` ran before."""
        return self.program_where(wrong, *CLI, *arguments, **variables)

    def program_where(self, wrong: str, *command: str, **variables: str) -> Done:
        return self._done([*_private(), "sh", "-ec", f"{wrong}\nexec {shlex.join(command)}"], variables)

    def as_stranger_where(self, wrong: str, *arguments: str, **variables: str) -> Done:
        """As `where`, but as a user without rights; it may read everything, since a clone may lie in a closed home."""
        become = f"setpriv --reuid {STRANGER} --regid {STRANGER} --clear-groups"
        become += " --inh-caps -all,+dac_override --ambient-caps -all,+dac_override"
        script = f"{wrong}\nexec {become} {shlex.join([*CLI, *arguments])}"
        return self._done([*_private(with_users=True), "sh", "-ec", script], variables)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CLI, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell ignores it for what it starts in the background, as it may have started the tests.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def processes(self) -> list[str]:
        """Command lines of processes of this machine's cloud."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(os.fsencode(self.state) in word for word in words):
                found.append(b" ".join(words).decode(errors="replace"))
        return found

    def wait_for_quiet(self, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.02)

    def _done(self, command: list[str], variables: dict[str, str]) -> Done:
        done = subprocess.run(
            command,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


def _private(with_users: bool = False) -> list[str]:
    program = str(Path(__file__).with_name("private.py"))
    return [sys.executable, program, *(["--users"] if with_users else [])]


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not pytest's folder: its path is too long for sockets.
    folder = Path(tempfile.mkdtemp(prefix="unhappy-"))
    folder.chmod(0o755)
    made = Machine(folder)
    try:
        yield made
    finally:
        made.run("down", "--delete")
        try:
            made.wait_for_quiet()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skips where no sandbox can be made at all."""
    missing = what_prevents_a_sandbox()
    if missing:
        needs.lacking("; ".join(check.summary for check in missing))


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where a machine cannot be made to lack something."""
    if subprocess.run([*_private(with_users=True), "true"], capture_output=True).returncode:
        needs.lacking("no user namespace with 65536 ids can be made here")


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Done:
    """Send a signal to a command and wait for its end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return Done(process.returncode, out, err)


def wait_for(what: str, look: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.01)
