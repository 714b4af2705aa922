"""Ports as the devices have them that they are plugged into: what Compute asks of the network, many servers at once.

A device is what a port names in `device_id`. Nobody but this service reads or writes its tables; who has a device asks
here which ports it has and lets go of them here, so that revisions are counted and hosts hear of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import exists, or_, select
from typing_extensions import ReadOnly, TypedDict

from deuteron.model.caller import Caller
from deuteron.model.network import PORT
from deuteron.model.network.parts import FixedIp
from deuteron.model.network.rows import FloatingIpRow, PortRow, SecurityGroupRow, SecurityGroupRuleRow
from deuteron.model.scalars import Mac, NetworkId, PortId, ProjectId, SecurityGroupId
from deuteron.model.settings import Settings
from deuteron.rules.network import bindings, faults, local_floating, promises, sight, trunk_ports
from deuteron.rules.network.kinds import change, find
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    floatingips,
    networks,
    ports,
    security_group_rules,
    security_groups,
    subnets,
)


class PluggedPort(TypedDict):
    """What an answer about a device shows of its port."""

    id: ReadOnly[PortId]
    network_id: ReadOnly[NetworkId]
    mac_address: ReadOnly[Mac]
    fixed_ips: ReadOnly[Sequence[FixedIp]]
    security_groups: ReadOnly[Sequence[SecurityGroupId]]
    device_id: ReadOnly[str]
    status: ReadOnly[str]


@dataclass(frozen=True)
class Plugged:
    """Ports of devices, and the names that an answer about them shows."""

    ports: Mapping[PortId, PluggedPort]
    """By id."""
    network_names: Mapping[str, str]
    floating: Mapping[str, Sequence[tuple[str, str]]]
    """By port: fixed and floating address."""
    group_names: Mapping[str, str]


def plugged(tx: Tx, device_ids: Collection[str]) -> Plugged:
    """What is plugged into the devices, with four queries however many there are."""
    if not device_ids:
        return Plugged({}, {}, {}, {})
    names = tuple(PluggedPort.__annotations__)
    asked = select(*(ports.c[name] for name in names)).where(query.any_of(ports.c["device_id"], sorted(device_ids)))
    found = {row[0]: cast("PluggedPort", dict(zip(names, row, strict=True))) for row in tx.all(asked)}
    floating: dict[str, list[tuple[str, str]]] = defaultdict(list)
    leading = select(
        floatingips.c["port_id"], floatingips.c["fixed_ip_address"], floatingips.c["floating_ip_address"]
    ).where(query.any_of(floatingips.c["port_id"], [*found]))
    for port_id, fixed, address in tx.all(leading):
        floating[port_id].append((fixed, address))
    return Plugged(
        found,
        _names(tx, "network", (row["network_id"] for row in found.values())),
        floating,
        _names(tx, "security_group", (group for row in found.values() for group in row["security_groups"] or ())),
    )


def find_port(tx: Tx, caller: Caller, port_id: str) -> PortRow | None:
    """The port, if it is of the caller's project. A port of others on its network is no port for its servers."""
    row = find(tx, PORT, port_id)
    return row if row is not None and (caller.is_admin or row["project_id"] == caller.project_id) else None


def ports_of(tx: Tx, port_ids: Collection[str]) -> list[PortRow]:
    """The ports of these ids, whoever may see them."""
    return query.rows(tx, ports, query.any_of(ports.c["id"], list(port_ids)), order_by=(ports.c["id"],))


def detach(tx: Tx, settings: Settings, port_id: PortId) -> PortRow:
    """Take the port from its device and its host; it keeps addresses and groups. Raises: NotFound."""
    row = find(tx, PORT, port_id)
    if row is None:
        raise faults.not_found("port", port_id)
    nobody = {"device_id": "", "device_owner": "", "dns_name": ""}
    free = change(tx, PORT, row, {**bindings.unbind(tx, port_id), **promises.release(tx, row), **nobody})
    trunk_ports.follow(tx, settings, free)
    local_floating.settle_port(tx, settings, port_id)
    return free


def is_subport(tx: Tx, port_id: PortId) -> bool:
    """Whether the port shares the device of another in a trunk, so that it cannot have one of its own."""
    trunk = trunk_ports.place_of(tx, port_id)
    return trunk is not None and trunk.segmentation_id > 0


def networks_for(tx: Tx, caller: Caller) -> list[NetworkId]:
    """Networks with a subnet that the caller's project may plug devices into without naming them."""
    own = networks.c["project_id"] == caller.project_id
    with_subnet = exists(select(subnets.c["id"]).where(subnets.c["network_id"] == networks.c["id"]))
    return tx.scalars(
        select(networks.c["id"])
        .where(
            or_(own, networks.c["shared"], networks.c["id"].in_(sight.shared_with(caller))),
            ~networks.c["router:external"],
            with_subnet,
        )
        .order_by(networks.c["id"])
    )


def has_subnet(tx: Tx, network_id: str) -> bool:
    return tx.first(select(subnets.c["id"]).where(subnets.c["network_id"] == network_id).limit(1)) is not None


def groups_named(tx: Tx, project_id: ProjectId, name: str) -> list[SecurityGroupId]:
    """Ids of the project's security groups of that name; the one group whose id it is comes alone."""
    rows = tx.scalars(
        select(security_groups.c["id"]).where(
            security_groups.c["project_id"] == project_id,
            or_(security_groups.c["name"] == name, security_groups.c["id"] == name),
        )
    )
    return [SecurityGroupId(name)] if name in rows else rows


def groups(tx: Tx, group_ids: Iterable[SecurityGroupId]) -> list[SecurityGroupRow]:
    """The security groups of these ids, whoever may see them."""
    return query.rows(tx, security_groups, query.any_of(security_groups.c["id"], sorted(set(group_ids))))


def groups_of(tx: Tx, project_id: ProjectId | None) -> list[SecurityGroupRow]:
    """The project's security groups by name; None is every project."""
    mine = () if project_id is None else (security_groups.c["project_id"] == project_id,)
    return query.rows(tx, security_groups, *mine, order_by=(security_groups.c["name"], security_groups.c["id"]))


def ingress_rules(tx: Tx, group_ids: Iterable[SecurityGroupId]) -> dict[SecurityGroupId, list[SecurityGroupRuleRow]]:
    """What each of the groups lets in, with one query however many there are."""
    found: dict[SecurityGroupId, list[SecurityGroupRuleRow]] = {group_id: [] for group_id in group_ids}
    rules = security_group_rules.c
    for row in query.rows(
        tx,
        security_group_rules,
        query.any_of(rules["security_group_id"], sorted(found)),
        rules["direction"] == "ingress",
        order_by=(rules["id"],),
    ):
        found[row["security_group_id"]].append(row)
    return found


def visible_networks(tx: Tx, caller: Caller, network_id: str | None = None) -> list[tuple[str, str]]:
    """Id and name of each network that the caller may see, or of that one."""
    condition = sight.visible_networks(caller)
    statement = select(networks.c["id"], networks.c["name"]).order_by(networks.c["id"])
    if network_id is not None:
        statement = statement.where(networks.c["id"] == network_id)
    return [(row[0], row[1]) for row in tx.all(statement if condition is None else statement.where(condition))]


def subnets_of(tx: Tx, network_id: str) -> list[str]:
    """The ids of the network's subnets, whoever may see them."""
    found = select(subnets.c["id"]).where(subnets.c["network_id"] == network_id)
    return list(tx.scalars(found.order_by(subnets.c["id"])))


def external_networks(tx: Tx, caller: Caller) -> list[tuple[str, str]]:
    """Id and name of each network with floating IPs that the caller may see."""
    condition = sight.visible_networks(caller)
    statement = select(networks.c["id"], networks.c["name"]).where(networks.c["router:external"].is_(True))
    statement = statement if condition is None else statement.where(condition)
    return [(row[0], row[1]) for row in tx.all(statement.order_by(networks.c["id"]))]


def floatings_of(tx: Tx, project_id: ProjectId) -> list[FloatingIpRow]:
    """The project's floating IPs."""
    return query.rows(tx, floatingips, floatingips.c["project_id"] == project_id, order_by=(floatingips.c["id"],))


def floatings_at(tx: Tx, address: str, project_id: ProjectId | None) -> list[FloatingIpRow]:
    """The floating IPs of this address, the project's or anybody's: networks apart may have the same."""
    whose = () if project_id is None else (floatingips.c["project_id"] == project_id,)
    return query.rows(tx, floatingips, floatingips.c["floating_ip_address"] == address, *whose)


def _names(tx: Tx, kind: str, ids: Iterable[str]) -> dict[str, str]:
    table = networks if kind == "network" else security_groups
    wanted = sorted(set(ids))
    return {row[0]: row[1] for row in tx.all(select(table.c.id, table.c.name).where(query.any_of(table.c.id, wanted)))}
