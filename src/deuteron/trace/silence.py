"""Why nobody told where an address is: who has it did not hear the question or may not answer, or nobody has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deuteron.model.intent import IntentPort
from deuteron.net.plan import names
from deuteron.trace.catalog import Row
from deuteron.trace.hops import Dropped
from deuteron.trace.linuxbridge import GUARD_CHAINS
from deuteron.trace.objects import Cause, Objects
from deuteron.trace.packet import network, within
from deuteron.trace.walk import refuse_others
from deuteron.trace.world import Machine

_GUARD: Final = 4
SPOOF_TABLES: Final = (71, 24, 25)


class Silence:
    """`again` says the cause of where a question or an answer ended."""

    def __init__(self, objects: Objects, again: Callable[[Dropped], Cause]) -> None:
        self.objects = objects
        self._again = again
        self._deep = 0

    def cause(self, dropped: Dropped) -> Cause:
        """Nobody told where an address is: what has it does not hear the question, or nobody has it."""
        hop = dropped.rule
        asker = dropped.port_id
        if asker is not None:
            down = self.objects.down(asker)
            if down is not None:
                return down
        own = next((each for each in dropped.within if self._is_askers(each, dropped)), None)
        if own is not None and self._deep < _GUARD:
            self._deep += 1
            return self._again(own)
        there = self._networks_of(dropped)
        link = self._closed_link(dropped, there)
        if link is not None:
            return self._again(link)
        row = next((found for id in there if (found := self.objects.catalog.port_at(id, hop)) is not None), None)
        if row is not None:
            return self._silent(row, dropped)
        given = self.objects.catalog.floating_ip(hop)
        if given is not None and given["floating_network_id"] in there:
            return self._floating(given)
        if dropped.stack.startswith("guest") and hop != dropped.packet.destination:
            return self._wrong_gateway(dropped, there)
        where = " or ".join(self.objects.catalog.called("network", id) for id in there) or dropped.device
        if names.router_of(dropped.stack) is not None and hop != dropped.packet.destination:
            return Cause("no-next-hop", f"nobody on {where} answers for the next hop {hop} of {dropped.stack}")
        pairs = self._may_have(hop, there)
        return Cause(
            "no-such-address",
            f"no port of {where} has the address {hop}"
            + (f"; {pairs} may use it, and is not known to" if pairs else ""),
        )

    def _is_askers(self, each: Dropped, dropped: Dropped) -> bool:
        """Whether it is the question that ended, at who asks."""
        if each.why == "guest" and each.packet.is_resolution:
            return True
        if each.why == "host" and each.host == dropped.host and each.rule != "link":
            return True
        return (
            each.direction == "egress"
            and each.port_id is not None
            and each.port_id == dropped.port_id
            and (each.table in (*SPOOF_TABLES, 0, 60) or str(each.table).startswith(GUARD_CHAINS))
        )

    def _closed_link(self, dropped: Dropped, there: list[str]) -> Dropped | None:
        """A link that carries nothing, of the host that asks or of the one that should answer."""
        row = next((found for id in there if (found := self.objects.catalog.port_at(id, dropped.rule))), None)
        placed = self.objects.placed(str(row["id"])) if row is not None else None
        gateways = {text.split("/")[0] for each in self.objects.world.external for text in each.gateways}
        owner = placed[0].name if placed is not None else "outside" if dropped.rule in gateways else None
        if owner == dropped.host:
            return None
        ends = {dropped.host, owner} if owner is not None else {dropped.host}
        return next((each for each in dropped.within if each.rule == "link" and each.host in ends), None)

    def _networks_of(self, dropped: Dropped) -> list[str]:
        """The network of the device that asked."""
        if dropped.stack == "outside":
            return [row["id"] for row in self.objects.catalog.all("network") if row.get("router:external")]
        row = self.objects.catalog.get("port", dropped.port_id)
        return [row["network_id"]] if row is not None else []

    def _silent(self, row: Row, dropped: Dropped) -> Cause:
        """A port has the address and does not answer."""
        id = str(row["id"])
        if id == dropped.port_id:
            return Cause(
                "own-next-hop",
                f"the way to {dropped.packet.destination} leads by {dropped.rule}, which is an address of who sends: "
                f"{self.objects.port(id)}",
                "another next hop of that route",
                ("port", id),
            )
        refuse_others(self.objects.world, id)
        down = self.objects.down(id)
        if down is not None:
            return down
        off = self._dhcp_off(row)
        if off is not None:
            return off
        at = next((each for each in dropped.within if each.port_id == id), None)
        if at is not None and at.why != "neighbour" and self._deep < _GUARD:
            self._deep += 1
            return self._again(at)
        placed = self.objects.placed(id)
        for each in dropped.within:
            if placed is not None and each.why in ("host", "tunnel") and each.host == placed[0].name:
                return self._again(each)
        other = self._other_vlan(placed, dropped) if placed is not None else None
        if other is not None:
            return other
        host = placed[0].name if placed is not None else "no host"
        if (
            placed is not None
            and (asker := self.objects.placed(dropped.port_id)) is not None
            and asker[0] is not placed[0]
        ):
            return Cause(
                "between-hosts",
                f"{self.objects.port(id)} on host {host} is not reached from host {asker[0].name}: "
                "their network does not join them",
                "a physical network that both hosts have, or a type of tunnel that both speak",
                ("port", id),
            )
        return Cause(
            "silent", f"{self.objects.port(id)} on host {host} does not answer for {dropped.rule}", "", ("port", id)
        )

    def _other_vlan(self, placed: tuple[Machine, IntentPort], dropped: Dropped) -> Cause | None:
        """The question came to the host with another tag than the network has there."""
        machine, port = placed
        there = machine.network_of(port)
        if there is None or there.network_type != "vlan" or machine.name == dropped.host:
            return None
        for each in dropped.within:
            if each.why == "flow" and each.host == machine.name and each.packet.vlan not in (0, there.segmentation_id):
                return Cause(
                    "vlan",
                    f"host {machine.name} has {self.objects.catalog.called('network', there.whole_id)} in VLAN "
                    f"{there.segmentation_id}, and host {dropped.host} sends it on the trunk in {each.packet.vlan}",
                    f"the same VLAN on both hosts: deuteron diff {dropped.host}, deuteron diff {machine.name}",
                    ("network", there.whole_id),
                )
        return None

    def _dhcp_off(self, row: Row) -> Cause | None:
        if row["device_owner"] != "network:dhcp":
            return None
        there = self.objects.catalog.get("network", row["network_id"])
        if there is None or there["admin_state_up"]:
            return None
        return Cause(
            "network-down",
            f"{self.objects.catalog.called('network', there['id'])} is down (admin_state_up is false), so nobody "
            "serves its DHCP",
            f"openstack network set --enable {there['id']}",
            ("network", str(there["id"])),
        )

    def _floating(self, given: Row) -> Cause:
        address, about = given["floating_ip_address"], ("floatingip", str(given["id"]))
        if not given["port_id"]:
            return Cause(
                "no-floating-ip",
                f"floating IP {address} leads to no port",
                f"openstack floating ip set --port PORT {address}",
                about,
            )
        router = given.get("router_id")
        down = self.objects.router_down(router) if router else None
        if down is not None:
            return down
        gateway = next(
            (p for p in self.objects.catalog.ports_of(router or "") if p["device_owner"] == "network:router_gateway"),
            None,
        )
        silent = self.objects.down(gateway["id"]) if gateway is not None else None
        if silent is not None:
            return silent
        return Cause("no-floating-ip", f"no router answers for floating IP {address}", "", about)

    def _wrong_gateway(self, dropped: Dropped, there: list[str]) -> Cause:
        hop = dropped.rule
        for subnet in (each for id in there for each in self.objects.catalog.subnets_of(id)):
            if subnet["gateway_ip"] == hop:
                return Cause(
                    "no-interface",
                    f"no router has an interface with {hop}, the gateway of "
                    f"{self.objects.catalog.called('subnet', subnet['id'])}",
                    f"openstack router add subnet ROUTER {subnet['id']}",
                    ("subnet", str(subnet["id"])),
                )
        row = self.objects.catalog.get("port", dropped.port_id)
        told = next((s for id in there for s in self.objects.catalog.subnets_of(id) if _is_next_hop(s, hop)), None)
        if told is not None:
            return Cause(
                "no-next-hop",
                f"nobody has {hop}, by which a host route of {self.objects.catalog.called('subnet', told['id'])} leads "
                f"to {dropped.packet.destination}",
                f"openstack subnet unset --host-route destination=…,gateway={hop} {told['id']}",
                ("subnet", str(told["id"])),
            )
        ids = {item["subnet_id"] for item in (row or {}).get("fixed_ips") or ()}
        right = [s["gateway_ip"] for s in self.objects.catalog.all("subnet") if s["id"] in ids and s["gateway_ip"]]
        return Cause(
            "wrong-gateway",
            f"the guest sends by gateway {hop}, which nobody on its network has"
            + (f"; the gateway of its subnet is {' or '.join(right)}" if right else ""),
            "the route in the guest",
            ("port", dropped.port_id) if dropped.port_id else None,
        )

    def _may_have(self, address: str, there: list[str]) -> str:
        found = [
            self.objects.catalog.called("port", row["id"])
            for row in self.objects.catalog.all("port")
            if row["network_id"] in there
            and any(network(pair["ip_address"]).num_addresses == 1 and within(address, pair["ip_address"])
                    for pair in row.get("allowed_address_pairs") or ())
        ]  # fmt: skip
        return " and ".join(found)


def _is_next_hop(subnet: Row, address: str) -> bool:
    return any(route["nexthop"] == address for route in subnet["host_routes"] or ())
