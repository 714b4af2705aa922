"""A host of which every kernel table exists only in memory, with the contract of the real drivers.

It serves clouds without a data plane and the tests of everything above drivers. A `FakeKernel` is what the tables of
one host have in common: it refuses what the real ones refuse for want of ground to stand on (a port on a bridge that
is not there, an address on a device that is not there, a name too long), and what loses its ground is gone with it.
tests/kernel/test_contracts.py holds the fakes and the real drivers to the same. What only the other side can judge
(the syntax of a flow, the limits of a machine) is not refused here.

A test hurts a table as the world hurts the real ones: `drift` changes rows behind its back, `refuse` makes rows fail,
and `is_down` makes it unreachable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Generic, TypeVar

from deuteron.net.bridge_rows import FdbEntry
from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, Scope, Unavailable
from deuteron.net.kernel.placements import Placement
from deuteron.net.rows import (
    HOST,
    Address,
    Connections,
    Dnsmasq,
    Flow,
    IpSet,
    IptablesTable,
    Keepalived,
    Link,
    LoggedPort,
    MetadataListener,
    Meter,
    Namespace,
    OvsBridge,
    OvsPort,
    PermanentNeighbour,
    ProxyNeighbour,
    Radvd,
    Route,
    Sysctl,
)

K = TypeVar("K")
V = TypeVar("V")

LONGEST_DEVICE_NAME = 15
"""Source: include/uapi/linux/if.h, IFNAMSIZ, with its zero at the end."""
LONGEST_SET_NAME = 31
"""Source: include/uapi/linux/netfilter/ipset/ip_set.h, IPSET_MAXNAMELEN, with its zero at the end."""
_GROUND = {Namespace, OvsBridge, OvsPort, Placement, Link}
"""Rows that others stand on."""
_MADE_FIRST = {"bridge": 0, "tap": 1, "veth": 1, "existing": 2, "vlan": 3, "vxlan": 3}
_OUR_CHAIN = re.compile(r"(?:-j|-g) (neutron-\S+)")
_SET = re.compile(r"--match-set (\S+)")


class FakeKernel:
    """What the fake tables of one host stand on: each other, and `given`, rows of somebody else's."""

    def __init__(self, given: Iterable[Any] = ()) -> None:
        self._tables: list[FakeDriver[Any, Any]] = []
        self._tables_with: dict[type, list[FakeDriver[Any, Any]]] = {}
        self._far_ends: dict[tuple[str, str], tuple[str, str]] = {}
        """The key of the pair that was last made with such a far end."""
        self._given: dict[type, list[Any]] = {}
        for row in given:
            self._given.setdefault(type(row), []).append(row)
            self._note(row)

    def add(self, table: FakeDriver[Any, Any]) -> None:
        self._tables.append(table)

    def wrote(self, table: FakeDriver[Any, Any], row: Any) -> None:
        """Remember where rows of its kind are found."""
        tables = self._tables_with.setdefault(type(row), [])
        if table not in tables:
            tables.append(table)
        self._note(row)

    def _note(self, row: Any) -> None:
        if isinstance(row, Link) and row.peer_key is not None:
            self._far_ends[row.peer_key] = row.key

    def refusal(self, row: Any, is_new: bool = True) -> str | None:
        """Why a row cannot be written as things are; with `is_new` False, why one that was cannot stay."""
        namespace = getattr(row, "namespace", HOST)
        if not isinstance(row, OvsPort) and namespace != HOST and not self._find(Namespace, namespace):
            return f'no network namespace "{namespace}"'
        match row:
            case Namespace(name=name) if "/" in name:
                return f'cannot make network namespace "{name}": No such file or directory'
            case Link():
                return self._refusal_of_link(row)
            case Address(link=link, interface=interface) if not self._has_device(namespace, link):
                return f'no device "{link}" in namespace "{namespace}" for address {interface}'
            case ProxyNeighbour(link=link, address=address) if not self._has_device(namespace, link):
                return f'no device "{link}" in namespace "{namespace}" to answer for {address}'
            case PermanentNeighbour(link=link, address=address) if not self._has_device(namespace, link):
                return f'no device "{link}" in namespace "{namespace}" to reach {address} by'
            case Route():
                return self._refusal_of_route(row, is_new)
            case Sysctl(name=name):
                device = _device_of(name)
                if device is not None and not self._has_device(namespace, device):
                    return f"cannot set {name}: No such file or directory"
            case IptablesTable():
                return self._refusal_of_rules(row)
            case IpSet():
                return _refusal_of_set(row)
            case OvsPort(name=name, bridge=bridge):
                if not self._find(OvsBridge, bridge):
                    return f'no bridge "{bridge}" for port "{name}"'
                if self._find(OvsBridge, name):
                    return f'a bridge has the name of port "{name}"'
                if row.type == "system" and not self._has_device(HOST, name):
                    return f'could not open network device "{name}" (No such device)'
            case Flow(bridge=bridge) | Meter(bridge=bridge) | LoggedPort(bridge=bridge) if not self._find(
                OvsBridge, bridge
            ):
                return f"no bridge {bridge}"
            case Placement(name=name):
                port = self._find(OvsPort, name)
                if port is None or port.type != "internal":
                    return f'no device "{name}" to place in namespace "{namespace}"'
            case MetadataListener(address=address):
                _, _, device = address.partition("%")
                if device and not self._has_device(namespace, device):
                    return f'no device "{device}" in namespace "{namespace}" to listen on'
            case FdbEntry(device=device) if not self._has_device(HOST, device):
                return f'no device "{device}" to send by'
            case Connections() | Dnsmasq() | Radvd() | Keepalived():
                return None
        return None

    def removed(self, rows: Iterable[Any]) -> None:
        """What stood on them is gone. Tables are in the order in which they refer to each other."""
        kinds = {type(row) for row in rows}
        if kinds.isdisjoint(_GROUND):
            return
        for table in self._tables:
            if OvsBridge not in kinds and table in self._tables_with.get(Flow, ()):
                continue  # there are many of them
            for key in [key for key, row in table.rows.items() if self.refusal(row, is_new=False) is not None]:
                del table.rows[key]

    def _find(self, kind: type, key: Any, holds: Callable[[Any], bool] = lambda row: True) -> Any:
        """The row of a kind with a key, of ours or of others."""
        for table in self._tables_with.get(kind, ()):
            row = table.rows.get(key)
            if row is not None and holds(row):
                return row
        return next((row for row in self._given.get(kind, ()) if row.key == key and holds(row)), None)

    def _all(self, kind: type) -> Iterable[Any]:
        for table in self._tables_with.get(kind, ()):
            yield from table.rows.values()
        yield from self._given.get(kind, ())

    def _has_device(self, namespace: str, name: str) -> bool:
        if name == "lo" or self._maker(namespace, name) is not None:
            return True
        port = self._find(OvsPort, name)
        if port is None or port.type != "internal":
            return namespace == HOST and self._find(OvsBridge, name) is not None
        placed = self._find(Placement, name)
        return (HOST if placed is None else str(placed.namespace)) == namespace

    def _maker(self, namespace: str, name: str) -> Link | None:
        """The row that made a device: its own, or that of the other end of its pair."""
        for key in ((namespace, name), self._far_ends.get((namespace, name))):
            row = self._find(Link, key, lambda row: row.kind != "existing" and (namespace, name) in _ends(row))
            if row is not None:
                made: Link = row
                return made
        return None

    def _refusal_of_link(self, row: Link) -> str | None:
        where = f'namespace "{row.namespace}"' if row.namespace else "the host"
        if row.kind == "existing":
            return None if self._has_device(row.namespace, row.name) else f'no device "{row.name}" in {where}'
        if row.kind == "veth" and row.peer is None:
            return f'veth "{row.name}" needs a peer'
        for namespace, name in _ends(row):
            if namespace != HOST and not self._find(Namespace, namespace):
                return f'no network namespace "{namespace}"'
            if len(name) > LONGEST_DEVICE_NAME:
                return f'cannot make device "{name}": its name is longer than {LONGEST_DEVICE_NAME} letters'
            maker = self._maker(namespace, name)
            if self._has_device(namespace, name) and (maker is None or maker.key != row.key):
                return f'device "{name}" exists in {where} and is not ours'
        if row.master is not None and not self._has_device(row.namespace, row.master):
            return f'no device "{row.master}" to be the master of "{row.name}"'
        if row.kind == "vxlan" and (row.vni is None or row.local_ip is None):
            return f'VXLAN device "{row.name}" needs a number and an address of its own end'
        if row.kind == "vlan" and not self._has_device(row.namespace, row.parent or ""):
            return f'no device "{row.parent}" to carry VLAN device "{row.name}"'
        return None

    def _refusal_of_route(self, row: Route, is_new: bool) -> str | None:
        if row.link is not None and not self._has_device(row.namespace, row.link):
            return f'no device "{row.link}" in namespace "{row.namespace}"'
        if row.via is None or not is_new:
            return None
        via = ip_address(row.via)
        on_link = (
            ip_interface(address.interface).network
            for address in self._all(Address)
            if address.namespace == row.namespace and row.link in (None, address.link)
        )
        if via.is_link_local or any(via in network for network in on_link):
            return None
        routes = (
            route for route in self._all(Route) if route.namespace == row.namespace and row.link in (None, route.link)
        )
        if any(route.via is None and via in ip_network(route.destination) for route in routes):
            return None
        return f"cannot route {row.destination} via {row.via}: Network is unreachable"

    def _refusal_of_rules(self, row: IptablesTable) -> str | None:
        chains = {chain.name for chain in row.chains}
        for rule in (*(rule for chain in row.chains for rule in chain.rules), *(rule for _, rule in row.builtin)):
            for name in _OUR_CHAIN.findall(rule):
                if name not in chains:
                    return f"iptables-restore failed: no chain {name}"
            for name in _SET.findall(rule):
                if not self._find(IpSet, (row.namespace, name)):
                    return f"iptables-restore failed: Set {name} doesn't exist"
        return None


class FakeDriver(Generic[K, V]):
    mark = "held in memory"

    def __init__(self, name: str = "row", kernel: FakeKernel | None = None) -> None:
        """`kernel` is what its rows stand on; without, they stand on nothing and need nothing."""
        self.writes: Counter[str] = Counter()
        self.rows: dict[K, V] = {}
        self.refuse: Callable[[K], str | None] = lambda key: None
        self.is_down = False
        self._name = name
        self._kernel = kernel
        if kernel is not None:
            kernel.add(self)

    def observe(self, wanted: Mapping[K, V], scope: Scope = None) -> dict[K, V]:
        if self.is_down:
            raise Unavailable(f"the fake table of {self._name}s is down")
        if scope is None:
            return dict(self.rows)
        return {key: row for key, row in self.rows.items() if not isinstance(key, tuple) or key[0] in scope}

    def apply(self, delta: Delta[K, V]) -> Applied[K]:
        applied: Applied[K] = Applied()
        gone = []
        for key in delta.remove:
            reason = self._refusal(key)
            if reason is not None:
                applied.failed[key] = reason
                continue
            if key in self.rows:
                gone.append(self.rows.pop(key))
                self.writes[f"{self._name} deleted"] += 1
            applied.done.add(key)
        if self._kernel is not None:
            self._kernel.removed(gone)
        for key, row in sorted(delta.put.items(), key=lambda item: _rank(item[1])):
            reason = self._refusal(key)
            if reason is None and self._kernel is not None:
                reason = self._kernel.refusal(row)
            if reason is not None:
                applied.failed[key] = reason
                continue
            if self.rows.get(key) != row:
                self.writes["link moved" if self._name == "placement" else f"{self._name} put"] += 1
            self.rows[key] = row
            if self._kernel is not None:
                self._kernel.wrote(self, row)
            applied.done.add(key)
        return applied

    def _refusal(self, key: K) -> str | None:
        return f"the fake table of {self._name}s is down" if self.is_down else self.refuse(key)

    def drift(self, key: K, row: V | None) -> None:
        """Change the table as someone else would."""
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row


def _ends(row: Link) -> list[tuple[str, str]]:
    """The devices that a row makes, each with its namespace."""
    return [row.key] if row.peer_key is None else [row.key, row.peer_key]


def _rank(row: object) -> int:
    """What other rows of its table refer to comes before them."""
    if isinstance(row, Link):
        return _MADE_FIRST[row.kind]
    return int(isinstance(row, Route) and row.via is not None)


def _device_of(sysctl: str) -> str | None:
    words = sysctl.split(".")
    if len(words) > 4 and words[2] in ("conf", "neigh") and words[3] not in ("all", "default"):
        return words[3].replace("/", ".")
    return None


def _refusal_of_set(row: IpSet) -> str | None:
    if len(row.name) > LONGEST_SET_NAME:
        return f"ipset failed: the name {row.name} is longer than {LONGEST_SET_NAME} letters"
    version = 6 if "inet6" in row.type else 4
    wrong = [member for member in row.members if ip_network(member, strict=False).version != version]
    return f"ipset failed: {wrong[0]} is not of the family of {row.name}" if wrong else None
