"""What a host carries goes elsewhere, or keeps the host from leaving: the steps of `deuteron host remove` at the API.

Each step looks first, so that a removal that was interrupted is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.hostline import HostRefusal, ask_host
from deuteron.cli.options import Refused
from deuteron.model.departures import Carried, Named
from deuteron.sandbox.cloud import Cloud, State

MOVE_TIMEOUT_S = 600.0
"""For each server."""
_FORGET_TIMEOUT_S = 20.0
_POLL_S = 0.2
_COMPUTE = "compute 2.53"
_SERVICES = "/compute/v2.1/os-services"
_REASON = "the host is leaving"

Choose = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]
"""Which of several agents gets a router, or a network's DHCP."""


def least_loaded(agents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The agent that has the fewest routers or networks; the first by name among equals."""

    def load(agent: dict[str, Any]) -> tuple[int, str]:
        said = agent["configurations"]
        return int(said.get("routers", said.get("networks", 0))), str(agent["host"])

    return min(agents, key=load)


def carried_by(state: State, cloud: Cloud, host: str) -> Carried:
    """Raises: NotAnswering; Refused."""
    try:
        return ask_host(state, cloud, host, "carried", Carried)
    except HostRefusal as error:
        raise Refused(f'cannot ask what host "{host}" carries: {error}') from error


def clear(
    state: State, cloud: Cloud, client: Client, host: str, *, migrate: bool, choose: Choose = least_loaded
) -> list[str]:
    """Move what can be moved, and say what was; nothing is moved where something has to stay.

    Raises: Refused with what stays; NotAnswering; Refusal.
    """
    there = carried_by(state, cloud, host)
    staying = Carried(servers=() if migrate else there.servers, backups=there.backups)
    # Volumes of a server go along with it, or say by its refusal that they stay.
    if not (migrate and there.servers):
        staying = Carried(staying.servers, there.volumes, staying.backups)
    if words := staying.words():
        hint = "deuteron host remove --migrate moves servers" if staying.servers else "move or delete them first"
        raise Refused(f'cannot remove host "{host}": it carries {", ".join(words)}', hint)
    agents = client.get("/network/v2.0/agents")["agents"]
    _refuse_nowhere(agents, there, host)
    moved = _move_servers(state, cloud, client, host, there.servers) if there.servers else []
    left = carried_by(state, cloud, host)
    if words := Carried(servers=left.servers, volumes=left.volumes).words():
        raise Refused(f'cannot remove host "{host}": it still carries {", ".join(words)}', "move or delete them first")
    return moved + _move_networks(client, host, left, choose)


def _refuse_nowhere(agents: Sequence[dict[str, Any]], there: Carried, host: str) -> None:
    for kind, words in (("L3 agent", Carried(routers=there.routers)), ("DHCP agent", Carried(networks=there.networks))):
        if words.words() and not _others(agents, kind, host):
            raise Refused(
                f'cannot remove host "{host}": it carries {words.words()[0]}, and no other host can take them',
                "deuteron host add NAME --groups network",
            )


def _others(agents: Sequence[dict[str, Any]], kind: str, host: str) -> list[dict[str, Any]]:
    able = [each for each in agents if each["agent_type"] == kind and each["alive"] and each["host"] != host]
    # Who routes for distributed routers alone takes nobody else's.
    return [each for each in able if each["configurations"].get("agent_mode") != "dvr"]


# --- servers ------------------------------------------------------------------------------------------------------


def _move_servers(state: State, cloud: Cloud, client: Client, host: str, servers: Sequence[Named]) -> list[str]:
    services = client.get(f"{_SERVICES}?binary=nova-compute&host={host}", _COMPUTE)["services"]
    disabled = [service for service in services if service["status"] == "enabled"]
    for service in disabled:  # or it would be chosen again
        body = {"status": "disabled", "disabled_reason": _REASON}
        client.call("PUT", f"{_SERVICES}/{service['id']}", body, _COMPUTE)
    try:
        return [_move_server(client, host, server) for server in servers]
    except BaseException:
        for service in disabled:
            client.call("PUT", f"{_SERVICES}/{service['id']}", {"status": "enabled"}, _COMPUTE)
        raise


def _move_server(client: Client, host: str, server: Named) -> str:
    path = f"/compute/v2.1/servers/{server.id}"
    deadline = time.monotonic() + MOVE_TIMEOUT_S
    asked = ""
    while True:
        found = client.get(path, _COMPUTE)["server"]
        status, where = str(found["status"]), found["OS-EXT-SRV-ATTR:host"]
        is_idle = found["OS-EXT-STS:task_state"] is None
        if is_idle and status in ("ACTIVE", "SHUTOFF") and where != host:
            return f"server {server.name} to {where}"
        action: dict[str, Any] | None = None
        if status == "VERIFY_RESIZE":
            action = {"confirmResize": None}
        elif status == "ACTIVE":
            action = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        elif status == "SHUTOFF":
            action = {"migrate": None}
        word = "" if action is None else next(iter(action))
        try:
            if is_idle and action is not None and word != asked:
                client.call("POST", f"{path}/action", action, _COMPUTE)
                asked = word
            elif is_idle and (action is None or time.monotonic() > deadline):
                raise Refused(
                    f'cannot move server "{server.name}" away from host "{host}": it is {status}',
                    f"openstack server event list {server.id} says what happened",
                )
        except Refusal as error:
            raise Refused(f'cannot move server "{server.name}" away from host "{host}": {error}') from error
        if time.monotonic() > deadline:
            raise Refused(f'server "{server.name}" is still on host "{host}" after {MOVE_TIMEOUT_S:.0f} s')
        time.sleep(_POLL_S)


# --- networks -----------------------------------------------------------------------------------------------------


def _move_networks(client: Client, host: str, there: Carried, choose: Choose) -> list[str]:
    moved = []
    for kind, objects, what, field in (
        ("DHCP agent", there.networks, "dhcp-networks", "network_id"),
        ("L3 agent", there.routers, "l3-routers", "router_id"),
    ):
        for one in objects:
            agents = client.get("/network/v2.0/agents")["agents"]
            old = next(each["id"] for each in agents if each["agent_type"] == kind and each["host"] == host)
            busy = _hosts_of(client, kind, one.id)
            others = [each for each in _others(agents, kind, host) if each["host"] not in busy]
            if others and not (busy - {host}):
                new = choose(others)
                # DHCP is served by both for a moment. A router is where it is: its ports have one host.
                if kind == "DHCP agent":
                    client.call("POST", f"/network/v2.0/agents/{new['id']}/{what}", {field: one.id})
                client.call("DELETE", f"/network/v2.0/agents/{old}/{what}/{one.id}")
                if kind == "L3 agent":
                    client.call("POST", f"/network/v2.0/agents/{new['id']}/{what}", {field: one.id})
                moved.append(
                    f"{'DHCP of ' if kind == 'DHCP agent' else 'router '}{one.name or one.id} to {new['host']}"
                )
            else:
                client.call("DELETE", f"/network/v2.0/agents/{old}/{what}/{one.id}")
    return moved


def _hosts_of(client: Client, kind: str, object_id: str) -> set[str]:
    path = f"routers/{object_id}/l3-agents" if kind == "L3 agent" else f"networks/{object_id}/dhcp-agents"
    return {str(agent["host"]) for agent in client.get(f"/network/v2.0/{path}")["agents"]}


# --- the host itself ----------------------------------------------------------------------------------------------


def forget(client: Client, host: str) -> bool:
    """Have the API forget a host that is no longer in the topology; whether it knew it.

    Raises: Refused with why it does not; NotAnswering; Refusal.
    """
    deadline = time.monotonic() + _FORGET_TIMEOUT_S
    knew = False
    while (path := _known_as(client, host)) is not None:
        knew = True
        try:
            client.call("DELETE", path, microversion=_COMPUTE if path.startswith("/compute") else None)
        except Refusal as error:
            # The API hears a moment later that the host has left, and that its agent is gone.
            if error.status != 409 or time.monotonic() > deadline:
                raise Refused(f'host "{host}" has left, and the API keeps what it knows of it: {error}') from error
            time.sleep(_POLL_S)
        except NotAnswering:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
    return knew


def _known_as(client: Client, host: str) -> str | None:
    services = client.get(f"{_SERVICES}?binary=nova-compute&host={host}", _COMPUTE)["services"]
    if services:
        return f"{_SERVICES}/{services[0]['id']}"
    agents = client.get(f"/network/v2.0/agents?host={host}")["agents"]
    return f"/network/v2.0/agents/{agents[0]['id']}" if agents else None
