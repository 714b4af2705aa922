"""What a host is planned to have, as somebody draws it: bridges with their ports, namespaces with their devices."""

from __future__ import annotations

from collections import defaultdict

from deuteron.model.traces import FabricBridge, FabricDevice, FabricHost, FabricNamespace, FabricPort
from deuteron.net import rows
from deuteron.trace.world import Machine

_OTHER_ENDS = ("peer", "remote_ip")


def plotted(machine: Machine) -> FabricHost:
    """The host; ports in the order of their names."""
    bridges = [
        FabricBridge(name, "ovs", tuple(sorted((_port(machine, port) for port in ports.values()), key=_name)))
        for name, ports in sorted(machine.bridges.items())
    ]
    linux = {link.name for link in machine.plan.links if link.kind == "bridge"}
    bridges += [
        FabricBridge(name, "linux", tuple(sorted(map(_link, machine.members.get(name, ())), key=_name)))
        for name in sorted(linux)
    ]
    return FabricHost(
        machine.name,
        machine.settings.tunnel_ip or "",
        machine.settings.bridge_mappings,
        tuple(bridges),
        tuple(_namespaces(machine)),
    )


def _name(port: FabricPort) -> str:
    return port.name


def _port(machine: Machine, port: rows.OvsPort) -> FabricPort:
    options = dict(port.options)
    owner = machine.intent.ports.get(dict(port.external_ids).get("iface-id", ""))
    network = None if owner is None else machine.network_of(owner)
    return FabricPort(
        port.name,
        port.type,
        port.tag if network is None else network.local_vlan,
        "" if port.namespace == rows.HOST else port.namespace,
        next((options[name] for name in _OTHER_ENDS if name in options), ""),
        "" if owner is None else owner.id,
    )


def _link(link: rows.Link) -> FabricPort:
    return FabricPort(link.name, link.kind, link.vlan_id, to=link.peer or link.parent or "")


def _namespaces(machine: Machine) -> list[FabricNamespace]:
    found: dict[str, set[str]] = defaultdict(set)
    for port in machine.plan.ovs_ports:
        if port.namespace != rows.HOST:
            found[port.namespace].add(port.name)
    for link in machine.plan.links:
        if link.namespace != rows.HOST:
            found[link.namespace].add(link.name)
    return [
        FabricNamespace(
            name,
            tuple(
                FabricDevice(device, tuple(machine.addresses.get(name, {}).get(device, ())))
                for device in sorted(devices)
            ),
        )
        for name, devices in sorted(found.items())
    ]
