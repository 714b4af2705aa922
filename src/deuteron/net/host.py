"""The tables of a real host, and of a simulated one: which driver serves which rows, in which order.

Every host has the tables here; each mechanism that runs there brings its own and says before which of these they go.
`real_host` needs the privileges of a host's agent; `simulated_host` needs nothing, and refuses nothing that a plan asks
for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from deuteron.model.intent import MECHANISM
from deuteron.net.events import Events
from deuteron.net.kernel.addresses import AddressDriver
from deuteron.net.kernel.connections import ConnectionDriver
from deuteron.net.kernel.daemons import DnsmasqDriver, KeepalivedDriver, RadvdDriver
from deuteron.net.kernel.driver import Driver
from deuteron.net.kernel.fake import FakeDriver, FakeKernel
from deuteron.net.kernel.ipset import IpSetDriver
from deuteron.net.kernel.iptables import IptablesDriver
from deuteron.net.kernel.links import LinkDriver
from deuteron.net.kernel.metadata import ListenerDriver
from deuteron.net.kernel.namespaces import NamespaceDriver, Namespaces
from deuteron.net.kernel.neighbours import NeighbourDriver, PermanentDriver
from deuteron.net.kernel.ovsdb import OvsdbClient
from deuteron.net.kernel.routes import RouteDriver
from deuteron.net.kernel.rtnetlink import NETFILTER, NetlinkSockets
from deuteron.net.kernel.rules import RuleDriver
from deuteron.net.kernel.sysctl import SysctlDriver
from deuteron.net.mechanisms.wiring import Drivers, HostMechanism, Kernel, host_mechanisms_by_name
from deuteron.net.reconcile import Reconciler, Table, is_filtered_tap, namespace_concern, port_concern
from deuteron.net.rows import (
    HOST,
    MAIN_TABLE,
    HostPlan,
    IptablesTable,
    Link,
    MetadataListener,
    Route,
    RoutingRule,
    Sysctl,
)

log = structlog.get_logger("deuteron.agent")

_LATE = frozenset({"ipset", "namespace"})
_ATOMIC = frozenset({"iptables"})


class UnfitTable(ValueError):
    """A mechanism's table has the name of another, or goes before one that is not there."""


@dataclass
class Host:
    """A reconciler and what its thread must watch beside it."""

    reconciler: Reconciler
    ovsdb: OvsdbClient | None = None
    events: Events | None = None
    close: Callable[[], None] = lambda: None
    active_routers: Callable[[], frozenset[str]] = frozenset
    """Of the routers that run on several hosts, those that are active here."""


def real_host(
    state_dir: str,
    listener_opened: Callable[[MetadataListener, socket.socket], None],
    listener_closed: Callable[[MetadataListener], None],
    mechanisms: Sequence[HostMechanism] | None = None,
) -> Host:
    """Drivers for the host this thread is in. Open vSwitch, iptables and the rest need not be there yet.

    Without `mechanisms`, here and below, the host runs ours alone.
    """
    mechanisms = _or_ours(mechanisms)
    namespaces = Namespaces()
    sockets = NetlinkSockets(namespaces)
    trackers = NetlinkSockets(namespaces, NETFILTER)
    listeners = ListenerDriver(namespaces, listener_opened, listener_closed)
    keepalived = KeepalivedDriver(namespaces, sockets, f"{state_dir}/ha")
    tables: dict[str, Table] = {}
    kernel = Kernel(state_dir, namespaces, sockets, tables)
    drivers = drivers_of_packets(namespaces, sockets)
    drivers |= {
        "connection": ConnectionDriver(namespaces, trackers),
        "dnsmasq": DnsmasqDriver(namespaces, sockets, f"{state_dir}/dhcp"),
        "radvd": RadvdDriver(namespaces, sockets, f"{state_dir}/ra"),
        "keepalived": keepalived,
        "metadata listener": listeners,
    }
    opened: list[Drivers] = []
    for mechanism in mechanisms:
        brought = mechanism.open_drivers(kernel)
        drivers.update(brought.by_table)
        opened.append(brought)
    tables.update(tables_of(drivers, mechanisms))

    def forget(namespace: str) -> None:
        listeners.forget(namespace)
        sockets.forget(namespace)
        trackers.forget(namespace)

    reconciler = _reconciler(tables, mechanisms, forget)
    events = _events(namespaces, reconciler, state_dir)

    def close() -> None:
        if events is not None:
            events.close()
        sockets.close()
        trackers.close()
        for brought in opened:
            brought.close()
        namespaces.close()

    ovsdb = next((brought.ovsdb for brought in opened if brought.ovsdb is not None), None)
    return Host(reconciler, ovsdb, events, close, lambda: keepalived.active(tables["keepalived"].delta.wanted.values()))


def drivers_of_packets(namespaces: Namespaces, sockets: NetlinkSockets) -> dict[str, Driver[Any, Any]]:
    """Of the core tables those that decide about packets in the kernel, for the agent and for who looks beside it."""
    return {
        "namespace": NamespaceDriver(namespaces),
        "ipset": IpSetDriver(namespaces),
        "iptables": IptablesDriver(namespaces),
        "device": LinkDriver(namespaces, sockets),
        "interface": LinkDriver(namespaces, sockets, is_maker=False),
        "setting": SysctlDriver(namespaces),
        "device state": LinkDriver(namespaces, sockets, is_maker=False),
        "device setting": SysctlDriver(namespaces),
        "address": AddressDriver(namespaces, sockets),
        "route": RouteDriver(namespaces, sockets),
        "rule": RuleDriver(namespaces, sockets),
        "neighbour": PermanentDriver(namespaces, sockets),
        "proxy neighbour": NeighbourDriver(namespaces, sockets),
    }


def _events(namespaces: Namespaces, reconciler: Reconciler, state_dir: str) -> Events | None:
    """None where the kernel does not tell: the host is then looked at in turns alone."""
    try:
        return Events(namespaces, reconciler, state_dir)
    except OSError as error:
        log.warning("the kernel tells of no changes", reason=error.strerror)
        return None


def simulated_host(devices: Iterable[str] = (), mechanisms: Sequence[HostMechanism] | None = None) -> Host:
    """A host without a data plane but for the names of its physical `devices`: every row is written into memory."""
    mechanisms = _or_ours(mechanisms)
    return Host(_reconciler(tables_of(simulated_drivers(devices, mechanisms), mechanisms), mechanisms))


def simulated_drivers(
    devices: Iterable[str] = (), mechanisms: Sequence[HostMechanism] | None = None
) -> dict[str, FakeDriver[Any, Any]]:
    """The tables of a simulated host, which stand on each other as on a real one."""
    kernel = FakeKernel(Link(HOST, name, "veth") for name in devices)
    return {name: FakeDriver(name, kernel) for name in table_names(mechanisms)}


def _reconciler(
    tables: Mapping[str, Table],
    mechanisms: Sequence[HostMechanism],
    forget: Callable[[str], None] = lambda namespace: None,
) -> Reconciler:
    own = [table for mechanism in mechanisms for table in mechanism.tables]
    return Reconciler(
        tables.values(),
        late=_LATE | {table.name for table in own if table.is_late},
        atomic=_ATOMIC | {table.name for table in own if table.is_atomic},
        forget_namespace=forget,
    )


def table_names(mechanisms: Sequence[HostMechanism] | None = None) -> tuple[str, ...]:
    """The tables of a host with these mechanisms, in the order of creation.

    Raises: UnfitTable.
    """
    names = list(CORE_TABLES)
    for mechanism in _or_ours(mechanisms):
        for table in mechanism.tables:
            if table.name in names or table.before not in CORE_TABLES:
                raise UnfitTable(
                    f'cannot use table "{table.name}" of mechanism "{mechanism.name}": a name of its own is accepted, '
                    f"before one of {', '.join(CORE_TABLES)}"
                )
            names.insert(names.index(table.before), table.name)
    return tuple(names)


def tables_of(
    drivers: Mapping[str, Driver[Any, Any]], mechanisms: Sequence[HostMechanism] | None = None
) -> dict[str, Table]:
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
        "device", lambda plan: (row for row in plan.links if row.kind != "existing"),
        lambda row: f"{row.kind} {row.name}{_in(row)}", _device_concerns,
        # What secures a device is in earlier tables of its mechanism, and concerns the same port.
        waits_for=lambda row: [port_concern(row.name), *(["hybrid"] if is_filtered_tap(row) else [])],
    )  # fmt: skip
    table(
        "interface", lambda plan: (row for row in plan.links if row.kind == "existing" and row.namespace == HOST),
        lambda row: f"state of device {row.name}", lambda row: [port_concern(row.name)],
    )  # fmt: skip
    table(
        "setting", lambda plan: (row for row in plan.sysctls if not _waits_for_device(row)), _sysctl_words, by_namespace
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
        lambda row: f"route {row.destination} via {row.via or 'link'} dev {row.link}{_of_table(row)}{_in(row)}",
        by_namespace,
    )  # fmt: skip
    table(
        "rule", lambda plan: plan.rules,
        lambda row: f"rule {row.priority} from {row.source}{_came_by(row)} lookup {row.table}{_in(row)}", by_namespace,
    )  # fmt: skip
    table(
        "neighbour", lambda plan: plan.known,
        lambda row: f"neighbour {row.address} dev {row.link} lladdr {row.mac}{_in(row)}", by_namespace,
    )  # fmt: skip
    table(
        "proxy neighbour", lambda plan: plan.neighbours,
        lambda row: f"answers for {row.address} on {row.link}{_in(row)}", by_namespace,
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
        "keepalived", lambda plan: plan.keepaliveds, lambda row: f"keepalived of router {row.id}",
        by_namespace, outlives_namespace=True, contrast=_unlike_daemons,
    )  # fmt: skip
    table(
        "metadata listener", lambda plan: plan.metadata,
        lambda row: f"metadata listener at {row.address}:{row.port}{_in(row)}", by_namespace,
    )  # fmt: skip
    mechanisms = _or_ours(mechanisms)
    for mechanism in mechanisms:
        for own in mechanism.tables:
            by_name[own.name] = Table(
                own.name,
                drivers[own.name],
                own.rows,
                own.words,
                own.concerns,
                namespace=own.namespace,
                waits_for=own.waits_for,
                waits_always=own.waits_always,
                contrast=own.contrast,
            )
    return {name: by_name[name] for name in table_names(mechanisms)}


CORE_TABLES = (
    "namespace", "ipset", "iptables", "device", "interface", "setting", "device state", "device setting", "address",
    "route", "rule", "neighbour", "proxy neighbour", "connection", "dnsmasq", "radvd", "keepalived",
    "metadata listener",
)  # fmt: skip
"""The tables that every host has, in the order of creation."""


def _or_ours(mechanisms: Sequence[HostMechanism] | None) -> Sequence[HostMechanism]:
    return host_mechanisms_by_name((MECHANISM,)) if mechanisms is None else mechanisms


def _device_concerns(row: Link) -> list[str]:
    """The port or network of its name; by what a bridge leads on, all that are in the bridge."""
    own = [port_concern(row.name), *namespace_concern(row.namespace)]
    leads_on = row.master is not None and row.peer_namespace is None and row.kind in ("veth", "vlan", "vxlan")
    return [*own, port_concern(row.master)] if leads_on and row.master is not None else own


def _in(row: Any) -> str:
    return f" in {row.namespace}" if row.namespace != HOST else ""


def _came_by(row: RoutingRule) -> str:
    return "" if row.came_by is None else f" iif {row.came_by}"


def _of_table(row: Route) -> str:
    return "" if row.table == MAIN_TABLE else f" table {row.table}"


def _v6(row: Any) -> str:
    return " (IPv6)" if row.family == 6 else ""


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


def _sysctl_words(row: Any) -> str:
    return f"setting {row.name}={row.value}{_in(row)}"


def _waits_for_device(row: Sysctl) -> bool:
    """Whether a setting belongs to a device that is placed in a namespace, and so comes after it."""
    words = row.name.split(".")
    is_of_device = len(words) > 4 and words[2] in ("conf", "neigh") and words[3] not in ("all", "default")
    return is_of_device and row.namespace != HOST
