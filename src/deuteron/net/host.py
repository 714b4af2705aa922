"""The tables of a real host, and of a simulated one: which driver serves which rows, in which order.

This is the only place that knows all drivers. `real_host` needs the privileges of a host's agent;
`simulated_host` needs nothing, and refuses nothing that a plan asks for.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deuteron.net.kernel.addresses import AddressDriver
from deuteron.net.kernel.connections import ConnectionDriver
from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.daemons import DnsmasqDriver, RadvdDriver
from deuteron.net.kernel.datapath import DatapathDriver
from deuteron.net.kernel.driver import Driver
from deuteron.net.kernel.fake import FakeDriver, FakeKernel
from deuteron.net.kernel.ipset import IpSetDriver
from deuteron.net.kernel.iptables import IptablesDriver
from deuteron.net.kernel.links import LinkDriver, Placement, PlacementDriver
from deuteron.net.kernel.metadata import ListenerDriver
from deuteron.net.kernel.namespaces import NamespaceDriver, Namespaces
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.kernel.ovsdb import BridgeDriver, OvsdbClient, OvsPortDriver
from deuteron.net.kernel.routes import RouteDriver
from deuteron.net.kernel.rtnetlink import NETFILTER, NetlinkSockets
from deuteron.net.kernel.sysctl import SysctlDriver
from deuteron.net.kernel.tracking import TrackingDriver
from deuteron.net.kernel.unixctl import Sweeps, SwitchControl
from deuteron.net.reconcile import Reconciler, Table, namespace_concern, port_concern
from deuteron.net.rows import HOST, HostPlan, IptablesTable, Link, MetadataListener, OvsPort, Sysctl, TrackedZone


@dataclass
class Host:
    """A reconciler and what its thread must watch beside it."""

    reconciler: Reconciler
    ovsdb: OvsdbClient | None = None
    close: Callable[[], None] = lambda: None


def real_host(
    state_dir: str,
    listener_opened: Callable[[MetadataListener, socket.socket], None],
    listener_closed: Callable[[MetadataListener], None],
) -> Host:
    """Drivers for the host this thread is in. Open vSwitch, iptables and the rest need not be there yet."""
    namespaces = Namespaces()
    sockets = NetlinkSockets(namespaces)
    trackers = NetlinkSockets(namespaces, NETFILTER)
    ovsdb = OvsdbClient()
    control = SwitchControl()
    sweeps = Sweeps(SwitchControl())
    tracked = KernelConnections()
    listeners = ListenerDriver(namespaces, listener_opened, listener_closed)

    def bridges() -> Iterable[str]:
        return tables["bridge"].delta.observed

    ports = OvsPortDriver(ovsdb)

    def remake(names: Iterable[str]) -> None:
        wanted = tables["port"].delta.wanted
        ports.remake([wanted[name] for name in names if name in wanted])

    drivers: dict[str, Driver[Any, Any]] = {
        "namespace": NamespaceDriver(namespaces),
        "ipset": IpSetDriver(namespaces),
        "iptables": IptablesDriver(namespaces),
        "bridge": BridgeDriver(ovsdb),
        "datapath setting": DatapathDriver(control),
        "device": LinkDriver(namespaces, sockets),
        "interface": LinkDriver(namespaces, sockets, is_maker=False),
        "setting": SysctlDriver(namespaces),
        "flow": FlowDriver(bridges),
        "zone": TrackingDriver(control, tracked, sweeps),
        "port": ports,
        "placement": PlacementDriver(namespaces, sockets, remake),
        "device state": LinkDriver(namespaces, sockets, is_maker=False),
        "device setting": SysctlDriver(namespaces),
        "address": AddressDriver(namespaces, sockets),
        "route": RouteDriver(namespaces, sockets),
        "connection": ConnectionDriver(namespaces, trackers),
        "dnsmasq": DnsmasqDriver(namespaces, sockets, f"{state_dir}/dhcp"),
        "radvd": RadvdDriver(namespaces, sockets, f"{state_dir}/ra"),
        "metadata listener": listeners,
    }
    tables = tables_of(drivers)

    def forget(namespace: str) -> None:
        listeners.forget(namespace)
        sockets.forget(namespace)
        trackers.forget(namespace)

    def close() -> None:
        sockets.close()
        trackers.close()
        ovsdb.close()
        control.close()
        sweeps.close()
        tracked.close()
        namespaces.close()

    return Host(Reconciler(tables.values(), forget_namespace=forget), ovsdb, close)


def simulated_host(devices: Iterable[str] = ()) -> Host:
    """A host without a data plane but for the names of its physical `devices`: every row is written into memory."""
    return Host(Reconciler(tables_of(dict(simulated_drivers(devices))).values()))


def simulated_drivers(devices: Iterable[str] = ()) -> dict[str, FakeDriver[Any, Any]]:
    """The tables of a simulated host, which stand on each other as on a real one."""
    kernel = FakeKernel(Link(HOST, name, "veth") for name in devices)
    return {name: FakeDriver(name, kernel) for name in TABLE_NAMES}


def tables_of(drivers: dict[str, Driver[Any, Any]]) -> dict[str, Table]:
    """The tables of a host in the order of creation, each with its driver."""
    by_name: dict[str, Table] = {}

    def table(
        name: str,
        rows: Callable[[HostPlan], Iterable[Any]],
        words: Callable[[Any], str],
        concerns: Callable[[Any], Iterable[str]],
        lies_in_namespace: bool = True,
        outlives_namespace: bool = False,
        waits_for: Callable[[Any], Iterable[str]] | None = None,
        waits_always: bool = False,
        contrast: Callable[[Any, Any], tuple[str, str]] | None = None,
    ) -> None:
        namespace = (lambda row: row.namespace) if lies_in_namespace else None
        by_name[name] = Table(
            name,
            drivers[name],
            rows,
            words,
            concerns,
            namespace=namespace,
            outlives_namespace=outlives_namespace,
            waits_for=waits_for,
            waits_always=waits_always,
            contrast=contrast,
        )

    def by_namespace(row: Any) -> list[str]:
        return namespace_concern(row.namespace)

    table(
        "namespace", lambda plan: plan.namespaces, lambda row: f"namespace {row.name}",
        lambda row: [f"namespace:{row.name}"], False,
    )  # fmt: skip
    table(
        "ipset", lambda plan: plan.ipsets, lambda row: f"ipset {row.name}{_in(row)}",
        lambda row: by_namespace(row) or ["hybrid"],
    )  # fmt: skip
    table(
        "iptables", lambda plan: plan.iptables, lambda row: f"iptables{_v6(row)} {row.table} rules{_in(row)}",
        lambda row: by_namespace(row) or ["hybrid"], contrast=_unlike_rules,
    )  # fmt: skip
    table(
        "bridge", lambda plan: plan.bridges, lambda row: f"bridge {row.name}", lambda row: [f"bridge:{row.name}"], False
    )
    table(
        "datapath setting", lambda plan: plan.datapath, lambda row: f"datapath setting {row.name}={row.value}",
        lambda row: [], False,
    )  # fmt: skip
    table(
        "device", lambda plan: (row for row in plan.links if row.kind != "existing"),
        lambda row: f"{row.kind} {row.name}{_in(row)}", lambda row: [port_concern(row.name), *by_namespace(row)],
    )  # fmt: skip
    table(
        "interface", lambda plan: (row for row in plan.links if row.kind == "existing" and row.namespace == HOST),
        lambda row: f"state of device {row.name}", lambda row: [port_concern(row.name)],
    )  # fmt: skip
    table(
        "setting", lambda plan: (row for row in plan.sysctls if not _waits_for_device(row)), _sysctl_words, by_namespace
    )
    table("flow", lambda plan: plan.flows, _flow_words, _flow_concerns, False)
    table(
        "zone", lambda plan: plan.zones, lambda row: f"connections of zone {row.zone}", lambda row: [], False,
        waits_for=_judged_by, waits_always=True, contrast=_unlike_zones,
    )  # fmt: skip
    table(
        "port", lambda plan: plan.ovs_ports, lambda row: f"port {row.name} on {row.bridge}",
        lambda row: [port_concern(row.name)], False, waits_for=_secured_by,
    )  # fmt: skip
    table(
        "placement",
        lambda plan: (Placement(row.name, row.namespace) for row in plan.ovs_ports if row.namespace != HOST),
        lambda row: f"device {row.name}{_in(row)}",
        lambda row: [port_concern(row.name)],
        False,
    )
    table(
        "device state", lambda plan: (row for row in plan.links if row.kind == "existing" and row.namespace != HOST),
        lambda row: f"state of device {row.name}{_in(row)}", lambda row: [port_concern(row.name), *by_namespace(row)],
    )  # fmt: skip
    table(
        "device setting", lambda plan: (row for row in plan.sysctls if _waits_for_device(row)),
        _sysctl_words, by_namespace,
    )  # fmt: skip
    table(
        "address", lambda plan: plan.addresses, lambda row: f"address {row.interface} on {row.link}{_in(row)}",
        lambda row: [port_concern(row.link)],
    )  # fmt: skip
    table(
        "route", lambda plan: plan.routes,
        lambda row: f"route {row.destination} via {row.via or 'link'} dev {row.link}{_in(row)}", by_namespace,
    )  # fmt: skip
    table(
        "connection", lambda plan: plan.connections,
        lambda row: f"no connection that nothing allows any longer{_in(row)}", lambda row: [],
    )  # fmt: skip
    table(
        "dnsmasq", lambda plan: plan.dnsmasqs, lambda row: f"dnsmasq of network {row.id}", by_namespace,
        outlives_namespace=True, contrast=_unlike_daemons,
    )  # fmt: skip
    table(
        "radvd", lambda plan: plan.radvds, lambda row: f"radvd of router {row.id}", by_namespace,
        outlives_namespace=True, contrast=_unlike_daemons,
    )  # fmt: skip
    table(
        "metadata listener", lambda plan: plan.metadata,
        lambda row: f"metadata listener at {row.address}:{row.port}{_in(row)}", by_namespace,
    )  # fmt: skip
    return by_name


TABLE_NAMES = (
    "namespace", "ipset", "iptables", "bridge", "datapath setting", "device", "interface", "setting", "flow", "zone",
    "port", "placement", "device state", "device setting", "address", "route", "connection", "dnsmasq", "radvd",
    "metadata listener",
)  # fmt: skip


_PORT_IN_MATCH = re.compile(r"\b(?:in_port|reg5)=(0x[0-9a-f]+|[0-9]+)(?:,|$)")


def _in(row: Any) -> str:
    return f" in {row.namespace}" if row.namespace != HOST else ""


def _v6(row: Any) -> str:
    return " (IPv6)" if row.family == 6 else ""


def _flow_words(row: Any) -> str:
    match = f",{row.match}" if row.match else ""
    return f"flow on {row.bridge}: table={row.table},priority={row.priority}{match} actions={row.actions}"


def _unlike_rules(wanted: IptablesTable, actual: IptablesTable) -> tuple[str, str]:
    """The rules that one table has and the other lacks; only their order differs when there is none."""
    left, right = _rules(wanted), _rules(actual)
    missing, extra = [rule for rule in left if rule not in right], [rule for rule in right if rule not in left]
    if not missing and not extra:
        return "", "the same rules in another order"
    words = [f"lacks {rule}" for rule in missing] + [f"has {rule}" for rule in extra]
    return "", "; ".join(words)


def _rules(table: IptablesTable) -> list[str]:
    chains = [f"chain {chain.name}" for chain in table.chains]
    rules = [f"-A {chain.name} {rule}" for chain in table.chains for rule in chain.rules]
    return [*chains, *rules, *(f"-A {chain} {rule}" for chain, rule in table.builtin)]


def _unlike_daemons(wanted: Any, actual: Any) -> tuple[str, str]:
    return "", "it runs with other files, arguments or devices, or twice"


def _secured_by(row: OvsPort) -> list[str]:
    """What must be in place before a port is on the switch."""
    concerns = [f"bridge:{row.bridge}", f"ofport:{row.bridge}:{row.ofport_request}"]
    return [*concerns, "hybrid"] if row.name.startswith("qvo") else concerns


def _judged_by(row: TrackedZone) -> list[str]:
    """What must be in place before what it no longer allows is ended, or it would begin again."""
    if row.place == "kernel":
        return ["hybrid"]
    return ["bridge:br-int", *(f"ofport:br-int:{port.ofport}" for port in row.ports)]


def _unlike_zones(wanted: TrackedZone, actual: TrackedZone) -> tuple[str, str]:
    return "", "it was let in by other rules"


def _flow_concerns(row: Any) -> list[str]:
    """The port a flow is about, where its match says so; otherwise everything on its bridge."""
    found = _PORT_IN_MATCH.search(row.match)
    return [f"ofport:{row.bridge}:{int(found[1], 0)}"] if found else [f"bridge:{row.bridge}"]


def _sysctl_words(row: Any) -> str:
    return f"setting {row.name}={row.value}{_in(row)}"


def _waits_for_device(row: Sysctl) -> bool:
    """Whether a setting belongs to a device that is placed in a namespace, and so comes after it."""
    words = row.name.split(".")
    is_of_device = len(words) > 4 and words[2] in ("conf", "neigh") and words[3] not in ("all", "default")
    return is_of_device and row.namespace != HOST
