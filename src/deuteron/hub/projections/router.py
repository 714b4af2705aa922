"""Routers, on the host that runs them, and what they route, count and limit: prefixes, gateway, floating IPs."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Literal, cast

import msgspec
from sqlalchemy import select

from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Touched, numbers, pairs, whole
from deuteron.hub.projections.local_floating import LocalFloatingIps
from deuteron.hub.projections.router_ports import Around, gateway_of, router_port
from deuteron.model.intent import (
    ConntrackHelper,
    FloatingIp,
    HostRoute,
    IntentRouter,
    LimitedAddress,
    MeteringLabel,
    MeteringRule,
    NdpProxying,
    PortForwarding,
    RouterDistributed,
    RouterHa,
)
from deuteron.model.network import HA_PORT, ROUTER_GATEWAY, ROUTER_INTERFACES, ROUTER_SNAT
from deuteron.model.network.rows import FloatingIpRow, MeteringLabelRuleRow, PortRow, RouterRow, SubnetRow
from deuteron.model.scalars import FloatingIpId, SubnetId
from deuteron.rules.network import forwarded, ha, helped, metering, proxied
from deuteron.rules.network import spread as distribution
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ha_hosts, ports, routers, subnets
from deuteron.store.slots import EVERYWHERE

_OWNERS = (*ROUTER_INTERFACES, ROUTER_GATEWAY, ROUTER_SNAT)


def _present(tx: Tx, host: str) -> Iterable[str]:
    spread = tx.scalars(select(ha_hosts.c.router_id).where(ha_hosts.c.host == host))
    placed = tx.scalars(select(routers.c["id"]).where(routers.c.host == host))
    return {*placed, *spread, *distribution.routers_on(tx, host)}


def _places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    spread = {(host, id) for id, found in ha.instances(tx, ids).items() for host, _, _ in found}
    spread |= {(host, id) for id, found in distribution.hosts_of(tx, ids).items() for host in found}
    return spread | {(host, id) for id, host in pairs(tx, routers.c["id"], routers.c.host, ids).items() if host}


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    tx = reading.tx
    asked = set(places)
    statement = select(routers)
    named = {id for _, id in asked}
    mine = list(whole(tx, routers, lambda chunk: statement.where(routers.c["id"].in_(chunk)), named))
    ids = [row["id"] for row in mine]
    spread = _instances(reading, ids)
    distributed = [row["id"] for row in mine if row["distributed"]]
    everywhere = distribution.hosts_of(tx, distributed) if distributed else {}
    macs = distribution.macs(tx) if distributed else {}
    attached: dict[str, list[PortRow]] = defaultdict(list)
    owned = select(ports).where(ports.c["device_owner"].in_(_OWNERS)).order_by(ports.c["id"])
    for port in whole(tx, ports, lambda chunk: owned.where(ports.c["device_id"].in_(chunk)), ids):
        attached[port["device_id"]].append(port)
    nets = {port["network_id"] for found in attached.values() for port in found}
    around = Around(reading, nets, [port for found in attached.values() for port in found])
    within = select(subnets)
    prefixes = {
        row["id"]: row
        for row in whole(tx, subnets, lambda chunk: within.where(subnets.c["network_id"].in_(chunk)), nets)
    }
    translated: dict[str, list[FloatingIp]] = defaultdict(list)
    limited: dict[str, list[FloatingIpRow]] = defaultdict(list)
    leading: dict[FloatingIpId, FloatingIpRow] = {}
    given = select(floatingips).order_by(floatingips.c["id"])
    all_given = list(whole(tx, floatingips, lambda chunk: given.where(floatingips.c["router_id"].in_(chunk)), ids))
    local = LocalFloatingIps(reading, distributed, all_given if distributed else [])
    for each in all_given:
        inside, router_id = each["fixed_ip_address"], each["router_id"]
        if router_id is None or each["id"] in local:
            continue
        if each["port_id"] is not None and inside is not None:
            translated[router_id].append(FloatingIp(each["id"], each["floating_ip_address"], inside))
        if each["port_id"] is None:
            leading[each["id"]] = each
        if each["qos_policy_id"] is not None:
            limited[router_id].append(each)
    numbered = numbers(tx, "address", {(EVERYWHERE, each["id"]) for found in limited.values() for each in found})
    forwarding = _forwardings(tx, leading)
    counted = _labels(tx, mine)
    helping = helped.of_routers(tx, ids)
    answering = _proxying(tx, mine, attached, prefixes, around)
    for row in mine:
        found = attached[row["id"]]
        gateway = next((port for port in found if port["id"] == row["gateway_port_id"]), None)
        item = IntentRouter(
            id=row["id"],
            project_id=row["project_id"] or "",
            admin_state_up=bool(row["admin_state_up"]),
            interfaces=tuple(
                router_port(around, port, prefixes) for port in found if port["device_owner"] in ROUTER_INTERFACES
            ),
            gateway=None if gateway is None else gateway_of(around, row, gateway, prefixes),
            routes=tuple(HostRoute(route["destination"], route["nexthop"]) for route in row["routes"] or ()),
            floating_ips=tuple(translated[row["id"]]),
            metering_labels=tuple(counted[row["id"]]),
            port_forwardings=tuple(item for _, item in forwarding[row["id"]]),
            conntrack_helpers=tuple(
                ConntrackHelper(each["id"], each["protocol"], each["port"], each["helper"])
                for each in helping.get(row["id"], ())
            ),
            ndp=answering.get(row["id"]),
            limited_addresses=tuple(
                LimitedAddress(
                    each["floating_ip_address"], numbered[EVERYWHERE, each["id"]], each["qos_policy_id"] or ""
                )
                for each in limited[row["id"]]
            ),
        )
        addressed = {floating.id for floating in translated[row["id"]]} | {id for id, _ in forwarding[row["id"]]}
        addressed |= {each["id"] for each in limited[row["id"]]}
        obeyed = {each["qos_policy_id"] for each in limited[row["id"]]}
        if gateway is not None:
            obeyed.add(row["qos_policy_id"])
        reached = {ip["subnet_id"] for port in found for ip in port["fixed_ips"] or ()}
        made = Made(
            item,
            rows=(
                *(("port", port["id"]) for port in found),
                *(("network", id) for id in {port["network_id"] for port in found}),
                *(("subnet", id) for id in reached),
                *(("floatingip", id) for id in addressed),
                *(("metering_label", label.id) for label in counted[row["id"]]),
            ),
            needs=tuple(("qos_policy", id) for id in obeyed if id is not None),
        )
        if row["distributed"]:
            beside = (port for port in found if port["device_owner"] == ROUTER_SNAT)
            snat = tuple(router_port(around, port, prefixes) for port in beside)
            near = everywhere.get(row["id"], ())
            made = made._replace(rows=(*made.rows, *local.rows_of(row)))
            for host in {row["host"] or "", *near}:
                if (host, row["id"]) in asked:
                    here = local.on(host, row, around, prefixes)
                    how = RouterDistributed(macs.get(host, ""), snat, host in near, host == row["host"], here)
                    yield host, _distributed(made, item, how)
            continue
        there = {row["host"] or "": None, **spread.get(row["id"], {})}
        for host, instance in there.items():
            if (host, row["id"]) in asked:
                yield (
                    host,
                    made if instance is None else made._replace(item=msgspec.structs.replace(item, ha=instance)),
                )


def _distributed(made: Made, item: IntentRouter, how: RouterDistributed) -> Made:
    """The router on one of its hosts: what its gateway is for is done on one of them.

    Where it routes it has to know where ports are, also on networks that need no tunnels.
    """
    needs = made.needs if how.is_central else ()
    if how.floating is not None:
        needs = (*needs, *(("qos_policy", each.qos_policy_id) for each in how.floating.limited_addresses))
    if how.is_local:
        needs = (*needs, *(("remote_port", port.network_id) for port in item.interfaces))
    if how.is_central:
        here = msgspec.structs.replace(item, distributed=how)
    else:
        here = msgspec.structs.replace(
            item,
            distributed=how,
            gateway=None,
            floating_ips=(),
            port_forwardings=(),
            metering_labels=item.metering_labels if how.floating is not None else (),
            ndp=None,
            limited_addresses=(),
        )
    return made._replace(item=here, needs=tuple(dict.fromkeys(needs)))


def _instances(reading: Reading, router_ids: Collection[str]) -> Mapping[str, Mapping[str, RouterHa]]:
    """By router of these that run on several hosts, and by host: how it runs there."""
    tx, options = reading.tx, reading.settings.operator.network
    there = ha.instances(tx, router_ids)
    ids = [port_id for found in there.values() for _, port_id, _ in found]
    statement, within = select(ports), select(subnets)
    mine = list(whole(tx, ports, lambda chunk: statement.where(ports.c["id"].in_(chunk)), ids))
    found: dict[str, PortRow] = {port["id"]: port for port in mine}
    nets = {port["network_id"] for port in found.values()}
    around = Around(reading, nets, mine)
    prefixes = {
        row["id"]: row
        for row in whole(tx, subnets, lambda chunk: within.where(subnets.c["network_id"].in_(chunk)), nets)
    }
    active = pairs(tx, routers.c["id"], routers.c.host, list(there))
    return {
        router_id: {
            host: RouterHa(
                router_port(around, found[port_id], prefixes),
                number,
                options.ha_vrrp_advert_int,
                host == active[router_id],
            )
            for host, port_id, number in instances
            if port_id in found
        }
        for router_id, instances in there.items()
    }


def _forwardings(
    tx: Tx, leading: Mapping[FloatingIpId, FloatingIpRow]
) -> Mapping[str, Sequence[tuple[str, PortForwarding]]]:
    """What each router forwards, with the floating IP, in order of id; `leading` are floating IPs without a port."""
    found: dict[str, list[tuple[str, PortForwarding]]] = defaultdict(list)
    for floating_id, led in forwarded.of_floating(tx, list(leading)).items():
        floating = leading[floating_id]
        assert floating["router_id"] is not None  # by which it was found
        for row in led:
            item = PortForwarding(
                id=row["id"],
                protocol=cast('Literal["tcp", "udp", "sctp"]', row["protocol"]),
                floating_ip_address=floating["floating_ip_address"],
                external_ports=(row["external_first"], row["external_last"]),
                fixed_ip_address=row["internal_ip_address"],
                internal_ports=(row["internal_first"], row["internal_last"]),
            )
            found[floating["router_id"]].append((floating_id, item))
    for items in found.values():
        items.sort(key=lambda each: each[1].id)
    return found


def _proxying(
    tx: Tx,
    mine: Sequence[RouterRow],
    attached: Mapping[str, Sequence[PortRow]],
    prefixes: Mapping[SubnetId, SubnetRow],
    around: Around,
) -> Mapping[str, NdpProxying]:
    """For what those of the routers answer that may."""
    able = {row["id"]: row for row in mine if row["enable_ndp_proxy"] and row["gateway_network_id"] is not None}
    if not able:
        return {}
    addresses: dict[str, list[str]] = defaultdict(list)
    for each in proxied.of_routers(tx, list(able)):
        addresses[each["router_id"]].append(each["ip_address"])
    found: dict[str, NdpProxying] = {}
    for id, row in able.items():
        outside = around.scopes_of(row["gateway_network_id"])[1]
        inside = {
            prefixes[ip["subnet_id"]]["cidr"]
            for port in attached[id]
            if port["device_owner"] in ROUTER_INTERFACES and around.scopes_of(port["network_id"])[1] == outside
            for ip in port["fixed_ips"] or ()
            if ip["subnet_id"] in prefixes and prefixes[ip["subnet_id"]]["ip_version"] == 6
        }
        found[id] = NdpProxying(tuple(sorted(inside)), tuple(sorted(addresses[id])))
    return found


def _labels(tx: Tx, mine: Sequence[RouterRow]) -> Mapping[str, Sequence[MeteringLabel]]:
    """What each of the routers counts for."""
    there = metering.labels_of(tx, {row["project_id"] for row in mine})
    rules: dict[str, list[MeteringRule]] = defaultdict(list)
    for rule in metering.rules_of(tx, [label["id"] for label in there]):
        rules[rule["metering_label_id"]].append(_metering_rule(rule))
    return {
        row["id"]: [
            MeteringLabel(label["id"], tuple(rules[label["id"]]))
            for label in there
            if label["shared"] or label["project_id"] == row["project_id"]
        ]
        for row in mine
    }


def _metering_rule(row: MeteringLabelRuleRow) -> MeteringRule:
    source, destination = row["source_ip_prefix"], row["destination_ip_prefix"]
    if row["remote_ip_prefix"] is not None:
        # The older way names the addresses inside, whichever way packets go.
        is_egress = row["direction"] == "egress"
        source, destination = (row["remote_ip_prefix"], None) if is_egress else (None, row["remote_ip_prefix"])
    return MeteringRule(
        id=row["id"],
        direction="egress" if row["direction"] == "egress" else "ingress",
        source=None if source is None else str(ipaddress.ip_interface(source).network),
        destination=None if destination is None else str(ipaddress.ip_interface(destination).network),
        excluded=row["excluded"],
    )


def _dirty(touched: Touched) -> Set[str]:
    given = pairs(touched.tx, floatingips.c["id"], floatingips.c["router_id"], touched.of("floatingip")).values()
    routed = {port.device_id for port in touched.ports if port.device_owner in (*_OWNERS, HA_PORT)}
    counting = metering.routers_of(touched.tx, touched.of("metering_label"))
    return touched.of("router") | {id for id in given if id is not None} | routed | counting


PROJECTION = OnHost("router", _dirty, _build, _present, _places)
