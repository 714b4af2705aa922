"""From rows to what a host should have: intent objects, whole for a new connection, then only what differs.

`View` is what one connection was sent: the objects by key, and a few indexes over them. A commit names the
rows it touched; `dirty_keys` maps each to the intent objects of a host that may look different now, through
the host's slots, the rows as they are, and what was sent before (a deleted row is only known from there).
Only those are built again and compared, so that a change costs what it touches and not what the host holds.

    changed row           intent objects that may differ
    port                  itself; its network where it is served or newly present or gone, then all ports there;
                          its groups, when bound here; its memberships; the router or server it belongs to
    network, subnet       the network; routers and servers with ports on it (MTU, prefixes)
    group, rule           the group; members of the remote groups that it names now or named before
    router, floating ip   the router
    server                the server
    host                  everything: tunnel endpoints stand in ports and peers

Presence on a host H:
    network         it has a local VLAN slot on H
    port            its network is present on H
    security group  a port with a slot on H uses it
    group member    a group present on H names the group as remote
    router, server  its row names H as host

Invariant: after any sequence of changes, `View` equals a view made from a fresh `snapshot`.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Column, Row, func, select

from deuteron.model.compute import Flavor, Nic
from deuteron.model.intent import (
    AddressPair,
    Change,
    DhcpOption,
    FixedIp,
    FloatingIp,
    HostRoute,
    ImageRef,
    IntentGroupMember,
    IntentNetwork,
    IntentObject,
    IntentPort,
    IntentRouter,
    IntentRule,
    IntentSecurityGroup,
    IntentServer,
    IntentSubnet,
    RouterGateway,
    RouterPort,
    ServerPort,
    Snapshot,
    TunnelPeer,
    key_of,
)
from deuteron.model.network import COMPUTE_PREFIX, DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import bindings
from deuteron.store import database
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.hosts_tables import slots
from deuteron.store.network_tables import (
    floatingips,
    networks,
    ports,
    routers,
    security_group_ports,
    security_group_rules,
    security_groups,
    subnets,
)
from deuteron.store.schema import changes

Key = tuple[str, str]
AnyRow = Row[*tuple[Any, ...]]

_CHUNK = 500
"""How many ids one statement names."""

_PORT_HOST = ports.c["binding:host_id"]
_PORT_DETAILS = ports.c["binding:vif_details"]


@dataclass
class View:
    """What one connection was sent. Only `put` and `drop` change it."""

    revision: int = 0
    objects: dict[Key, IntentObject] = field(default_factory=dict)
    peers: tuple[TunnelPeer, ...] = ()
    ports_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Network to its ports."""
    members_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Group to the member ports sent for it."""
    groups_of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Port to the groups it was sent as a member of."""
    owner: dict[Key, str] = field(default_factory=dict)
    """Inner rows to the object that carries them: subnet, rule, floatingip, router_port and server_port by id."""

    def put(self, item: IntentObject) -> None:
        key = key_of(item)
        self.drop(key)
        self.objects[key] = item
        for inner in _inner(item):
            self.owner[inner] = item.id
        if isinstance(item, IntentPort):
            self.ports_of[item.network_id].add(item.id)
        elif isinstance(item, IntentGroupMember):
            self.members_of[item.group_id].add(item.port_id)
            self.groups_of[item.port_id].add(item.group_id)

    def drop(self, key: Key) -> None:
        item = self.objects.pop(key, None)
        if item is None:
            return
        for inner in _inner(item):
            # A port that moved to another router in the same change is that one's already.
            if self.owner.get(inner) == item.id:
                del self.owner[inner]
        if isinstance(item, IntentPort):
            _discard(self.ports_of, item.network_id, item.id)
        elif isinstance(item, IntentGroupMember):
            _discard(self.members_of, item.group_id, item.port_id)
            _discard(self.groups_of, item.port_id, item.group_id)

    def mentions(self, touched: Sequence[database.Change]) -> bool:
        """Whether anything that was sent is, holds or is a member because of one of the touched rows."""
        for item in touched:
            if (item.kind, item.id) in self.objects or (_INNER.get(item.kind, item.kind), item.id) in self.owner:
                return True
            if item.kind == "port" and (
                item.id in self.groups_of
                or ("router_port", item.id) in self.owner
                or ("server_port", item.id) in self.owner
            ):
                return True
        return False


_INNER = {"security_group_rule": "rule"}
"""Kinds whose inner key in `View.owner` is shorter than their name in the log."""


@dataclass(frozen=True)
class Difference:
    """What `change` found: the message to send, if any, and keys that were touched but look the same."""

    message: Change | None
    unchanged: tuple[Key, ...]
    absent: tuple[Key, ...] = ()
    """Touched keys that the host neither had nor is to have: made and deleted before it heard of them."""


def current_revision(tx: Tx) -> int:
    """The revision that this transaction sees."""
    return tx.scalar(select(func.max(changes.c.revision))) or 0


def changes_since(tx: Tx, revision: int) -> list[database.Change]:
    """What was touched after `revision`, in order."""
    statement = (
        select(changes.c.kind, changes.c.object_id, changes.c.deleted)
        .where(changes.c.revision > revision)
        .order_by(changes.c.revision, changes.c.ordinal)
    )
    return [database.Change(kind, object_id, deleted) for kind, object_id, deleted in tx.all(statement)]


def snapshot(tx: Tx, settings: Settings, host: str) -> tuple[Snapshot, View]:
    """Everything the host should have, and the view that begins with it."""
    view = View(current_revision(tx), peers=registry.peers(tx, settings, host))
    objects = _build(tx, settings, host, all_keys(tx, host))
    for item in objects.values():
        view.put(item)
    return Snapshot(view.revision, tuple(objects.values()), view.peers), view


def concerned_hosts(tx: Tx, touched: Sequence[database.Change]) -> set[str] | None:
    """Hosts for which a touched row means something as it is now; None for all of them.

    A row that is gone means something only where it was sent before: `View.mentions` knows that. With both, a
    commit costs nothing for the hosts that it does not concern, however many there are.
    """
    of: dict[str, set[str]] = defaultdict(set)
    for item in touched:
        of[item.kind].add(item.id)
    if of["host"]:
        return None
    nets = set(of["network"]) | set(_pairs(tx, subnets.c["id"], subnets.c["network_id"], of["subnet"]).values())
    routed = set(of["router"])
    routed |= set(_pairs(tx, floatingips.c["id"], floatingips.c["router_id"], of["floatingip"]).values()) - {None}
    served = set(of["server"])
    members: set[str] = set()
    columns = (ports.c["network_id"], ports.c["device_owner"], ports.c["device_id"], ports.c["security_groups"])
    for network_id, owner, device_id, groups in _rows(
        tx, lambda chunk: select(*columns).where(ports.c["id"].in_(chunk)), of["port"]
    ):
        nets.add(network_id)
        members |= set(groups or ())
        for kind, id in _owner_keys(owner or "", device_id or ""):
            (routed if kind == "router" else served).add(id)
    owned = (
        select(ports.c["device_id"]).distinct().where(ports.c["device_owner"].in_((ROUTER_INTERFACE, ROUTER_GATEWAY)))
    )
    wide = nets if of["network"] or of["subnet"] else set()
    routed |= {row[0] for row in _rows(tx, lambda chunk: owned.where(ports.c["network_id"].in_(chunk)), wide)}
    rules = security_group_rules
    users = set(of["security_group"])
    users |= set(_pairs(tx, rules.c["id"], rules.c["security_group_id"], of["security_group_rule"]).values())
    naming = select(rules.c["security_group_id"]).distinct()
    users |= {row[0] for row in _rows(tx, lambda chunk: naming.where(rules.c["remote_group_id"].in_(chunk)), members)}
    here = select(slots.c.host).distinct().where(slots.c.kind == "vlan")
    using = (
        select(slots.c.host)
        .distinct()
        .join(security_group_ports, security_group_ports.c.port_id == slots.c.object_id)
        .where(slots.c.kind == "port")
    )
    found = {row[0] for row in _rows(tx, lambda chunk: here.where(slots.c.object_id.in_(chunk)), nets)}
    found |= {
        row[0]
        for row in _rows(tx, lambda chunk: using.where(security_group_ports.c.security_group_id.in_(chunk)), users)
    }
    found |= {host for host in _pairs(tx, routers.c["id"], routers.c.host, routed).values() if host}
    found |= {host for host in _pairs(tx, servers.c["id"], servers.c["host"], served).values() if host}
    return found


def change(tx: Tx, settings: Settings, host: str, view: View, touched: Sequence[database.Change]) -> Difference:
    """Bring `view` up to the transaction's revision; the answer carries what differs."""
    keys = dirty_keys(tx, host, view, touched)
    peers: tuple[TunnelPeer, ...] | None = None
    if keys is None:
        keys = all_keys(tx, host) | set(view.objects)
        found = registry.peers(tx, settings, host)
        if found != view.peers:
            peers = view.peers = found
    view.revision = current_revision(tx)
    built = _build(tx, settings, host, keys) if keys else {}
    sent: list[IntentObject] = []
    gone: list[Key] = []
    unchanged: list[Key] = []
    absent: list[Key] = []
    for key in keys:
        before, now = view.objects.get(key), built.get(key)
        if now is None:
            if before is not None:
                view.drop(key)
                gone.append(key)
            else:
                absent.append(key)
        elif now == before:
            unchanged.append(key)
        else:
            view.put(now)
            sent.append(now)
    message = None
    if sent or gone or peers is not None:
        order = {kind: place for place, kind in enumerate(_BUILDERS)}
        sent.sort(key=lambda item: order[key_of(item)[0]])
        message = Change(view.revision, tuple(sent), tuple(sorted(gone)), peers)
    return Difference(message, tuple(unchanged), tuple(absent))


def all_keys(tx: Tx, host: str) -> set[Key]:
    """Keys of everything that is present on the host."""
    here = select(slots.c.object_id).where(slots.c.host == host, slots.c.kind == "vlan")
    local = select(slots.c.object_id).where(slots.c.host == host, slots.c.kind == "port")
    groups = (
        select(security_group_ports.c.security_group_id).where(security_group_ports.c.port_id.in_(local)).distinct()
    )
    remote = select(security_group_rules.c["remote_group_id"]).where(
        security_group_rules.c["security_group_id"].in_(groups), security_group_rules.c["remote_group_id"].is_not(None)
    )
    members = select(security_group_ports.c.security_group_id, security_group_ports.c.port_id).where(
        security_group_ports.c.security_group_id.in_(remote)
    )
    return {
        *(("network", id) for id in tx.scalars(here)),
        *(("port", id) for id in tx.scalars(select(ports.c["id"]).where(ports.c["network_id"].in_(here)))),
        *(("security_group", id) for id in tx.scalars(groups)),
        *(("group_member", f"{group}/{port}") for group, port in tx.all(members)),
        *(("router", id) for id in tx.scalars(select(routers.c["id"]).where(routers.c.host == host))),
        *(("server", id) for id in tx.scalars(select(servers.c["id"]).where(servers.c["host"] == host))),
    }


def dirty_keys(tx: Tx, host: str, view: View, touched: Sequence[database.Change]) -> set[Key] | None:
    """Keys whose objects may differ after `touched`; None when anything may."""
    of: dict[str, set[str]] = defaultdict(set)
    for item in touched:
        of[item.kind].add(item.id)
    if of["host"]:
        return None
    keys: set[Key] = {("server", id) for id in of["server"]} | {("router", id) for id in of["router"]}
    keys |= _dirty_from_ports(tx, host, view, of["port"])
    nets = set(of["network"])
    if of["subnet"]:
        nets |= set(_pairs(tx, subnets.c["id"], subnets.c["network_id"], of["subnet"]).values())
        nets |= {view.owner[("subnet", id)] for id in of["subnet"] if ("subnet", id) in view.owner}
    for network_id in nets:
        keys.add(("network", network_id))
        for port_id in view.ports_of.get(network_id, ()):
            port = view.objects[("port", port_id)]
            if isinstance(port, IntentPort):
                keys |= _owner_keys(port.device_owner, port.device_id)
    # Routers carry what their networks and subnets say, wherever their ports are.
    owned = (
        select(ports.c["device_id"]).distinct().where(ports.c["device_owner"].in_((ROUTER_INTERFACE, ROUTER_GATEWAY)))
    )
    keys |= {("router", row[0]) for row in _rows(tx, lambda chunk: owned.where(ports.c["network_id"].in_(chunk)), nets)}
    if of["floatingip"]:
        found = _pairs(tx, floatingips.c["id"], floatingips.c["router_id"], of["floatingip"])
        keys |= {("router", router) for router in found.values() if router is not None}
        keys |= {
            ("router", view.owner[("floatingip", id)]) for id in of["floatingip"] if ("floatingip", id) in view.owner
        }
    groups = set(of["security_group"])
    if of["security_group_rule"]:
        rules = security_group_rules
        groups |= set(_pairs(tx, rules.c["id"], rules.c["security_group_id"], of["security_group_rule"]).values())
        groups |= {view.owner[("rule", id)] for id in of["security_group_rule"] if ("rule", id) in view.owner}
    keys |= {("security_group", id) for id in groups}
    keys |= _dirty_members(tx, host, view, {id for kind, id in keys if kind == "security_group"})
    return keys


def _dirty_from_ports(tx: Tx, host: str, view: View, ids: Collection[str]) -> set[Key]:
    if not ids:
        return set()
    keys: set[Key] = set()
    rows = {
        row.id: row
        for row in _rows(
            tx,
            lambda chunk: select(
                ports.c["id"],
                ports.c["network_id"],
                ports.c["device_owner"],
                ports.c["device_id"],
                ports.c["security_groups"],
            ).where(ports.c["id"].in_(chunk)),
            ids,
        )
    }
    numbers = _slots(tx, host, "port", ids)
    nets: set[str] = set()
    for id in ids:
        now = rows.get(id)
        before = view.objects.get(("port", id))
        assert before is None or isinstance(before, IntentPort)
        keys.add(("port", id))
        mine = {now.network_id} if now is not None else set()
        groups = set(now.security_groups or ()) if now is not None else set()
        memberships = groups | view.groups_of.get(id, set())
        owners = {(now.device_owner or "", now.device_id or "")} if now is not None else set()
        if before is not None:
            mine.add(before.network_id)
            groups |= set(before.security_groups)
            owners.add((before.device_owner, before.device_id))
        nets |= mine
        keys |= {("group_member", f"{group}/{id}") for group in memberships | groups}
        if id in numbers or (before is not None and before.ofport is not None):
            keys |= {("security_group", group) for group in groups}
        keys |= {
            (kind, view.owner[(inner, id)])
            for kind, inner in (("router", "router_port"), ("server", "server_port"))
            if (inner, id) in view.owner
        }
        for owner, device_id in owners:
            keys |= _owner_keys(owner, device_id)
            if owner.startswith("network:"):
                keys |= {("network", network_id) for network_id in mine}
    present = _slots(tx, host, "vlan", nets)
    appeared = [id for id in nets if id in present and ("network", id) not in view.objects]
    vanished = [id for id in nets if id not in present and ("network", id) in view.objects]
    for network_id in vanished:
        keys |= {("port", id) for id in view.ports_of.get(network_id, ())}
    statement = select(ports.c["id"])
    for row in _rows(tx, lambda chunk: statement.where(ports.c["network_id"].in_(chunk)), appeared):
        keys.add(("port", row.id))
    return keys | {("network", id) for id in (*appeared, *vanished)}


def _dirty_members(tx: Tx, host: str, view: View, groups: Collection[str]) -> set[Key]:
    """Members of remote groups that one of `groups` begins or ceases to name."""
    if not groups:
        return set()
    named_now: dict[str, set[str]] = defaultdict(set)
    present = _groups_present(tx, host, groups)
    rules = security_group_rules
    pairs = select(rules.c["security_group_id"], rules.c["remote_group_id"])
    for group, remote in _rows(
        tx,
        lambda chunk: pairs.where(rules.c["security_group_id"].in_(chunk), rules.c["remote_group_id"].is_not(None)),
        present,
    ):
        named_now[group].add(remote)
    turned: set[str] = set()
    for id in groups:
        before = view.objects.get(("security_group", id))
        named_before = (
            {rule.remote_group_id for rule in before.rules if rule.remote_group_id is not None}
            if isinstance(before, IntentSecurityGroup)
            else set()
        )
        turned |= named_before ^ named_now[id]
    keys: set[Key] = {("group_member", f"{id}/{port}") for id in turned for port in view.members_of.get(id, ())}
    members = select(security_group_ports.c.security_group_id, security_group_ports.c.port_id)
    for group, port in _rows(
        tx, lambda chunk: members.where(security_group_ports.c.security_group_id.in_(chunk)), turned
    ):
        keys.add(("group_member", f"{group}/{port}"))
    return keys


def _owner_keys(device_owner: str, device_id: str) -> set[Key]:
    if device_owner in (ROUTER_INTERFACE, ROUTER_GATEWAY):
        return {("router", device_id)}
    if device_owner.startswith(COMPUTE_PREFIX):
        return {("server", device_id)}
    return set()


# --- building objects from rows ---------------------------------------------------------------------------------------


def _build(tx: Tx, settings: Settings, host: str, keys: Collection[Key]) -> dict[Key, IntentObject]:
    """The objects of `keys` that belong on the host now; absent ones are left out."""
    ids: dict[str, list[str]] = defaultdict(list)
    for kind, id in sorted(keys):
        ids[kind].append(id)
    return {
        key_of(item): item
        for kind, builder in _BUILDERS.items()
        if ids[kind]
        for item in builder(tx, settings, host, ids[kind])
    }


def _networks(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentNetwork]:
    vlans = _slots(tx, host, "vlan", ids)
    nested: dict[str, list[IntentSubnet]] = defaultdict(list)
    for row in _rows(
        tx, lambda chunk: select(subnets).where(subnets.c["network_id"].in_(chunk)).order_by(subnets.c["id"]), vlans
    ):
        nested[row.network_id].append(_subnet(row))
    dhcp: dict[str, str] = {}
    routed: dict[str, str] = {}
    gateways = {subnet.id: subnet.gateway_ip for found in nested.values() for subnet in found}
    owned = select(
        ports.c["id"],
        ports.c["network_id"],
        ports.c["device_owner"],
        ports.c["device_id"],
        _PORT_HOST,
        ports.c["fixed_ips"],
    )
    for port_id, network_id, owner, device_id, bound, fixed_ips in _rows(
        tx,
        lambda chunk: owned.where(
            ports.c["network_id"].in_(chunk), ports.c["device_owner"].in_((DHCP, ROUTER_INTERFACE))
        ).order_by(ports.c["id"]),
        vlans,
    ):
        if owner == ROUTER_INTERFACE:
            # As in Neutron (`get_isolated_subnets`), only the router that is the guests' gateway serves them metadata:
            # else whoever puts a router on a shared network takes it from everybody.
            if any(ip["ip_address"] == gateways.get(ip["subnet_id"]) for ip in fixed_ips or ()):
                routed.setdefault(network_id, device_id)
        elif bound == host:
            dhcp.setdefault(network_id, port_id)
    for row in _rows(tx, lambda chunk: select(networks).where(networks.c["id"].in_(chunk)), vlans):
        at = row._mapping
        yield IntentNetwork(
            id=row.id,
            project_id=row.project_id or "",
            name=row.name or "",
            network_type=at["provider:network_type"],
            physical_network=at["provider:physical_network"],
            segmentation_id=at["provider:segmentation_id"],
            mtu_bytes=row.mtu or settings.path_mtu,
            local_vlan=vlans[row.id],
            admin_state_up=bool(row.admin_state_up),
            external=bool(at["router:external"]),
            subnets=tuple(nested[row.id]),
            dhcp_port_id=dhcp.get(row.id),
            routed_by=routed.get(row.id),
            dns_domain=settings.dns_domain,
        )


def _subnet(row: AnyRow) -> IntentSubnet:
    return IntentSubnet(
        id=row.id,
        ip_version=row.ip_version,
        cidr=row.cidr,
        gateway_ip=row.gateway_ip,
        enable_dhcp=bool(row.enable_dhcp),
        dns_nameservers=tuple(row.dns_nameservers or ()),
        host_routes=tuple(HostRoute(route["destination"], route["nexthop"]) for route in row.host_routes or ()),
        ipv6_ra_mode=row.ipv6_ra_mode,
        ipv6_address_mode=row.ipv6_address_mode,
    )


def _ports(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentPort]:
    rows = list(_rows(tx, lambda chunk: select(ports).where(ports.c["id"].in_(chunk)), ids))
    present = _slots(tx, host, "vlan", {row.network_id for row in rows})
    numbers = _slots(tx, host, "port", ids)
    endpoints = registry.tunnel_ips(tx, settings)
    for row in rows:
        if row.network_id not in present:
            continue
        bound = row._mapping[_PORT_HOST] or ""
        number = numbers.get(row.id)
        mechanism, details = bindings.wired_by(row._mapping[_PORT_DETAILS] if number is not None else None)
        yield IntentPort(
            id=row.id,
            network_id=row.network_id,
            project_id=row.project_id or "",
            mac_address=row.mac_address,
            fixed_ips=tuple(FixedIp(ip["subnet_id"], ip["ip_address"]) for ip in row.fixed_ips or ()),
            device_owner=row.device_owner or "",
            device_id=row.device_id or "",
            host=bound,
            ofport=number,
            admin_state_up=bool(row.admin_state_up),
            port_security_enabled=bool(row.port_security_enabled),
            security_groups=tuple(row.security_groups or ()),
            allowed_address_pairs=tuple(
                AddressPair(pair["ip_address"], pair.get("mac_address") or row.mac_address)
                for pair in row.allowed_address_pairs or ()
            ),
            extra_dhcp_opts=tuple(
                DhcpOption(option["opt_name"], option["opt_value"] or "", option.get("ip_version") or 4)
                for option in row.extra_dhcp_opts or ()
            ),
            tunnel_ip=None if number is not None else endpoints.get(bound),
            mechanism=mechanism,
            vif_details=details,
        )


def _security_groups(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentSecurityGroup]:
    present = _groups_present(tx, host, ids)
    rules: dict[str, list[IntentRule]] = defaultdict(list)
    table = security_group_rules
    for row in _rows(
        tx, lambda chunk: select(table).where(table.c["security_group_id"].in_(chunk)).order_by(table.c["id"]), present
    ):
        rules[row.security_group_id].append(
            IntentRule(
                id=row.id,
                direction=row.direction,
                ethertype=row.ethertype,
                protocol=row.protocol_number,
                port_range_min=row.port_range_min,
                port_range_max=row.port_range_max,
                remote_ip_prefix=row.normalized_cidr or row.remote_ip_prefix,
                remote_group_id=row.remote_group_id,
            )
        )
    for row in _rows(tx, lambda chunk: select(security_groups).where(security_groups.c["id"].in_(chunk)), present):
        yield IntentSecurityGroup(id=row.id, stateful=bool(row.stateful), rules=tuple(rules[row.id]))


def _group_members(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentGroupMember]:
    wanted = {tuple(id.split("/", 1)) for id in ids}
    named = _groups_named(tx, host, {group for group, _ in wanted})
    member_ports = {port for group, port in wanted if group in named}
    rows = _rows(
        tx,
        lambda chunk: (
            select(
                security_group_ports.c.security_group_id,
                ports.c["id"],
                ports.c["fixed_ips"],
                ports.c["allowed_address_pairs"],
            )
            .join(ports, ports.c["id"] == security_group_ports.c.port_id)
            .where(security_group_ports.c.port_id.in_(chunk))
        ),
        member_ports,
    )
    for group, port, fixed_ips, pairs in rows:
        if group not in named or (group, port) not in wanted:
            continue
        addresses = [ip["ip_address"] for ip in fixed_ips or ()] + [pair["ip_address"] for pair in pairs or ()]
        yield IntentGroupMember(
            id=f"{group}/{port}", group_id=group, port_id=port, addresses=tuple(dict.fromkeys(addresses))
        )


def _routers(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentRouter]:
    rows = list(_rows(tx, lambda chunk: select(routers).where(routers.c["id"].in_(chunk), routers.c.host == host), ids))
    mine = [row.id for row in rows]
    attached = list(
        _rows(
            tx,
            lambda chunk: (
                select(ports)
                .where(ports.c["device_id"].in_(chunk), ports.c["device_owner"].in_((ROUTER_INTERFACE, ROUTER_GATEWAY)))
                .order_by(ports.c["id"])
            ),
            mine,
        )
    )
    nets = {port.network_id for port in attached}
    mtus = _pairs(tx, networks.c["id"], networks.c["mtu"], nets)
    prefixes = {
        row.id: row for row in _rows(tx, lambda chunk: select(subnets).where(subnets.c["network_id"].in_(chunk)), nets)
    }
    translated: dict[str, list[FloatingIp]] = defaultdict(list)
    for row in _rows(
        tx,
        lambda chunk: (
            select(floatingips)
            .where(floatingips.c["router_id"].in_(chunk), floatingips.c["port_id"].is_not(None))
            .order_by(floatingips.c["id"])
        ),
        mine,
    ):
        if row.fixed_ip_address is not None:
            translated[row.router_id].append(FloatingIp(row.id, row.floating_ip_address, row.fixed_ip_address))

    def router_port(port: AnyRow) -> RouterPort:
        reached = [prefixes[ip["subnet_id"]] for ip in port.fixed_ips or () if ip["subnet_id"] in prefixes]
        return RouterPort(
            port_id=port.id,
            network_id=port.network_id,
            mac_address=port.mac_address,
            addresses=tuple(
                f"{ip['ip_address']}/{ipaddress.ip_network(prefixes[ip['subnet_id']].cidr).prefixlen}"
                for ip in port.fixed_ips or ()
                if ip["subnet_id"] in prefixes
            ),
            mtu_bytes=mtus.get(port.network_id) or settings.path_mtu,
            ra_subnets=tuple(_subnet(subnet) for subnet in reached if _is_advertised(port, subnet))
            if port.device_owner == ROUTER_INTERFACE
            else (),
        )

    for row in rows:
        gateway = None
        for port in attached:
            if port.device_id == row.id and port.id == row.gateway_port_id:
                hops: dict[int, str] = {}
                for ip in port.fixed_ips or ():
                    subnet = prefixes.get(ip["subnet_id"])
                    if subnet is not None and subnet.gateway_ip is not None:
                        hops.setdefault(subnet.ip_version, subnet.gateway_ip)
                info = row.external_gateway_info or {}
                gateway = RouterGateway(
                    router_port(port),
                    tuple(hops[version] for version in sorted(hops)),
                    bool(info.get("enable_snat", True)),
                )
        yield IntentRouter(
            id=row.id,
            project_id=row.project_id or "",
            admin_state_up=bool(row.admin_state_up),
            interfaces=tuple(
                router_port(port)
                for port in attached
                if port.device_id == row.id and port.device_owner == ROUTER_INTERFACE
            ),
            gateway=gateway,
            routes=tuple(HostRoute(route["destination"], route["nexthop"]) for route in row.routes or ()),
            floating_ips=tuple(translated[row.id]),
        )


def _is_advertised(port: AnyRow, subnet: AnyRow) -> bool:
    """Whether a router's port advertises the subnet and itself: as its gateway, or on a subnet of its own project.

    A router that a project puts on a network of another routes for who asks it; an advertisement would make it the
    way out of everybody there.
    """
    if subnet.ip_version != 6 or subnet.ipv6_ra_mode is None:
        return False
    if subnet.project_id == port.project_id:
        return True
    return any(ip["ip_address"] == subnet.gateway_ip and ip["subnet_id"] == subnet.id for ip in port.fixed_ips or ())


def _servers(tx: Tx, settings: Settings, host: str, ids: Collection[str]) -> Iterator[IntentServer]:
    rows = [
        row
        for row in _rows(
            tx, lambda chunk: select(servers).where(servers.c["id"].in_(chunk), servers.c["host"] == host), ids
        )
        if row.task_state != "deleting"
    ]
    nics = {row.id: msgspec.convert(row.nics or [], list[Nic]) for row in rows}
    wanted = {nic.port_id for held in nics.values() for nic in held}
    plugged = {
        port.id: port
        for port in _rows(
            tx,
            lambda chunk: (
                select(
                    ports.c["id"],
                    ports.c["mac_address"],
                    ports.c["network_id"],
                    ports.c["device_id"],
                    _PORT_DETAILS,
                    networks.c["mtu"],
                )
                .join(networks, networks.c["id"] == ports.c["network_id"])
                .where(ports.c["id"].in_(chunk))
            ),
            wanted,
        )
    }
    for row in rows:
        flavor = msgspec.convert(row.flavor, Flavor)
        yield IntentServer(
            id=row.id,
            name=row.name,
            project_id=row.project_id,
            user_id=row.user_id,
            hostname=row.hostname,
            flavor_name=flavor.name,
            vcpus=flavor.vcpus,
            memory_mib=flavor.ram,
            root_disk_gib=flavor.disk,
            image=_image(row.image),
            kernel=_image(row.kernel),
            ramdisk=_image(row.ramdisk),
            kernel_args=row.kernel_args or "",
            ephemeral_disk_gib=flavor.ephemeral,
            swap_mib=flavor.swap,
            ports=tuple(
                ServerPort(
                    port.id,
                    port.mac_address,
                    port.network_id,
                    port.mtu or settings.path_mtu,
                    *bindings.wired_by(port._mapping[_PORT_DETAILS]),
                )
                for nic in nics[row.id]
                if (port := plugged.get(nic.port_id)) is not None and port.device_id == row.id
            ),
            power=row.power,
            reboot_generation=row.reboot_generation,
            reboot_kind=row.reboot_kind,
            build_generation=row.build_generation,
            machine_type=row.machine_type,
            config_drive=bool(row.config_drive),
        )


def _image(stored: Any) -> ImageRef | None:
    return None if stored is None else msgspec.convert(stored, ImageRef)


_BUILDERS: dict[str, Callable[[Tx, Settings, str, Collection[str]], Iterator[IntentObject]]] = {
    "network": _networks,
    "security_group": _security_groups,
    "group_member": _group_members,
    "port": _ports,
    "router": _routers,
    "server": _servers,
}
"""In the order of messages: what is referred to comes first."""


# --- queries ----------------------------------------------------------------------------------------------------------


def _groups_present(tx: Tx, host: str, ids: Collection[str]) -> set[str]:
    """Those of `ids` that a port with a slot on the host uses."""
    table = security_group_ports
    statement = (
        select(table.c.security_group_id)
        .distinct()
        .join(slots, (slots.c.object_id == table.c.port_id) & (slots.c.host == host) & (slots.c.kind == "port"))
    )
    return {row[0] for row in _rows(tx, lambda chunk: statement.where(table.c.security_group_id.in_(chunk)), ids)}


def _groups_named(tx: Tx, host: str, ids: Collection[str]) -> set[str]:
    """Those of `ids` that a group present on the host names as remote."""
    rules = security_group_rules
    pairs = select(rules.c["security_group_id"], rules.c["remote_group_id"])
    naming: dict[str, set[str]] = defaultdict(set)
    for group, remote in _rows(tx, lambda chunk: pairs.where(rules.c["remote_group_id"].in_(chunk)), ids):
        naming[group].add(remote)
    return {remote for group in _groups_present(tx, host, naming) for remote in naming[group]}


def _slots(tx: Tx, host: str, kind: str, ids: Collection[str]) -> dict[str, int]:
    statement = select(slots.c.object_id, slots.c.number).where(slots.c.host == host, slots.c.kind == kind)
    return {row[0]: row[1] for row in _rows(tx, lambda chunk: statement.where(slots.c.object_id.in_(chunk)), ids)}


def _pairs(tx: Tx, key: Column[Any], value: Column[Any], ids: Collection[str]) -> dict[str, Any]:
    return {row[0]: row[1] for row in _rows(tx, lambda chunk: select(key, value).where(key.in_(chunk)), ids)}


def _rows(tx: Tx, statement: Callable[[list[str]], Any], ids: Iterable[str]) -> Iterator[AnyRow]:
    """Rows of `statement` for `ids`, asked for in chunks; none when there are no ids."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield from tx.all(statement(ordered[start : start + _CHUNK]))


def _inner(item: IntentObject) -> Iterator[Key]:
    if isinstance(item, IntentNetwork):
        for subnet in item.subnets:
            yield ("subnet", subnet.id)
    elif isinstance(item, IntentSecurityGroup):
        for rule in item.rules:
            yield ("rule", rule.id)
    elif isinstance(item, IntentRouter):
        for floating in item.floating_ips:
            yield ("floatingip", floating.id)
        for router_port in (*item.interfaces, *(() if item.gateway is None else (item.gateway.port,))):
            yield ("router_port", router_port.port_id)
    elif isinstance(item, IntentServer):
        for server_port in item.ports:
            yield ("server_port", server_port.port_id)


def _discard(index: dict[str, set[str]], key: str, value: str) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(value)
        if not found:
            del index[key]
