"""`reachable`: whether a packet arrives, from the objects of the APIs alone, without a look at any plan.

The second opinion about a trace. It knows networks, subnets, ports, groups, routers, floating IPs and address scopes
by what they mean to people, and nothing of bridges, tables and chains: where the two disagree, one of them is wrong, or
the plan is. What it does not know of (trunks, local IPs, port forwardings, NDP proxies, several segments) it refuses.

    a port ── its rules out ── its subnet's route ──┬─ a neighbour ── the rules in of who has the address
                                                    └─ a router: floating IPs, routes, scopes, translation ── again
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from deuteron.trace.catalog import Catalog, Row
from deuteron.trace.group_rules import is_about
from deuteron.trace.packet import ICMP, ICMP6, TCP, network, within
from deuteron.trace.unknown import Unknown

_INTERFACES = (
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
)
_GATEWAY, _DHCP = "network:router_gateway", "network:dhcp"
_AGENT_GATEWAY, _SNAT = "network:floatingip_agent_gateway", "network:router_centralized_snat"
_MOST_ROUTERS: Final = 60
_METADATA: Final = "169.254.169.254"
OUTSIDE: Final = "outside"


class Reach(NamedTuple):
    arrives: bool
    stopped_by: tuple[str, str] | None = None
    """The kind and id of the object that stops it."""
    at: str = ""
    """The id of the port where it arrives, or `outside`."""
    why: str = ""


class _Stopped(Exception):
    def __init__(self, kind: str, id: str, why: str) -> None:
        super().__init__(why)
        self.object = (kind, id)
        self.why = why


class _Packet(NamedTuple):
    source: str
    destination: str
    protocol: int
    port: int

    @property
    def is_six(self) -> bool:
        return ":" in self.destination


def reachable(
    state: Catalog,
    source: str,
    destination: str,
    protocol: int = ICMP,
    port: int = 0,
    expected: str | None = None,
) -> Reach:
    """Whether a packet of the port `source` (an id, or `outside`) arrives at the address `destination`.

    `expected` is the port that is meant; None is whoever has the address. The packet is small, its guest sends from the
    address that the cloud gave it, and all hosts do what they were told.

    Raises: Unknown for what it does not know of.
    """
    it = _Reach(state)
    try:
        at = it.send(source, destination, ICMP6 if protocol == ICMP and ":" in destination else protocol, port)
    except _Stopped as stopped:
        return Reach(False, stopped.object, why=stopped.why)
    if expected is not None and at != expected:
        return Reach(False, ("port", expected), at, "another port has the address there")
    return Reach(True, at=at)


class _Reach:
    def __init__(self, state: Catalog) -> None:
        self._state = state
        self._routers_passed = 0

    def send(self, source: str, destination: str, protocol: int, port: int) -> str:
        if source == OUTSIDE:
            return self._from_outside(destination, protocol, port)
        row = self._state.get("port", source)
        if row is None or row["device_owner"].startswith("network:"):
            raise Unknown("an end that is no guest's port", source)
        self._refuse_unknown(row)
        own = self._own_address(row, destination)
        if own is None:
            raise _Stopped("port", source, "it has no address of that family")
        packet = _Packet(own, destination, protocol, port)
        if any(item["ip_address"] == destination for item in row["fixed_ips"]):
            self._refuse_unbound(row)
            return source
        hop = self._hop_of_guest(row, packet)
        self._refuse_down(row)
        there = self._who_has(row["network_id"], hop, row)
        self._filter(row, packet, "egress")
        return self._come_to(there, row["network_id"], packet)

    # --- guests -------------------------------------------------------------------------------------------------------

    def _refuse_unknown(self, row: Row) -> None:
        if row.get("trunk_details") or row["device_owner"] == "trunk:subport":
            raise Unknown("a trunk", str(row["id"]))
        there = self._state.get("network", row["network_id"]) or {}
        if there.get("segments"):
            raise Unknown("a network with several segments", str(row["network_id"]))

    def _own_address(self, row: Row, destination: str) -> str | None:
        """Of the same family, in the same subnet before others."""
        texts = [item["ip_address"] for item in row["fixed_ips"] if (":" in item["ip_address"]) is (":" in destination)]
        near = [
            item["ip_address"]
            for item in row["fixed_ips"]
            if within(destination, self._subnet(item["subnet_id"])["cidr"])
        ]
        return next(iter([*near, *texts]), None)

    def _subnet(self, id: str) -> Row:
        found = self._state.get("subnet", id)
        assert found is not None  # a port's address is of a subnet
        return found

    def _hop_of_guest(self, row: Row, packet: _Packet) -> str:
        """The address that the guest looks for on its network."""
        subnets = [self._subnet(item["subnet_id"]) for item in row["fixed_ips"]]
        mine = [each for each in subnets if (each["ip_version"] == 6) is packet.is_six]
        if any(within(packet.destination, each["cidr"]) for each in mine):
            return packet.destination
        best: tuple[int, str] | None = None
        for each in mine:
            for prefix, hop in self._told(each, packet.destination):
                length = network(prefix).prefixlen
                if within(packet.destination, prefix) and (best is None or length > best[0]):
                    best = (length, hop)
        if best is None:
            raise _Stopped("subnet", str(mine[0]["id"]), "its guests have no way there")
        return best[1]

    def _told(self, subnet: Row, destination: str) -> Iterator[tuple[str, str]]:
        """Ways that guests of a subnet are told: prefixes and next hops."""
        if subnet["ip_version"] == 6:
            router_mac = self._advertiser(subnet)
            if router_mac is not None:
                yield "::/0", router_mac
            return
        if subnet["enable_dhcp"]:
            for other in self._state.subnets_of(subnet["network_id"]):
                if other["ip_version"] == 4 and other["enable_dhcp"] and other["id"] != subnet["id"]:
                    yield other["cidr"], destination
        gateway = subnet["gateway_ip"]
        for route in subnet["host_routes"] or ():
            if route["destination"] == "0.0.0.0/0":
                gateway = gateway or route["nexthop"]
            else:
                yield route["destination"], route["nexthop"]
        if gateway:
            yield "0.0.0.0/0", gateway

    def _advertiser(self, subnet: Row) -> str | None:
        """The id of a router's port that advertises itself on a subnet: in the place of a next hop.

        Of several, the lowest.
        """
        if not subnet["ipv6_ra_mode"]:
            return None
        for row in sorted(self._owned(*_INTERFACES), key=lambda row: str(row["id"])):
            mine = [item for item in row["fixed_ips"] if item["subnet_id"] == subnet["id"]]
            router = self._state.get("router", row["device_id"])
            if mine and router is not None and router["admin_state_up"]:
                is_gateway = any(item["ip_address"] == subnet["gateway_ip"] for item in mine)
                if is_gateway or subnet["project_id"] == row["project_id"]:
                    return str(row["id"])
        return None

    @staticmethod
    def _refuse_unbound(row: Row) -> None:
        if not _is_plugged(row):
            raise _Stopped("port", str(row["id"]), "it is plugged in nowhere")

    def _refuse_down(self, row: Row) -> None:
        if not row["admin_state_up"]:
            raise _Stopped("port", str(row["id"]), "it is down")
        self._refuse_unbound(row)
        if row["device_owner"] in (*_INTERFACES, _GATEWAY, _SNAT):
            router = self._state.get("router", row["device_id"])
            if router is None or not router["admin_state_up"]:
                raise _Stopped("router", str(row["device_id"]), "it is down")
        if row["device_owner"] == _DHCP:
            there = self._state.get("network", row["network_id"])
            served = [self._subnet(item["subnet_id"]) for item in row["fixed_ips"]]
            if there is None or not there["admin_state_up"] or not any(each["enable_dhcp"] for each in served):
                raise _Stopped("network", str(row["network_id"]), "its DHCP is off")

    def _is_used(self, row: Row) -> bool:
        """Whether a router that is up translates floating IPs where a host has its port outside."""
        for given in self._state.all("floatingip"):
            port = self._state.get("port", given["port_id"]) if given["port_id"] else None
            router = self._state.get("router", given["router_id"]) or {}
            if port is not None and router.get("distributed") and router["admin_state_up"]:
                is_near = given["floating_network_id"] == row["network_id"] and _is_plugged(port)
                if is_near and port["binding:host_id"] == row["binding:host_id"]:
                    return True
        return False

    # --- networks -----------------------------------------------------------------------------------------------------

    def _who_has(self, network_id: str, address: str, asker: Row | None) -> Row | str:
        """The port that answers for an address on a network; `outside` for its gateways."""
        owner = self._state.get("port", address) or self._state.port_at(network_id, address)
        if owner is None:
            given = self._state.floating_ip(address)
            if given is not None and given["floating_network_id"] == network_id and given["router_id"]:
                if given.get("port_forwardings"):
                    raise Unknown("port forwardings", address)
                owner = self._answers_for(given)
        routers = (row for row in self._owned(*_INTERFACES, _GATEWAY) if row["network_id"] == network_id)
        owner = owner or self._at_large(routers, address)
        if owner is not None and asker is not None and owner["id"] == asker["id"]:
            raise _Stopped("port", str(owner["id"]), "nobody else has the address")
        if owner is not None:
            self._refuse_unknown(owner)
            self._refuse_down(owner)
            if owner["device_owner"] == _AGENT_GATEWAY and address in _texts(owner) and not self._is_used(owner):
                raise _Stopped("network", network_id, "nobody has it")
            return owner
        there = self._state.get("network", network_id) or {}
        if there.get("router:external"):
            gateways = {row["gateway_ip"] for row in self._state.subnets_of(network_id)}
            if address in gateways:
                return OUTSIDE
        raise _Stopped("network", network_id, "nobody has it")

    def _answers_for(self, given: Row) -> Row | None:
        """The port of a floating IP's router, or of the host of its port where that translates it."""
        router = self._state.get("router", given["router_id"]) or {}
        port = self._state.get("port", given["port_id"])
        if router.get("distributed") and port is not None:
            for row in self._owned(_AGENT_GATEWAY):
                is_near = row["network_id"] == given["floating_network_id"]
                if is_near and row["binding:host_id"] == port["binding:host_id"] and _is_plugged(port):
                    return row
        return next((row for row in self._owned(_GATEWAY) if row["device_id"] == given["router_id"]), None)

    def _to_floating(self, packet: _Packet) -> str:
        """By the port of a host: to the router that has the floating IP, as if by its gateway."""
        given = self._state.floating_ip(packet.destination)
        assert given is not None  # by which it was found
        if not (self._state.get("router", given["router_id"]) or {}).get("admin_state_up"):
            raise _Stopped("router", str(given["router_id"]), "it is down")
        gateway = next(row for row in self._owned(_GATEWAY) if row["device_id"] == given["router_id"])
        return self._route(gateway, packet)

    def _at_large(self, ports: Iterable[Row], address: str) -> Row | None:
        """Of routers' ports, one in the IPv6 subnet whose first address it is: all there have it (RFC 4291 2.6.1)."""
        there = [
            row for row in ports for item in row["fixed_ips"]
            if ":" in address and str(network(self._subnet(item["subnet_id"])["cidr"]).network_address) == address
        ]  # fmt: skip
        return min(there, key=lambda row: str(row["id"]), default=None)

    def _come_to(self, there: Row | str, network_id: str, packet: _Packet) -> str:
        if isinstance(there, str):
            return self._leave(network_id, packet)
        if there["device_owner"] == _AGENT_GATEWAY and packet.destination not in _texts(there):
            return self._to_floating(packet)
        if there["device_owner"] in (*_INTERFACES, _GATEWAY):
            return self._route(there, packet)
        if not there["device_owner"].startswith("network:"):
            self._filter(there, packet, "ingress")
        if any(item["ip_address"] == packet.destination for item in there["fixed_ips"]):
            return str(there["id"])
        raise _Stopped("port", str(there["id"]), "it has not the address")

    def _leave(self, network_id: str, packet: _Packet) -> str:
        """Out of the cloud: what is of the cloud's own networks gets lost there."""
        for subnet in self._state.all("subnet"):
            there = self._state.get("network", subnet["network_id"]) or {}
            if within(packet.destination, subnet["cidr"]):
                if not there.get("router:external"):
                    raise _Stopped("subnet", str(subnet["id"]), "no router on the way is on it")
                if packet.destination != subnet["gateway_ip"]:
                    raise _Stopped("network", network_id, "outside has not the address")
        return OUTSIDE

    def _from_outside(self, destination: str, protocol: int, port: int) -> str:
        for subnet in self._state.all("subnet"):
            there = self._state.get("network", subnet["network_id"]) or {}
            if not there.get("router:external") or not within(destination, subnet["cidr"]):
                continue
            if not subnet["gateway_ip"] or self._state.port_at(there["id"], subnet["gateway_ip"]) is not None:
                continue
            if destination == subnet["gateway_ip"]:
                return OUTSIDE
            packet = _Packet(subnet["gateway_ip"], destination, protocol, port)
            return self._come_to(self._who_has(there["id"], destination, None), there["id"], packet)
        raise _Stopped("floatingip", "", "outside knows no way there")

    # --- rules --------------------------------------------------------------------------------------------------------

    def _filter(self, row: Row, packet: _Packet, direction: str) -> None:
        if not row["port_security_enabled"]:
            return
        if direction == "egress":
            pairs = [pair["ip_address"] for pair in row["allowed_address_pairs"] or ()]
            own = [*(item["ip_address"] for item in row["fixed_ips"]), *pairs]
            if not any(within(packet.source, text) for text in own):
                raise _Stopped("port", str(row["id"]), "it may not send from that address")
        if direction == "egress" and packet.protocol == ICMP6 and _is_filtered_on_a_bridge(row):
            return  # as Neutron's iptables firewall, which lets all of it out
        other = packet.destination if direction == "egress" else packet.source
        for id in row["security_groups"]:
            group = self._state.get("security_group", id) or {}
            if any(self._lets(rule, packet, direction, other) for rule in group.get("security_group_rules", ())):
                return
        raise _Stopped("security_group", next(iter(row["security_groups"]), ""), f"no rule lets it {direction}")

    def _lets(self, rule: Mapping[str, Any], packet: _Packet, direction: str, other: str) -> bool:
        if rule["direction"] != direction or (rule["ethertype"] == "IPv6") is not packet.is_six:
            return False
        if rule["remote_ip_prefix"] and not within(other, rule["remote_ip_prefix"]):
            return False
        if rule["remote_group_id"] and not any(within(other, text) for text in self._members(rule["remote_group_id"])):
            return False
        group = self._state.get("address_group", rule.get("remote_address_group_id"))
        if rule.get("remote_address_group_id") and (
            group is None or not any(within(other, text) for text in group["addresses"])
        ):
            return False
        return is_about(rule, packet.protocol, packet.port, is_six=packet.is_six)

    def _members(self, group_id: str) -> Iterator[str]:
        for row in self._state.all("port"):
            if group_id in (row["security_groups"] or ()):
                yield from (item["ip_address"] for item in row["fixed_ips"])
                yield from (pair["ip_address"] for pair in row["allowed_address_pairs"] or ())

    # --- routers ------------------------------------------------------------------------------------------------------

    def _owned(self, *owners: str) -> Iterator[Row]:
        return (row for row in self._state.all("port") if row["device_owner"] in owners)

    def _route(self, came: Row, packet: _Packet) -> str:
        """Through the router of the port by which it comes."""
        self._routers_passed += 1
        router = self._state.get("router", came["device_id"])
        assert router is not None  # it has a port, and is up
        id = str(router["id"])
        if self._routers_passed > _MOST_ROUTERS:
            raise _Stopped("router", id, "it goes round in circles")
        mine = (row for row in self._owned(*_INTERFACES, _GATEWAY) if row["device_id"] == id)
        ports = [row for row in mine if row["binding:host_id"] or _is_plugged(row)]
        gateway = next((row for row in ports if row["device_owner"] == _GATEWAY), None)
        info = router["external_gateway_info"] or {}
        floating = self._floating(id)
        if packet.destination == _METADATA and (packet.protocol, packet.port) == (TCP, 80) and came is not gateway:
            return str(came["id"])
        target = next((inside for outside, inside in floating.items() if outside == packet.destination), None)
        scope = self._scope(came, packet)
        if target is not None:
            if gateway is not None and self._scope_inside(ports, target) != self._scope(gateway, packet):
                scope = self._scope_inside(ports, target)
            packet = packet._replace(destination=target)
        own = next((row for row in ports if packet.destination in _texts(row)), None)
        own = own or self._at_large(ports, packet.destination)
        if own is not None or packet.destination in floating:
            if packet.protocol == TCP and packet.port == 9697:
                raise _Stopped("router", id, "its own ports are closed")
            return str((own or gateway or came)["id"])
        out, hop = self._way(router, ports, packet)
        has_four = gateway is not None and any(":" not in text for text in _texts(gateway))
        is_free = out is gateway and not packet.is_six and bool(info.get("enable_snat", True))
        outside = self._scope(gateway, packet) if gateway is not None else None
        given = next((o for o, inside in floating.items() if inside == packet.source), None)
        if given is not None and self._scope_inside(ports, packet.source) != outside:
            scope = outside if out is gateway or self._scope(out, packet) == outside else scope
        if not is_free and self._scope(out, packet) != scope:
            raise _Stopped("router", id, "its networks are in different address scopes")
        if has_four and gateway is not None and not packet.is_six and (out is gateway or target is not None):
            packet = self._translated(packet, came, out, gateway, info, given, scope, target is not None)
        there = self._who_has(out["network_id"], hop, out)
        return self._come_to(there, out["network_id"], packet)

    def _translated(
        self, packet: _Packet, came: Row, out: Row, gateway: Row, info: Mapping[str, Any], given: str | None,
        scope: str | None, is_translated: bool,
    ) -> _Packet:  # fmt: skip
        own = next(text for text in _texts(gateway) if ":" not in text)
        enabled = bool(info.get("enable_snat", True))
        outside = self._scope(gateway, packet)
        if given is not None:
            return packet._replace(source=given)
        if out is gateway and enabled and outside is not None and scope == outside:
            return packet
        if out is gateway and enabled:
            return packet._replace(source=own)
        if is_translated and came is not gateway:
            return packet._replace(source=own)
        return packet

    def _floating(self, router_id: str) -> dict[str, str]:
        """Fixed by floating IP."""
        return {
            row["floating_ip_address"]: row["fixed_ip_address"]
            for row in self._state.all("floatingip")
            if row["router_id"] == router_id and row["port_id"]
        }

    def _way(self, router: Row, ports: list[Row], packet: _Packet) -> tuple[Row, str]:
        """The port by which it leaves, and the next hop."""
        best: tuple[int, Row, str] | None = None

        def offer(prefix: str, row: Row, hop: str) -> None:
            nonlocal best
            length = network(prefix).prefixlen
            if within(packet.destination, prefix) and (best is None or length > best[0]):
                best = (length, row, hop)

        # What people say of an IPv4 prefix counts before that the router is on it.
        for route in router["routes"] or () if not packet.is_six else ():
            by = self._behind(ports, route["nexthop"])
            if by is not None:
                offer(route["destination"], by, route["nexthop"])
        for row in ports:
            for item in row["fixed_ips"]:
                offer(self._subnet(item["subnet_id"])["cidr"], row, packet.destination)
        for route in router["routes"] or () if packet.is_six else ():
            by = self._behind(ports, route["nexthop"])
            if by is not None:
                offer(route["destination"], by, route["nexthop"])
        gateway = next((row for row in ports if row["device_owner"] == _GATEWAY), None)
        if gateway is not None:
            for item in gateway["fixed_ips"]:
                hop = self._subnet(item["subnet_id"])["gateway_ip"]
                if hop and (":" in hop) is packet.is_six:
                    offer("::/0" if packet.is_six else "0.0.0.0/0", gateway, hop)
        if best is None:
            raise _Stopped("router", str(router["id"]), "it has no way there")
        self._refuse_down(self._leaves_by(best[1], packet))
        return best[1], best[2]

    def _leaves_by(self, out: Row, packet: _Packet) -> Row:
        """Instead of the gateway, the port outside of the host of who sends, where that translates its floating IP."""
        mine = (row for row in self._state.all("floatingip") if row["router_id"] == out["device_id"] and row["port_id"])
        given = next((row for row in mine if row["fixed_ip_address"] == packet.source), None)
        return out if given is None or out["device_owner"] != _GATEWAY else self._answers_for(given) or out

    def _behind(self, ports: list[Row], address: str) -> Row | None:
        prefixes = ((row, self._subnet(item["subnet_id"])["cidr"]) for row in ports for item in row["fixed_ips"])
        return next((row for row, prefix in prefixes if within(address, prefix)), None)

    def _scope(self, row: Row, packet: _Packet) -> str | None:
        there = self._state.get("network", row["network_id"]) or {}
        return there.get(f"ipv{6 if packet.is_six else 4}_address_scope")

    def _scope_inside(self, ports: list[Row], address: str) -> str | None:
        """The scope of the interface that is on the network of an IPv4 address."""
        for row in ports:
            if row["device_owner"] in _INTERFACES and any(
                within(address, self._subnet(item["subnet_id"])["cidr"]) for item in row["fixed_ips"]
            ):
                found = (self._state.get("network", row["network_id"]) or {}).get("ipv4_address_scope")
                return None if found is None else str(found)
        return None


def _is_plugged(row: Row) -> bool:
    """On a host, or wherever its router is."""
    kind = row["binding:vif_type"]
    return kind == "distributed" or (bool(row["binding:host_id"]) and kind not in ("unbound", "binding_failed"))


def _texts(row: Row) -> list[str]:
    return [item["ip_address"] for item in row["fixed_ips"]]


def _is_filtered_on_a_bridge(row: Row) -> bool:
    return row["binding:vif_type"] == "bridge" or bool(row["binding:vif_details"].get("ovs_hybrid_plug"))
