"""What the demo shows while it runs: titles, commands with their output, and what is checked."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import click

TIMEOUT_S = 120.0
SCRIPT_TIMEOUT_S = 300.0


class Failed(Exception):
    """A check did not hold, or a command that must succeed did not."""


class Person(NamedTuple):
    """A user of the cloud, in a project."""

    name: str
    password: str
    project: str


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

    def script(self, commands: Sequence[str], person: Person | None = None) -> str:
        """Have the official client run all these, by the administrator where nobody is named; output is shown after.

        It starts once, which takes longer than a command. Raises: Failed with what it said, where it had to complain.
        """
        mark = "$" if person is None else f"{person.name}$"
        for command in commands:
            self.prompt(f"openstack {command}", mark=mark)
        said = self._client(commands, person)
        self._output(said)
        return said

    def data(self, commands: Sequence[str]) -> list[Any]:
        """The administrator's answers to these as data, not shown."""
        decoder, answers = json.JSONDecoder(), []
        rest = self._client([f"{command} -f json" for command in commands], None).strip()
        while rest:
            answer, end = decoder.raw_decode(rest)
            answers.append(answer)
            rest = rest[end:].strip()
        return answers

    def _client(self, commands: Sequence[str], person: Person | None) -> str:
        environment = {name: value for name, value in self.environment.items() if not name.startswith("OS_")}
        state = Path(self.environment["DEUTERON_STATE_DIR"])
        if person is None:
            environment |= {"OS_CLIENT_CONFIG_FILE": str(state / "clouds.yaml"), "OS_CLOUD": "admin"}
        else:
            environment |= {
                "OS_AUTH_URL": json.loads(self.run([*self.program, "status", "--json"], check=False))["endpoint"],
                "OS_USERNAME": person.name, "OS_PASSWORD": person.password, "OS_PROJECT_NAME": person.project,
                "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default",
                "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": "RegionOne",
                "OS_CLIENT_CONFIG_FILE": "/dev/null",
            }  # fmt: skip
        done = subprocess.run(
            [str(Path(sys.executable).parent / "openstack")],
            input="\n".join([*commands, ""]),
            capture_output=True,
            text=True,
            env=environment,
            timeout=SCRIPT_TIMEOUT_S,
        )
        # At the end of what it is given it ends with 1 whatever became of it; what failed is told there.
        if done.stderr.strip():
            raise Failed(f"the client complains:\n{done.stdout}{done.stderr}")
        return done.stdout

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

    def start(self, host: str, command: str, *, show: bool = True) -> subprocess.Popen[str]:
        """Start a command on a host and leave it running."""
        if show:
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

    def prompt(self, command: str, host: str | None = None, mark: str = "$") -> None:
        if not self.quiet:
            click.secho(f"{host}# {command}" if host else f"{mark} {command}", fg="cyan")

    def _output(self, text: str) -> None:
        if not self.quiet and text.strip():
            click.echo(text.rstrip())
