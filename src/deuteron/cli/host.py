"""`deuteron host`: hosts that join and leave a cloud, and that are switched off and on, while it runs."""

from __future__ import annotations

import os
import shutil

import click
import msgspec

from deuteron.cli import changes, departure
from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.options import Refused, existing_cloud, state_option, tell_waiting
from deuteron.cli.topologies import stored_topology
from deuteron.cli.up import missing_agents, unwired_hosts
from deuteron.sandbox import control
from deuteron.sandbox.cloud import Cloud, State, locked
from deuteron.sandbox.custody import read_own
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.namespaces import run_in_user_namespace
from deuteron.sandbox.topology import GROUPS, OUTSIDE, Host, Topology
from deuteron.sandbox.topology_edits import with_host, without_host

json_option = click.option("--json", "as_json", is_flag=True, help="Print what became of it as JSON.")


class Shown(msgspec.Struct, frozen=True):
    """What `host list --json` prints of a host."""

    name: str
    state: str
    """up, starting, stopped; down while the cloud is."""
    groups: tuple[str, ...]
    alive: bool | None
    """Whether its agent is connected; None for a host without one, and while the API does not answer."""
    management_ip: str
    tunnel_ip: str | None
    links_down: tuple[str, ...]


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command that changes a host prints with --json."""

    host: str
    state: str
    changed: bool
    moved: tuple[str, ...] = ()


@click.group()
def host() -> None:
    """See the hosts, add and remove them, and switch them off and on, while the cloud runs.

    What is asked for holds until something else is asked for, also over `down` and `up`. Asked for twice it
    changes nothing.
    """


@host.command(name="list")
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the hosts as JSON.")
def list_hosts(state: State, as_json: bool) -> None:
    """Show the hosts, and which of them are there."""
    cloud = existing_cloud(state)
    found = shown_hosts(state, cloud, stored_topology(state))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    width = max(len(one.name) for one in found)
    click.echo(f"{'HOST':<{width}}  {'STATE':<8}  {'AGENT':<5}  {'TUNNEL':<15}  GROUPS")
    for one in found:
        agent = "-" if one.alive is None else ("alive" if one.alive else "dead")
        down = f"  (down: {', '.join(one.links_down)})" if one.links_down else ""
        groups = ", ".join(one.groups) or "-"
        click.echo(f"{one.name:<{width}}  {one.state:<8}  {agent:<5}  {one.tunnel_ip or '-':<15}  {groups}{down}")


def shown_hosts(state: State, cloud: Cloud, topology: Topology) -> list[Shown]:
    reply = control.ask(state, control.Ask(do="status"))
    alive: dict[str, bool] | None = None
    if reply is not None:
        try:
            agents = Client(cloud.port, cloud.admin_password).get("/network/v2.0/agents")["agents"]
            alive = {agent["host"]: bool(agent["alive"]) for agent in agents}
        except (NotAnswering, Refusal):
            alive = None
    there = () if reply is None else reply.hosts

    def word(one: Host) -> str:
        if one.name in cloud.stopped:
            return "stopped"
        if reply is None:
            return "down"
        is_simulated = cloud.dataplane == "none" and not one.roles
        return "up" if one.name in there or is_simulated else "starting"

    return [
        Shown(
            name=one.name,
            state=word(one),
            groups=one.groups,
            alive=alive.get(one.name, False) if alive is not None and one.roles else None,
            management_ip=one.management_ip,
            tunnel_ip=one.tunnel_ip,
            links_down=cloud.links_down.get(one.name, ()),
        )
        for one in topology.hosts
    ]


@host.command(name="add")
@state_option
@click.option("--groups", default="compute", show_default=True, metavar="GROUP,…", help=f"Of {', '.join(GROUPS)}.")
@json_option
@click.argument("name")
def add(state: State, groups: str, as_json: bool, name: str) -> None:
    """Let host NAME join the cloud.

    It is wired as the first host of the same groups, and has the addresses after the last ones.
    """
    wanted = tuple(dict.fromkeys(word.strip() for word in groups.split(",") if word.strip()))
    with locked(state, tell_waiting):
        cloud = existing_cloud(state)
        topology = stored_topology(state)
        text = read_own(state.topology).decode()
        there = topology.host(name)
        if there is not None and set(there.groups) != set(wanted):
            words = ", ".join(there.groups) or "none"
            raise Refused(f'cannot add host "{name}": it is there, in groups {words}', f"deuteron host remove {name}")
        if there is None:
            if not wanted:
                raise Refused(f'cannot add host "{name}" to no group', f"--groups takes {', '.join(GROUPS)}")
            text = with_host(text, name, wanted)
        cloud = changes.write(state, cloud, text)
        is_running = changes.carry_out(state)
    if is_running:
        wait_for_host(state, cloud, stored_topology(state), name)
    _tell(as_json, Result(name, _state_word(cloud, name, is_running), there is None))


@host.command(name="remove")
@state_option
@click.option("--migrate", is_flag=True, help="Move its servers to other hosts: running ones live, the others as well.")
@json_option
@click.argument("name")
def remove(state: State, migrate: bool, as_json: bool, name: str) -> None:
    """Let host NAME leave the cloud, when what it carries is elsewhere.

    Its routers and the DHCP that it serves go to other hosts. Servers keep it from leaving, unless --migrate is given;
    volumes and backups of it do.
    """
    if name == OUTSIDE:
        raise Refused(f'cannot remove host "{name}": it is the world outside the cloud', f"deuteron host stop {name}")
    with locked(state, tell_waiting):
        cloud = existing_cloud(state)
        if control.ask(state, control.Ask(do="status")) is None:
            raise Refused(f'cannot remove host "{name}": nobody knows what it carries', "deuteron up")
        client = Client(cloud.port, cloud.admin_password)
        topology = stored_topology(state)
        there = topology.host(name)
        moved: list[str] = []
        if there is not None:
            try:
                text = without_host(read_own(state.topology).decode(), name)
            except TopologyError as error:
                raise Refused(f'cannot remove host "{name}": {error.message}', error.hint) from error
            if there.roles:
                moved = departure.clear(state, cloud, client, name, migrate=migrate)
            changes.write(state, cloud, text)
            changes.carry_out(state)
        knew = departure.forget(client, name)
        _remove_folder(state, name)
    if there is None and not knew:
        names = ", ".join(each.name for each in topology.hosts)
        click.echo(f'there is no host "{name}"; hosts are {names}', err=True)
    _tell(as_json, Result(name, "removed", there is not None or knew, tuple(moved)))


@host.command(name="stop")
@state_option
@json_option
@click.argument("name")
def stop(state: State, as_json: bool, name: str) -> None:
    """Switch host NAME off, with all that runs on it.

    What is on its disks stays. Nothing is moved: it is as when a machine fails.
    """
    _, changed = _switch(state, name, off=True)
    _tell(as_json, Result(name, "stopped", changed))


@host.command(name="start")
@state_option
@json_option
@click.argument("name")
def start(state: State, as_json: bool, name: str) -> None:
    """Switch host NAME on, and wait until it is as it should be. Its servers start again."""
    cloud, changed = _switch(state, name, off=False)
    is_running = control.ask(state, control.Ask(do="status")) is not None
    if is_running:
        wait_for_host(state, cloud, stored_topology(state), name)
    _tell(as_json, Result(name, _state_word(cloud, name, is_running), changed))


def _switch(state: State, name: str, *, off: bool) -> tuple[Cloud, bool]:
    with locked(state, tell_waiting):
        cloud = existing_cloud(state)
        topology = stored_topology(state)
        known_host(topology, name)
        was_off = name in cloud.stopped
        others = tuple(each for each in cloud.stopped if each != name)
        if off and not was_off:
            _warn(state, cloud, topology, name)
        cloud = msgspec.structs.replace(cloud, stopped=(*others, name) if off else others)
        cloud = changes.write(state, cloud, read_own(state.topology).decode())
        is_running = changes.carry_out(state)
    one = topology.host(name)
    if off and is_running and one is not None and one.roles:
        client = Client(cloud.port, cloud.admin_password)
        changes.wait(f'host "{name}" is known to be away', lambda: _is_dead(client, name))
    return cloud, was_off != off


def _warn(state: State, cloud: Cloud, topology: Topology, name: str) -> None:
    """Say what stands still without the host, where somebody can be asked."""
    one = topology.host(name)
    try:
        words = departure.carried_by(state, cloud, name).words() if one is not None and one.roles else ()
    except (NotAnswering, Refused):
        return
    if words:
        click.echo(f'host "{name}" carries {", ".join(words)}', err=True)


def _is_dead(client: Client, name: str) -> bool:
    try:
        agents = client.get(f"/network/v2.0/agents?host={name}")["agents"]
    except (NotAnswering, Refusal):
        return False
    return not any(agent["alive"] for agent in agents)


def known_host(topology: Topology, name: str) -> Host:
    """Raises: Refused with the hosts that there are."""
    found = topology.host(name)
    if found is None:
        raise Refused(f'there is no host "{name}"', f"hosts are {', '.join(each.name for each in topology.hosts)}")
    return found


def wait_for_host(state: State, cloud: Cloud, topology: Topology, name: str) -> None:
    """Until its agent is alive and has done what it was asked for first. Raises: SupervisorError."""
    one = topology.host(name)
    if one is None or not one.roles or name in cloud.stopped:
        return
    alone = msgspec.structs.replace(topology, hosts=(one,))
    client = Client(cloud.port, cloud.admin_password)
    asked: dict[str, int] = {}

    def is_ready() -> bool:
        try:
            return not missing_agents(client, alone) and not unwired_hosts(state, cloud, alone, asked)
        except (NotAnswering, Refusal):
            return False

    changes.wait(f'host "{name}" is ready', is_ready)


def _state_word(cloud: Cloud, name: str, is_running: bool) -> str:
    if name in cloud.stopped:
        return "stopped"
    return "up" if is_running else "down"


def _remove_folder(state: State, name: str) -> None:
    """What the host kept. Disks that were given out of hand are nobody's to remove: folders that hold any stay."""
    folder = state.host(name)

    def remove() -> None:
        if not folder.is_dir() or folder.is_symlink():
            return
        for entry in folder.iterdir():
            is_folder = entry.is_dir() and not entry.is_symlink()
            holds_disks = entry.name in ("volumes", "backends", "backups", "appliance")
            if holds_disks and is_folder and any(files for _, _, files in os.walk(entry)):
                continue
            if is_folder:
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()

    if os.getuid() == 0:
        remove()
    elif folder.exists():
        run_in_user_namespace(remove)
    for log in state.logs.glob(f"{name}-*.log*"):
        if any(log.name.startswith(f"{name}-{process}.log") for process in _PROCESSES):
            log.unlink(missing_ok=True)


_PROCESSES = ("agent", "appliance", "libvirtd", "ovs-setup", "ovs-vswitchd", "ovsdb-server")


def _tell(as_json: bool, result: Result) -> None:
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    for words in result.moved:
        click.echo(f"moved {words}", err=True)
    click.echo(f"{result.host} is {result.state}{'' if result.changed else ' already'}")
