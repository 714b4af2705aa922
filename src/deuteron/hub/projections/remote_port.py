"""Ports of a network as the hosts see them where they are not plugged in. A scope is a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import AnyRow, Made, Reading, Shared, Touched, rows
from deuteron.hub.projections.port import dhcp_options, fixed_ips
from deuteron.model.intent import IntentRemotePort
from deuteron.model.network import DHCP, DVR_INTERFACE
from deuteron.rules.network import dns
from deuteron.store.hosts_tables import slots
from deuteron.store.network_tables import ports

_HOST = ports.c["binding:host_id"]
_COLUMNS = ("id", "network_id", "mac_address", "fixed_ips", "device_owner", "extra_dhcp_opts", "dns_name")


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    statement = select(ports.c["network_id"], ports.c["id"])
    found = rows(reading.tx, lambda chunk: statement.where(ports.c["network_id"].in_(chunk)), scopes)
    return ((network_id, id) for network_id, id in found)


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    plugged: dict[str, list[str]] = defaultdict(list)
    lans: dict[str, str] = {}
    place = select(slots.c.object_id, slots.c.host, slots.c.parent_id).where(slots.c.kind == "port")
    for id, host, lan_id in rows(reading.tx, lambda chunk: place.where(slots.c.object_id.in_(chunk)), ids):
        plugged[id].append(host)
        lans[id] = lan_id
    named = dns.are_given(reading.settings)
    statement = select(*(ports.c[name] for name in _COLUMNS), _HOST.label("bound"))
    for row in rows(reading.tx, lambda chunk: statement.where(ports.c["id"].in_(chunk)), ids):
        item = IntentRemotePort(
            id=row.id,
            network_id=row.network_id,
            mac_address=row.mac_address,
            fixed_ips=fixed_ips(row.fixed_ips),
            tunnel_ip=reading.endpoints.get(row.bound or ""),
            lan_id=None if lans.get(row.id) == row.network_id else lans.get(row.id),
            serves_dhcp=row.device_owner == DHCP,
            extra_dhcp_opts=dhcp_options(row.extra_dhcp_opts),
            dns_name=(row.dns_name or "") if named else "",
            is_bound=bool(row.bound),
        )
        # A host that awaits its guest sends what is for it to where it is.
        yield Made(item, scope=row.network_id, not_on=_hosts_of(row, plugged[row.id]))


def _hosts_of(row: AnyRow, plugged: Sequence[str]) -> tuple[str, ...]:
    return tuple(host for host in plugged if host == row.bound or row.device_owner == DVR_INTERFACE)


def _dirty(touched: Touched) -> Set[str]:
    bound = select(ports.c["id"])
    moved = rows(touched.tx, lambda chunk: bound.where(_HOST.in_(chunk)), touched.of("host"))
    return touched.of("port") | {row.id for row in moved}


PROJECTION = Shared("remote_port", _dirty, _build, _members)
