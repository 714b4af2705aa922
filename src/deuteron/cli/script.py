"""What the demo shows while it runs: titles, commands with their output, and what is checked."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

TIMEOUT_S = 120.0


class Failed(Exception):
    """A check did not hold, or a command that must succeed did not."""


@dataclass
class Show:
    """Runs commands where they belong, prints them as a person would see them, and keeps the checks."""

    program: Sequence[str]
    """How to run `deuteron` itself, with the state folder chosen by the environment."""
    environment: dict[str, str]
    quiet: bool = False
    passed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def title(self, text: str) -> None:
        click.echo()
        click.secho(f"{'=' * 4} {text} [{time.monotonic() - self.started:.0f} s]", bold=True)

    def say(self, text: str) -> None:
        click.echo(text)

    def check(self, sentence: str, holds: bool, evidence: str = "") -> None:
        if not holds:
            raise Failed(f"{sentence}\n{evidence}".rstrip())
        self.passed.append(sentence)
        click.echo(f"  ok  {sentence}")

    def openstack(self, command: str, cloud: str = "demo") -> str:
        """Run the official client; its output is shown."""
        self.prompt(f"openstack {command}" if cloud == "demo" else f"openstack --os-cloud {cloud} {command}")
        result = self.run([*self.program, "openstack", "--os-cloud", cloud, *shlex.split(command)])
        self._output(result)
        return result

    def ask(self, command: str, cloud: str = "demo") -> Any:
        """The client's answer as data, not shown."""
        return json.loads(
            self.run([*self.program, "openstack", "--os-cloud", cloud, *shlex.split(command), "-f", "json"])
        )

    def on(self, host: str, command: str, *, show: bool = True, check: bool = True, keep: str | None = None) -> str:
        """Run a shell command on a host of the sandbox; `keep` shows only lines that match."""
        if show:
            self.prompt(command, host)
        result = self.run([*self.program, "exec", host, "--", "sh", "-c", command], check=check)
        if show:
            self._output("\n".join(line for line in result.splitlines() if keep is None or re.search(keep, line)))
        return result

    def give(self, host: str, file: Path) -> None:
        """Put a copy of a file of ours into the home folder on a host, whose root may not read ours."""
        command = f"umask 077; cat > ~/{shlex.quote(file.name)}"
        with file.open("rb") as source:
            subprocess.run(
                [*self.program, "exec", host, "--", "sh", "-c", command],
                stdin=source,
                env=self.environment,
                check=True,
                timeout=TIMEOUT_S,
            )

    def start(self, host: str, command: str) -> subprocess.Popen[str]:
        """Start a command on a host and leave it running."""
        self.prompt(f"{command} &", host)
        return subprocess.Popen(
            [*self.program, "exec", host, "--", "sh", "-c", f"exec {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def until(self, sentence: str, look: Callable[[], str], pattern: str, timeout_s: float = TIMEOUT_S) -> str:
        """Look again until the pattern is seen; the check holds if it is in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = look()
            if re.search(pattern, seen, re.MULTILINE):
                self.check(sentence, True)
                return seen
            if time.monotonic() > deadline:
                raise Failed(f"{sentence}: not within {timeout_s:.0f} s; last seen:\n{seen}")
            time.sleep(0.2)

    def run(self, arguments: Sequence[str], check: bool = True) -> str:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment, timeout=TIMEOUT_S
        )
        if check and done.returncode != 0:
            raise Failed(f"{shlex.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def prompt(self, command: str, host: str | None = None) -> None:
        if not self.quiet:
            click.secho(f"{host}# {command}" if host else f"$ {command}", fg="cyan")

    def _output(self, text: str) -> None:
        if not self.quiet and text.strip():
            click.echo(text.rstrip())
