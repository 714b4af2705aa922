"""`deuteron link`: pull cables between hosts, and plug them in again."""

from __future__ import annotations

import click
import msgspec

from deuteron.cli import changes
from deuteron.cli.host import json_option, known_host
from deuteron.cli.options import Refused, existing_cloud, state_option, tell_waiting
from deuteron.cli.topologies import stored_topology
from deuteron.sandbox.cables import links_of
from deuteron.sandbox.cloud import State, locked
from deuteron.sandbox.custody import read_own


class Result(msgspec.Struct, frozen=True):
    host: str
    interfaces: tuple[str, ...]
    """Those that were asked for."""
    down: tuple[str, ...]
    """Those of the host that are down now."""
    changed: bool


@click.group()
def link() -> None:
    """Pull cables between hosts, and plug them in again.

    The host sees that its interface has no carrier. It stays so over `down` and `up`. The agents' line to the API is no
    cable of a host: an agent stays alive when they are all pulled.
    """


@link.command(name="down")
@state_option
@json_option
@click.argument("name", metavar="HOST")
@click.argument("interface", required=False)
def down(state: State, as_json: bool, name: str, interface: str | None) -> None:
    """Pull the cable of INTERFACE on HOST; all cables of HOST, where none is named."""
    _set(state, name, interface, as_json, down=True)


@link.command(name="up")
@state_option
@json_option
@click.argument("name", metavar="HOST")
@click.argument("interface", required=False)
def up(state: State, as_json: bool, name: str, interface: str | None) -> None:
    """Plug the cable of INTERFACE on HOST in; all cables of HOST, where none is named."""
    _set(state, name, interface, as_json, down=False)


def _set(state: State, name: str, interface: str | None, as_json: bool, *, down: bool) -> None:
    with locked(state, tell_waiting):
        cloud = existing_cloud(state)
        topology = stored_topology(state)
        host = known_host(topology, name)
        if cloud.dataplane == "none":
            raise Refused("this cloud has no data plane, so its hosts have no cables", "deuteron doctor")
        there = tuple(cable.inside for cable in links_of(host, topology))
        if interface is not None and interface not in there:
            raise Refused(f'host "{name}" has no interface "{interface}"', f"its interfaces are {', '.join(there)}")
        chosen = there if interface is None else (interface,)
        before = cloud.links_down.get(name, ())
        after = tuple(each for each in there if (each in before or each in chosen) and (down or each not in chosen))
        cloud = msgspec.structs.replace(cloud, links_down={**cloud.links_down, name: after})
        changes.write(state, cloud, read_own(state.topology).decode())
        changes.carry_out(state)
    changed = set(before) != set(after)
    if as_json:
        click.echo(msgspec.json.encode(Result(name, chosen, after, changed)).decode())
    else:
        verb = "down" if down else "up"
        click.echo(f"{name}: {', '.join(chosen)} {verb}{'' if changed else ' already'}")
