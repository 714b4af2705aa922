"""Runs the chapters of `docs/learn` on a cloud: commands where they belong, what they print under stable names.

One client and one shell for each host stay open from chapter to chapter, and each wait is bounded. Nothing is written
but what the chapters' commands do to the cloud; the caller gets the files.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deuteron.cli.client import Client
from deuteron.cli.options import client_environment
from deuteron.cli.script import TIMEOUT_S, Failed
from deuteron.cli.spoken import Spoken
from deuteron.learn import pictures, source
from deuteron.learn.names import Names, names_of
from deuteron.learn.stable import aligned, one_bridge, stable
from deuteron.sandbox.cloud import State, read_cloud

_COLLECTIONS = {
    "network": "networks", "subnet": "subnets", "port": "ports", "router": "routers", "floatingip": "floatingips",
    "security_group": "security-groups",
}  # fmt: skip
_SSH = ("StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "LogLevel ERROR", "ConnectTimeout 5")
_MARK = "@@ended"
_DEVICES = (
    'for n in $(ip netns list | cut -d" " -f1); do '
    'ip -n $n -o link | sed -n "s/^[0-9]*: \\([^:@]*\\).*/$n\\t\\1/p"; done'
)


class Runner:
    """Of one cloud that is up. `program` runs `deuteron`, with the state folder chosen by `environment`."""

    def __init__(self, state: State, program: Sequence[str], environment: Mapping[str, str]) -> None:
        cloud = read_cloud(state)
        if cloud is None:
            raise Failed(f"there is no cloud in {state.folder}")
        self._state, self._port, self._program, self._environment = state, cloud.port, program, environment
        self._api = Client(cloud.port, cloud.admin_password)
        self._clients: dict[str, Spoken] = {}
        self._shells: dict[str, Spoken] = {}
        self._key = state.folder / "learn-key"
        if not self._key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True)
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._names = Names({})
        self.look()

    def close(self) -> None:
        for each in (*self._clients.values(), *self._shells.values()):
            each.close()

    def look(self) -> None:
        """Hear anew which objects there are."""
        rows = {
            kind: self._api.get(f"/network/v2.0/{name}")[name.replace("-", "_")] for kind, name in _COLLECTIONS.items()
        }
        rows["server"] = [
            {**row, "project_id": row["tenant_id"]}
            for row in self._api.get("/compute/v2.1/servers/detail?all_tenants=1")["servers"]
        ]
        rows["project"] = self._api.get("/identity/v3/projects")["projects"]
        self._rows = rows
        fixed = {"<key>": str(self._key), "<state>": str(self._state.folder), "<API>": f"127.0.0.1:{self._port}"}
        self._names = names_of(rows).plus(fixed)

    def chapter(self, chapter: source.Chapter) -> dict[str, str]:
        """The chapter's page and its pictures: names of files to what is in them. Raises: Failed."""
        files: dict[str, str] = {}
        parts = []
        for part in chapter.parts:
            if isinstance(part, str):
                parts.append(part)
            elif part.kind == "picture":
                name = f"{chapter.name}-{len(files) + 1}.svg"
                files[name] = self._picture(part)
                parts.append(f"![{part.alt or ' '.join(part.words)}]({name})")
            else:
                try:
                    said = self._block(part)
                except Failed as failed:
                    raise Failed(f"{chapter.name}: {failed}") from None
                if said:
                    parts.append(f"```console\n{said}\n```")
        return {f"{chapter.name}.md": "\n\n".join(parts) + "\n", **files}

    # --- commands -----------------------------------------------------------------------------------------------------

    def _block(self, block: source.Block) -> str:
        told = []
        for command in block.commands:
            status, printed = self._until(block, command)
            if (status != 0) is not ("fails" in block.flags):
                raise Failed(f"{' '.join((block.kind, *block.words))}: {command} ended with {status}:\n{printed}")
            if block.kind == "openstack":
                self.look()
            told.append("\n".join(each for each in (_prompt(block, command), self._shown(block, printed)) if each))
        return "" if "silent" in block.flags else "\n".join(told)

    def _until(self, block: source.Block, command: str) -> tuple[int, str]:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            status, printed = self._run(block, self._names.real(command))
            if block.until is None or re.search(self._names.real(block.until), printed, re.MULTILINE):
                return status, printed
            if time.monotonic() > deadline:
                raise Failed(f"{command}: not within {TIMEOUT_S:.0f} s: {block.until}; last:\n{printed}")
            time.sleep(0.5)
            self.look()

    def _run(self, block: source.Block, command: str) -> tuple[int, str]:
        if block.kind == "openstack":
            return self._openstack(block.words[0] if block.words else "demo", command)
        if block.kind == "on":
            return self.on(block.words[0], command)
        done = subprocess.run(
            [*self._program, *shlex.split(command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=dict(self._environment), timeout=TIMEOUT_S,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _openstack(self, who: str, command: str) -> tuple[int, str]:
        if who not in self._clients:
            environment = client_environment(self._state, who)
            if who not in ("admin", "demo"):
                del environment["OS_CLOUD"]
                environment |= {
                    "OS_AUTH_URL": f"http://127.0.0.1:{self._port}/identity", "OS_IDENTITY_API_VERSION": "3",
                    "OS_USERNAME": who, "OS_PASSWORD": who, "OS_PROJECT_NAME": who.replace("user", "tenant"),
                    "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default", "OS_REGION_NAME": "RegionOne",
                    "OS_CLIENT_CONFIG_FILE": "/dev/null",
                }  # fmt: skip
            self._clients[who] = Spoken([sys.executable, "-m", "deuteron.cli.learn_client"], environment)
        _, answer = self._clients[who].ask(json.dumps(shlex.split(command)), "[")
        status, printed = json.loads(answer)
        return int(status or 0), str(printed)

    def on(self, host: str, command: str) -> tuple[int, str]:
        """The status of a command in a shell of a host, and what it printed."""
        if host not in self._shells:
            self._shells[host] = Spoken([*self._program, "exec", host, "--", "sh"], self._environment)
            self._give(host, self._key)
        line = f"( {command}\n) </dev/null 2>&1; ended=$?; echo; echo {_MARK} $ended"
        lines, answer = self._shells[host].ask(line, _MARK)
        return int(answer.split()[1]), "".join(lines)

    def _give(self, host: str, file: Path) -> None:
        """A copy of the key, which root there may not read here, and what `ssh -F ~/ssh` needs, in the home folder."""
        lines = f'"IdentityFile $HOME/{file.name}" {shlex.join(_SSH)}'
        script = f"umask 077; cat >~/{file.name}; printf '%s\\n' {lines} >~/ssh"
        with file.open("rb") as key:
            subprocess.run(
                [*self._program, "exec", host, "--", "sh", "-c", script],
                stdin=key, env=dict(self._environment), check=True, timeout=TIMEOUT_S,
            )  # fmt: skip

    def _shown(self, block: source.Block, printed: str) -> str:
        lines = stable(self._names.stable(printed)).splitlines()
        if block.bridge is not None:
            lines = one_bridge(lines, block.bridge)
        if block.end is not None:
            lines = list(itertools.takewhile(lambda line: not re.search(str(block.end), line), lines))
        if block.keep is not None:
            lines = [line for line in lines if re.search(block.keep, line)]
        if block.cut is not None:
            lines = [line for line in lines if not re.search(block.cut, line)]
        if block.only is not None:
            found = [re.search(block.only, line) for line in lines]
            lines = [each[each.lastindex or 0] for each in found if each]
        if "sorted" in block.flags:
            lines.sort()
        return "\n".join(aligned(lines))

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _picture(self, block: source.Block) -> str:
        kind, of = block.words
        title = block.alt or " ".join(block.words)
        if kind == "topology":
            project = next((str(row["id"]) for row in self._rows["project"] if row["name"] == of), None)
            return pictures.topology(title, self._rows, project)
        looked = [self._names.stable(self.on(of, command)[1]) for command in ("ovs-vsctl show", "ip -o link", _DEVICES)]
        return pictures.devices(title, pictures.Looked(stable(looked[0]), *looked[1:]))


def _prompt(block: source.Block, command: str) -> str:
    if block.kind == "on":
        return f"{block.words[0]}# {command}"
    if block.kind == "deuteron":
        return f"$ deuteron {command}"
    who = block.words[0] if block.words else "demo"
    return f"$ openstack {command}" if who == "demo" else f"{who}$ openstack {command}"
