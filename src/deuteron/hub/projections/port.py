"""Ports that are plugged in on a host: those with a slot there. They need their network, the groups they use, and
what is logged of them and of their project."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from typing import Any

from sqlalchemy import select

from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Touched, by_host, held, rows
from deuteron.model.codecs import canonical_mac
from deuteron.model.intent import AddressPair, DhcpOption, FixedIp, IntentPort
from deuteron.model.network import DVR_INTERFACE, HA_ROUTER_INTERFACE, ROUTER_GATEWAY
from deuteron.rules.network import bindings, dns, local_addresses, logged, trunk_ports
from deuteron.store.database import Tx
from deuteron.store.hosts_tables import slots
from deuteron.store.network_tables import ports


def fixed_ips(stored: Any) -> tuple[FixedIp, ...]:
    return tuple(FixedIp(ip["subnet_id"], ip["ip_address"]) for ip in stored or ())


def dhcp_options(stored: Any) -> tuple[DhcpOption, ...]:
    return tuple(
        DhcpOption(option["opt_name"], option["opt_value"] or "", option.get("ip_version") or 4)
        for option in stored or ()
    )


def _present(tx: Tx, host: str) -> Iterable[str]:
    return tx.scalars(select(slots.c.object_id).where(slots.c.host == host, slots.c.kind == "port"))


def _places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    statement = select(slots.c.host, slots.c.object_id).where(slots.c.kind == "port")
    return [(row[0], row[1]) for row in rows(tx, lambda chunk: statement.where(slots.c.object_id.in_(chunk)), ids)]


_REPLICATED = (HA_ROUTER_INTERFACE, DVR_INTERFACE, ROUTER_GATEWAY)
"""Of ports that are plugged in on several hosts where their router runs on several."""

_COLUMNS = (
    "id",
    "network_id",
    "project_id",
    "mac_address",
    "fixed_ips",
    "device_owner",
    "device_id",
    "admin_state_up",
    "port_security_enabled",
    "security_groups",
    "allowed_address_pairs",
    "extra_dhcp_opts",
    "binding:vif_details",
    "qos_policy_id",
    "dns_name",
)


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    plugged = held(reading.tx, "port", places)
    hosts = by_host(plugged)
    named = dns.are_given(reading.settings)
    statement = select(*(ports.c[name] for name in _COLUMNS), ports.c["binding:host_id"].label("bound"))
    trunks = trunk_ports.places(reading.tx, hosts)
    local_ips = local_addresses.of_ports(reading.tx, hosts)
    logs = logged.logged_ports(reading.tx, hosts)
    for row in rows(reading.tx, lambda chunk: statement.where(ports.c["id"].in_(chunk)), hosts):
        groups = tuple(row.security_groups or ())
        mechanism, details = bindings.wired_by(row._mapping[ports.c["binding:vif_details"]])
        for host in hosts[row.id]:
            ofport, lan_id = plugged[host, row.id]
            item = IntentPort(
                id=row.id,
                network_id=lan_id,
                project_id=row.project_id or "",
                mac_address=row.mac_address,
                ofport=ofport,
                fixed_ips=fixed_ips(row.fixed_ips),
                device_owner=row.device_owner or "",
                device_id=row.device_id or "",
                # Where its guest is awaited it has its device, and carries nothing before it is bound there. Who of the
                # hosts of a router carries is for them to find out, faster than we could say it.
                admin_state_up=bool(row.admin_state_up) and (host == row.bound or row.device_owner in _REPLICATED),
                port_security_enabled=bool(row.port_security_enabled),
                security_groups=groups,
                allowed_address_pairs=tuple(
                    AddressPair(pair["ip_address"], canonical_mac(pair.get("mac_address") or row.mac_address))
                    for pair in row.allowed_address_pairs or ()
                ),
                extra_dhcp_opts=dhcp_options(row.extra_dhcp_opts),
                mechanism=mechanism,
                vif_details=details,
                qos_policy_id=row.qos_policy_id,
                dns_name=(row.dns_name or "") if named else "",
                trunk=trunks.get(row.id),
                local_ips=local_ips.get(row.id, ()),
            )
            obeys = () if row.qos_policy_id is None else (("qos_policy", row.qos_policy_id),)
            of_logs = [("log", scope) for scope in (row.project_id, row.id if row.id in logs else None) if scope]
            needs = (("network", lan_id), *(("security_group", id) for id in groups), *obeys, *of_logs)
            # By these rows a log is known that goes.
            yield host, Made(item, tuple(("log", id) for id in logs.get(row.id, ())), needs)


def _dirty(touched: Touched) -> Set[str]:
    # What comes into a trunk or goes out of it is a change of its parent.
    changed = touched.of("port") | trunk_ports.parents_of(touched.tx, touched.of("trunk"))
    of_logs = touched.of("log")
    return changed | logged.ports_of(touched.tx, of_logs) if of_logs else changed


PROJECTION = OnHost("port", _dirty, _build, _present, _places)
