"""`deuteron status`, `logs` and `env`: look at a cloud without changing it."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import time
from pathlib import Path
from typing import IO

import click
import msgspec

from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.options import Refused, as_typed, existing_cloud, state_option
from deuteron.cli.topologies import stored_topology
from deuteron.cli.up import missing_agents, unwired_hosts, without_stopped
from deuteron.sandbox import control
from deuteron.sandbox.cloud import Cloud, State
from deuteron.sandbox.topology import Topology

WIRING_PATIENCE_S = 1.0


class Process(msgspec.Struct, frozen=True):
    name: str
    host: str
    state: str
    pid: int | None
    restarts: int
    since: float
    last_exit: str | None
    memory_kib: int | None


class Status(msgspec.Struct, frozen=True):
    """What `status --json` prints."""

    name: str
    id: str
    state_dir: str
    running: bool
    ready: bool
    dataplane: str
    firewall: str
    endpoint: str
    hosts: tuple[str, ...]
    stopped: tuple[str, ...]
    """Those of them that are switched off, which the cloud can be ready without."""
    links_down: dict[str, tuple[str, ...]]
    missing: tuple[str, ...]
    """Hosts whose agents are not alive or that are not wired yet, or what else keeps the cloud from being ready."""
    processes: tuple[Process, ...]


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(state: State, as_json: bool) -> None:
    """Show whether the cloud is ready, and its processes.

    Ready means that every host is wired as it should be at this moment.

    Ends with status 0 when it is ready to use, else with 1.
    """
    found = _status(state, existing_cloud(state))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _print(found)
    sys.exit(0 if found.ready else 1)


def _status(state: State, cloud: Cloud) -> Status:
    topology = stored_topology(state)
    reply = control.ask(state, control.Ask(do="status"))
    missing: list[str] = []
    if reply is None:
        missing = ["processes"]
    else:
        if reply.sandbox not in ("ready", "none"):
            missing.append(f"sandbox ({reply.error or reply.sandbox})")
        try:
            running = without_stopped(topology, cloud)
            missing += missing_agents(Client(cloud.port, cloud.admin_password), running)
            if not missing:
                missing += _unwired(state, cloud, running)
        except (NotAnswering, Refusal) as error:
            missing.append(f"API ({error})")
    pids = reply.outer_pids if reply is not None else {}
    processes = tuple(
        Process(
            child.name,
            child.host,
            child.state,
            pids.get(child.name),
            child.restarts,
            child.since,
            child.last_exit,
            _memory_kib(pids.get(child.name)),
        )
        for child in (reply.children if reply is not None else ())
        if child.state != "done"
    )
    return Status(
        name=cloud.name,
        id=cloud.id,
        state_dir=str(state.folder),
        running=reply is not None,
        ready=not missing,
        dataplane=cloud.dataplane,
        firewall=cloud.firewall,
        endpoint=f"http://127.0.0.1:{cloud.port}/identity",
        hosts=tuple(host.name for host in topology.hosts),
        stopped=cloud.stopped,
        links_down=cloud.links_down,
        missing=tuple(missing),
        processes=processes,
    )


def _unwired(state: State, cloud: Cloud, topology: Topology) -> list[str]:
    """Hosts that are not wired as they should be now; one that is just told of something is given a moment."""
    asked: dict[str, int] = {}
    deadline = time.monotonic() + WIRING_PATIENCE_S
    while late := unwired_hosts(state, cloud, topology, asked):
        if time.monotonic() > deadline:
            return late
        time.sleep(0.05)
    return []


def _print(found: Status) -> None:
    word = "ready" if found.ready else ("not ready" if found.running else "down")
    click.echo(f'cloud "{found.name}" is {word}: {found.endpoint}')
    click.echo(f"dashboard     {found.endpoint.removesuffix('/identity')}/dashboard")
    click.echo(f"state folder  {found.state_dir}")
    click.echo(f"data plane    {found.dataplane}, firewall {found.firewall}")
    hosts = [f"{name} (stopped)" if name in found.stopped else name for name in found.hosts]
    click.echo(f"hosts         {', '.join(hosts)}")
    for name, interfaces in found.links_down.items():
        click.echo(f"links down    {name}: {', '.join(interfaces)}")
    if found.running and found.missing:
        click.echo(f"missing       {', '.join(found.missing)}")
    if not found.running:
        click.echo(as_typed("hint: deuteron up starts it"), err=True)
    if not found.processes:
        return
    width = max(len(process.name) for process in found.processes)
    click.echo(f"\n{'PROCESS':<{width}}  {'STATE':<8}  {'PID':>7}  {'MEMORY':>8}  RESTARTS")
    for process in found.processes:
        memory = f"{process.memory_kib // 1024} MiB" if process.memory_kib is not None else "-"
        ended = f"  (last: {process.last_exit})" if process.restarts and process.last_exit else ""
        click.echo(
            f"{process.name:<{width}}  {process.state:<8}  {process.pid or '-':>7}  {memory:>8}  "
            f"{process.restarts}{ended}"
        )


def _memory_kib(pid: int | None) -> int | None:
    """Resident memory of a process; None when it is gone."""
    if pid is None:
        return None
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


@click.command()
@state_option
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=20, show_default=True, help="Last lines of each.")
@click.argument("name", required=False)
def logs(state: State, follow: bool, lines: int, name: str | None) -> None:
    """Show what the cloud's processes said.

    NAME is one of them (api, supervisor, aio-agent, ...), a host, or HOST-network: packets that security groups let
    pass or dropped there, as far as a network log asks for them.
    """
    existing_cloud(state)
    files = {path.stem: path for path in sorted(state.logs.glob("*.log"))}
    files |= {f"{path.parent.name}-network": path for path in sorted(state.folder.glob("hosts/*/network.log"))}
    chosen = {key: path for key, path in files.items() if name is None or key == name or key.startswith(f"{name}-")}
    if not chosen:
        raise Refused(f'there is no log "{name}"', f"logs are {', '.join(files) or 'not there yet'}")
    prefix = len(chosen) > 1
    open_files: dict[str, IO[str]] = {}
    for key, path in chosen.items():
        open_files[key] = _open(path)
        _say(key, open_files[key].read().splitlines()[-lines:] if lines else [], prefix)
    while follow:
        for key, file in open_files.items():
            _say(key, file.read().splitlines(), prefix)
            open_files[key] = _turned_over(file, chosen[key])
        try:
            time.sleep(0.2)
        except KeyboardInterrupt:
            return


def _open(path: Path) -> IO[str]:
    """A host writes into its own folder: a link there leads nowhere, and a pipe keeps nobody waiting."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused(f"cannot read the log {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused(f"cannot read the log {path}: it is no file")
    return open(fd, errors="replace")


def _turned_over(file: IO[str], path: Path) -> IO[str]:
    """The log at `path`, which may be another file than the one that was followed and read to its end."""
    try:
        if os.path.samestat(os.fstat(file.fileno()), path.stat(follow_symlinks=False)):
            return file
        new = _open(path)
    except FileNotFoundError:
        return file
    file.close()
    return new


def _say(key: str, lines: list[str], prefix: bool) -> None:
    if lines:  # at once: a process that talks is faster than one who writes line after line
        click.echo("\n".join(f"{key}: {line}" if prefix else line for line in lines))


@click.command()
@state_option
@click.option("--cloud", type=click.Choice(["demo", "admin"]), default="demo", show_default=True, help="Who to be.")
def env(state: State, cloud: str) -> None:
    """Print what makes `openstack` work in your shell.

    Use it so: eval "$(deuteron env)"
    """
    existing_cloud(state)
    if control.ask(state, control.Ask(do="status")) is None:
        click.echo(as_typed("the cloud is not running\nhint: deuteron up starts it"), err=True)
    click.echo(f"export OS_CLIENT_CONFIG_FILE={shlex.quote(str(state.clouds_yaml))}")
    click.echo(f"export OS_CLOUD={cloud}")
    # The bundled client, when there is no other.
    folder = Path(sys.executable).parent
    if (folder / "openstack").exists():
        click.echo(f'command -v openstack >/dev/null || export PATH="$PATH:{folder}"')
