"""Why a packet did not arrive, in the words of who asked: one cause, the object that stops it, what would let it pass.

From where the walk ended (`Dropped`), the intent of that host, and the names that people gave. What is a rule of a
security group, of anti-spoofing or of a router is told by the table or chain; who does not answer for an address, by
what has it.
"""

from __future__ import annotations

from collections.abc import Callable

from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs, allowed_pairs
from deuteron.trace.catalog import Catalog
from deuteron.trace.ends import is_inside
from deuteron.trace.hops import Dropped
from deuteron.trace.linuxbridge import GUARD_CHAINS
from deuteron.trace.objects import Cause, Objects
from deuteron.trace.packet import Packet, within
from deuteron.trace.silence import SPOOF_TABLES, Silence
from deuteron.trace.walk import End, Walked
from deuteron.trace.world import World


def cause(world: World, catalog: Catalog, walked: Walked, source: End, destination: End) -> Cause | None:
    """Of the way there if it ended, else of the way back; None when the answer arrived, too."""
    if walked.there.dropped is not None:
        return _Causes(world, catalog, source, destination, walked.packet).of(walked.there.dropped)
    if walked.back is not None and walked.back.dropped is not None:
        return _Causes(world, catalog, destination, source, walked.packet, is_back=True).of(walked.back.dropped)
    return None


class _Causes:
    def __init__(
        self, world: World, catalog: Catalog, source: End, destination: End, packet: Packet, is_back: bool = False
    ) -> None:
        self.objects = Objects(world, catalog)
        self.source = source
        self.destination = destination
        self.packet = packet
        self.is_back = is_back
        self._silence = Silence(self.objects, self.of)

    def of(self, dropped: Dropped) -> Cause:
        found: dict[str, Callable[[Dropped], Cause]] = {
            "flow": self._flow,
            "rule": self._rule,
            "route": self._route,
            "forward": self._forward,
            "neighbour": self._silence.cause,
            "size": self._size,
            "hops": lambda _: Cause("loop", f"the packet goes round in circles at {dropped.stack or dropped.bridge}"),
            "host": self._host,
            "guest": self._guest,
            "bridge": self._unplugged,
            "address": self._nobody,
            "tunnel": self._tunnel,
            "elsewhere": self._elsewhere,
        }
        return found[dropped.why](dropped)

    # --- the switch ---------------------------------------------------------------------------------------------------

    def _flow(self, dropped: Dropped) -> Cause:
        port_id = dropped.port_id
        if port_id is not None:
            down = self.objects.down(port_id)
            if down is not None:
                return down
            if dropped.bridge == "br-int":
                if dropped.table in SPOOF_TABLES:
                    return self._spoofed(dropped.packet, port_id)
                if dropped.table == 72:
                    return self._group(dropped.packet, port_id, "egress")
                if dropped.table in (81, 82):
                    return self._group(dropped.packet, port_id, "ingress")
        if dropped.bridge.startswith("tbr-"):
            return Cause(
                "trunk",
                f"the trunk of {self.objects.port(port_id or '')} has no subport with VLAN {dropped.packet.vlan}",
                "openstack network trunk set --subport",
            )
        machine = self.objects.world.machines[dropped.host]
        if dropped.bridge == "br-tun":
            return Cause(
                "no-tunnel",
                f"host {dropped.host} knows no tunnel to where {dropped.packet.dst_mac} is: no other host that it "
                "reaches by a tunnel has a port of the network",
            )
        if dropped.bridge in machine.physical.values():
            return Cause(
                "provider-network",
                f"host {dropped.host} carries the network not on bridge {dropped.bridge}",
                "map the physical network of the network to a bridge of that host",
            )
        patch = dropped.device.removeprefix("int-") if dropped.device.startswith("int-") else ""
        if patch:
            return Cause(
                "vlan", f"host {dropped.host} takes no VLAN {dropped.packet.vlan} from {patch}: no network here has it"
            )
        return Cause("dropped", f"{dropped.bridge} of host {dropped.host} drops it in table {dropped.table}")

    def _spoofed(self, packet: Packet, port_id: str) -> Cause:
        placed = self.objects.placed(port_id)
        assert placed is not None  # a table of its host dropped it
        _, port = placed
        four, six = allowed_pairs(port)
        addresses = [text for _, text in (six if packet.kind == "ipv6" else four)]
        known = any(within(packet.source, text) for text in addresses)
        if packet.src_mac not in allowed_macs(port):
            what = f"MAC {packet.src_mac}"
        elif not known:
            what = f"address {packet.source}"
        else:
            what = f"{packet.words} from {packet.source}"
        own = ", ".join(addresses) or "none"
        return Cause(
            "anti-spoofing",
            f"port security of {self.objects.port(port_id)} does not let it send from {what}: its own and its allowed "
            f"address pairs are {own}",
            f"openstack port set --allowed-address ip-address={packet.source} {port_id}",
            ("port", port_id),
        )

    def _group(self, packet: Packet, port_id: str, direction: str) -> Cause:
        placed = self.objects.placed(port_id)
        groups = placed[1].security_groups if placed is not None else ()
        other = packet.source if direction == "ingress" else packet.destination
        way = f"in from {other}" if direction == "ingress" else f"out to {other}"
        if not groups:
            return Cause(
                f"security-group-{direction}",
                f"{self.objects.port(port_id)} has no security group, so nothing lets {packet.words} {way}",
                f"openstack port set --security-group GROUP {port_id}",
                ("port", port_id),
            )
        called = [self.objects.catalog.name("security_group", id) for id in groups]
        word = "security group" if len(called) == 1 else "security groups"
        verb = "has" if len(called) == 1 else "have"
        rule = _rule_command(packet, direction, other, groups[0])
        return Cause(
            f"security-group-{direction}",
            f"{word} {' and '.join(called)} of {self.objects.port(port_id)} {verb} no rule that lets "
            f"{packet.words} {way}",
            rule,
            ("security_group", groups[0]),
        )

    # --- iptables -----------------------------------------------------------------------------------------------------

    def _rule(self, dropped: Dropped) -> Cause:
        port_id = dropped.port_id
        if dropped.stack.startswith(("qbr", "brq")) and port_id is not None:
            chain = str(dropped.table)
            of_sources = {names.port_chain("s", port_id, agent) for agent in names.FIREWALL_AGENTS}
            if chain in of_sources or chain.startswith(GUARD_CHAINS):
                return self._spoofed(dropped.packet, port_id)
            if "Spoofing" in dropped.rule or "Router Advts" in dropped.rule:
                return self._spoofed(dropped.packet, port_id)
            return self._group(dropped.packet, port_id, dropped.direction)
        router_id = names.router_of(dropped.stack) or ""
        router = self.objects.catalog.called("router", router_id)
        about = ("router", router_id)
        if "neutron-l3-agent-scope" in dropped.rule:
            return Cause(
                "address-scope",
                f"{router} does not route {dropped.packet.source} to {dropped.packet.destination}: their networks are "
                "in different address scopes",
                "a floating IP, SNAT, or subnets of one address scope",
                about,
            )
        if "neutron-l3-agent-NDP" in dropped.rule:
            return Cause(
                "ndp-proxy",
                f"{router} lets in from outside only addresses with an NDP proxy, and {dropped.packet.destination} has "
                "none",
                "openstack router ndp proxy create",
                about,
            )
        return Cause("router-rule", f"{router} drops it: {dropped.rule}", "", about)

    # --- routes -------------------------------------------------------------------------------------------------------

    def _route(self, dropped: Dropped) -> Cause:
        to = dropped.packet.destination
        if dropped.stack == "outside":
            return self._unknown_outside(dropped)
        router_id = names.router_of(dropped.stack)
        if router_id is not None:
            router = self.objects.catalog.called("router", router_id)
            down = self.objects.router_down(router_id)
            if down is not None:
                return down
            if is_inside(self.objects.catalog, to) is not None:
                subnet = is_inside(self.objects.catalog, to) or {}
                return Cause(
                    "no-interface",
                    f"{router} has no interface on {self.objects.catalog.called('subnet', subnet['id'])} and no route "
                    f"to {to}",
                    f"openstack router add subnet {router_id} {subnet['id']}",
                    ("router", router_id),
                )
            return Cause(
                "no-gateway",
                f"{router} has no external gateway and no route to {to}",
                f"openstack router set --external-gateway NETWORK {router_id}",
                ("router", router_id),
            )
        port_id = self.source.port_id
        row = self.objects.catalog.get("port", port_id)
        where = self.objects.port(port_id) if port_id else dropped.stack
        subnets = [self.objects.catalog.get("subnet", item["subnet_id"]) for item in (row or {}).get("fixed_ips") or ()]
        without = next(
            (s for s in subnets if s is not None and not s["gateway_ip"] and (s["ip_version"] == 6) is (":" in to)),
            None,
        )
        if without is not None:
            return Cause(
                "no-route",
                f"{where} has no route to {to}: {self.objects.catalog.called('subnet', without['id'])} has no gateway",
                f"openstack subnet set --gateway ADDRESS {without['id']}",
                ("subnet", str(without["id"])),
            )
        if ":" in to:
            return Cause(
                "no-route",
                f"{where} has no route to {to}: no router advertises itself on its network",
                "a subnet with ipv6_ra_mode and a router with an interface on it",
            )
        return Cause("no-route", f"{where} has no route to {to}: it has no address of that family, or no gateway")

    def _unknown_outside(self, dropped: Dropped) -> Cause:
        to = dropped.packet.destination
        if self.is_back:
            routers = self._routers_without_snat(to)
            if routers:
                return Cause(
                    "snat-disabled",
                    f"the packet left with its own address {to}, as {routers} does not translate (SNAT is off) and it "
                    "has no floating IP; outside knows no way back",
                    "openstack router set --enable-snat --external-gateway NETWORK, or a floating IP",
                )
            return Cause("no-way-back", f"outside knows no way back to {to}")
        target = self.destination.about
        what = self.destination.words
        if is_inside(self.objects.catalog, to) is not None or target is not None:
            port = f" --port {self.destination.port_id}" if self.destination.port_id else ""
            return Cause(
                "no-floating-ip",
                f"{what} has no floating IP, and outside knows no way to {to}",
                f"openstack floating ip create{port} NETWORK",
                target,
            )
        return Cause("no-route", f"outside knows no way to {to}")

    def _routers_without_snat(self, address: str) -> str:
        for machine in self.objects.world.machines.values():
            for router in machine.intent.routers.values():
                inside = any(within(address, text) for port in router.interfaces for text in port.addresses)
                if inside and router.gateway is not None and not router.gateway.enable_snat:
                    return self.objects.catalog.called("router", router.id)
        return ""

    def _forward(self, dropped: Dropped) -> Cause:
        return Cause(
            "no-router", f"{dropped.stack} does not route: {dropped.packet.destination} is none of its addresses"
        )

    def _size(self, dropped: Dropped) -> Cause:
        port = self.objects.catalog.get("port", dropped.port_id)
        network_id = port["network_id"] if port is not None else None
        where = self.objects.catalog.called("network", network_id) if network_id else dropped.device
        return Cause(
            "mtu",
            f"the packet has {dropped.packet.size_bytes} bytes, and the MTU of {where} is {dropped.limit_bytes}",
            "smaller packets (the guest's MTU, path MTU discovery), or a larger MTU of the network",
            ("network", str(network_id)) if network_id else None,
        )

    # --- hosts and guests ---------------------------------------------------------------------------------------------

    def _host(self, dropped: Dropped) -> Cause:
        if dropped.rule == "link":
            to = f"to physical network {dropped.device}" if dropped.host == "outside" else dropped.device
            return Cause("link-down", f"the link of host {dropped.host} {to} carries nothing", "connect it again")
        return Cause("host-down", f"host {dropped.host} does not run", f"deuteron host start {dropped.host}")

    def _guest(self, dropped: Dropped) -> Cause:
        port = self.objects.catalog.get("port", dropped.port_id)
        server = str(port["device_id"]) if port is not None else ""
        return Cause(
            "server-off",
            f"{self.objects.catalog.called('server', server)} does not run: its state is {dropped.rule}",
            f"openstack server start {server}",
            ("server", server),
        )

    def _unplugged(self, dropped: Dropped) -> Cause:
        assert dropped.port_id is not None
        return Cause(
            "port-unbound",
            f"{self.objects.port(dropped.port_id)} has no device on host {dropped.host}",
            "",
            ("port", dropped.port_id),
        )

    def _nobody(self, dropped: Dropped) -> Cause:
        chosen = (
            hop.rule for hop in dropped.step.hops if hop.place.startswith("guest") and hop.place.endswith(" route")
        )
        route = next(chosen, "")
        if self.is_back and dropped.stack.startswith("guest") and " via " in route:
            return Cause(
                "asymmetric-route",
                f"the answer goes another way than the packet came: {self.source.words} sends it by {route} to "
                f"{self.objects.port(dropped.port_id or '')}, whose guest does not have the address "
                f"{dropped.packet.destination}",
                "openstack subnet unset --host-route destination=PREFIX,gateway=ADDRESS SUBNET; the route in the guest",
            )
        if dropped.stack.startswith("guest"):
            return Cause(
                "no-such-address",
                f"{self.objects.port(dropped.port_id or '')} gets it, and its guest does not have the address "
                f"{dropped.packet.destination}",
            )
        return Cause("nobody", f"nobody takes what is sent to {dropped.packet.dst_mac or dropped.packet.destination}")

    def _elsewhere(self, dropped: Dropped) -> Cause:
        to, catalog = dropped.packet.destination, self.objects.catalog
        if dropped.stack != "outside":
            return Cause(
                "other-address",
                f"{to} is another's there: {dropped.stack} takes it, and not {self.destination.words}",
                "a router with interfaces on both networks, and no address twice behind it",
            )
        subnet = is_inside(catalog, to)
        where = catalog.called("subnet", subnet["id"]) if subnet is not None else "the network of the destination"
        routers = [hop.about[1] for hop in dropped.step.hops if hop.about is not None and hop.about[0] == "router"]
        if not routers:
            return Cause(
                "no-interface", f"the packet leaves the cloud: no router on its way has an interface on {where}"
            )
        return Cause(
            "no-interface",
            f"{catalog.called('router', routers[-1])} has no interface on {where}: the packet leaves the cloud by its "
            "gateway",
            f"openstack router add subnet {routers[-1]} {subnet['id'] if subnet is not None else 'SUBNET'}",
            ("router", routers[-1]),
        )

    def _tunnel(self, dropped: Dropped) -> Cause:
        return Cause("no-tunnel", f"host {dropped.host} has no end of the tunnel {dropped.device}")


def _rule_command(packet: Packet, direction: str, other: str, group: str) -> str:
    words = ["openstack security group rule create", f"--{direction}"]
    if ":" in other:
        words.append("--ethertype IPv6")
    name = packet.words.split("/")[0]
    words.append(f"--protocol {packet.protocol if name.startswith('protocol') else name}")
    if "/" in packet.words:
        words.append(f"--dst-port {packet.dport}")
    return " ".join([*words, f"--remote-ip {other}/{128 if ':' in other else 32}", group])
