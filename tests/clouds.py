"""Whole clouds for tests: started by the command line, used through the official clients."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack

PROGRAM = [sys.executable, "-m", "deuteron.cli.main"]
SHOWN_LINES = 60
"""Of each log, when a test failed."""


@dataclass(frozen=True)
class Cloud:
    """A running cloud of a test: `state` is its folder."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        # Of those side by side none takes the port of one that is down for a moment.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        first_port = {"DEUTERON_FIRST_PORT": str(5000 + 2000 * int(worker))}
        return {**os.environ, **first_port, "DEUTERON_STATE_DIR": str(self.state)}

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a command of `deuteron` on this cloud."""
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"deuteron {shlex.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def on(self, host: str, command: str, *, check: bool = True) -> str:
        return self.run("exec", host, "--", "sh", "-c", command, check=check).stdout

    def openstack(self, command: str, cloud: str = "demo", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("openstack", "--os-cloud", cloud, *shlex.split(command), check=check)

    def ask(self, command: str, cloud: str = "demo") -> Any:
        return json.loads(self.openstack(f"{command} -f json", cloud).stdout)

    def connect(self, cloud: str = "demo") -> openstack.connection.Connection:
        config = openstack.config.OpenStackConfig(config_files=[str(self.state / "clouds.yaml")])
        return openstack.connection.Connection(config=config.get_one(cloud))

    def host_state(self, host: str = "aio") -> dict[str, list[str]]:
        """What a person would look at on the host, without what varies by itself (counters, ages, pids).

        A machine that is being made for warm starts comes and goes by itself, too.
        """
        commands = {
            "namespaces": "ip netns list",
            "bridges": "ovs-vsctl --columns=name,datapath_type,fail_mode list Bridge",
            "ports": "ovs-vsctl --columns=name,tag,other_config list Port",
            "interfaces": "ovs-vsctl --columns=name,type,ofport,external_ids,options list Interface",
            "flows": "for b in $(ovs-vsctl list-br); do echo $b; ovs-ofctl --no-stats dump-flows $b; done",
            "links": "ip -o link",
            "addresses": "ip -o address",
            "routes": "ip route; ip -6 route",
            "iptables": "iptables-save; ip6tables-save",
            "ipsets": "ipset save",
            "processes": "ps -e -ww -o args | grep -E 'dnsmasq|radvd|qemu' | grep -Ev 'grep|guest=warm-'",
            "domains": "virsh list --all --name | grep -v ^warm-",
            "files": f"cd {self.state}/hosts/{host} && find dhcp ra instances -mindepth 1 2>/dev/null",
        }
        script = "; ".join(f"echo '@@{name}'; ({command})" for name, command in commands.items())
        state: dict[str, list[str]] = {}
        name = ""
        for line in self.on(host, script, check=False).splitlines():
            if line.startswith("@@"):
                name = line[2:]
                state[name] = []
            elif line.strip() and not line.startswith("#"):
                state[name].append(_without_what_varies(line))
        return {name: sorted(lines) for name, lines in state.items()}


@contextmanager
def running(*arguments: str, topology: str | None = None, operator: str | None = None) -> Iterator[Cloud]:
    """A cloud of one's own, made by `up` with these arguments and removed after; that nothing is left is checked.

    `operator` is what its operator has written before it starts.
    """
    # Not pytest's folder: its path is too long for sockets.
    folder = Path(tempfile.mkdtemp(prefix="deuteron-test-"))
    cloud = Cloud(folder / "cloud")
    if topology is not None:
        (folder / "topology.toml").write_text(topology)
        arguments = ("--topology", str(folder / "topology.toml"), *arguments)
    if operator is not None:
        (cloud.state / "api").mkdir(parents=True)
        cloud.state.chmod(0o700)
        (cloud.state / "api" / "operator.toml").write_text(operator)
    try:
        cloud.run("up", *arguments, timeout_s=600)
        yield cloud
    finally:
        for log in sorted((cloud.state / "log").glob("*.log")):  # shown when a test failed
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-SHOWN_LINES:], sep="\n")
        done = cloud.run("down", "--delete", check=False)
        left = cloud.state.exists()
        shutil.rmtree(folder, ignore_errors=True)
        assert not left, f"`down --delete` left the state folder: {done.stderr}"


def _without_what_varies(line: str) -> str:
    line = re.sub(r"^\d+: ", "", line)
    line = re.sub(r"@if\d+", "@", line)
    line = re.sub(r"\[\d+:\d+\]", "[]", line)
    line = re.sub(r"(valid_lft|preferred_lft) \w+|tentative|dadfailed", "", line)
    return " ".join(re.sub(r"\(id: \d+\)", "", line).split())


def wait_for(what: str, look: Callable[[], Any], holds: Callable[[Any], bool] = bool, timeout_s: float = 60) -> Any:
    """Look until it holds; the failure says what was last seen."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:.0f} s; last seen: {seen}")
        time.sleep(0.1)
