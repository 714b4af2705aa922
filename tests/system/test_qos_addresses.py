"""QoS of floating IPs and gateways on packets: the limits hold both ways, for one address and for no other.

a, b ── br-int ── qrouter ── br-int ── br-ex ── somebody
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clouds import Cloud, wait_for
from tests.hostile import frames
from tests.hostile.client import administrator
from tests.hostile.guests import Guest, Hands, plug
from tests.system.test_qos import BURST_KBIT, PAYLOAD, RECEIVED_KBPS, SENT_KBPS, in_force, rate_kbps


@pytest.fixture(scope="module")
def firewall() -> str:
    """One of them: neither filters a gateway's port, where the limits are."""
    return "openvswitch"


@dataclass
class Outside:
    """A router with two guests, each with a floating IP; and somebody on the external network."""

    router: str
    inside: str
    """The router's MAC address in the guests' network, and on the external one."""
    outside: str
    guests: tuple[Guest, Guest]
    addresses: tuple[str, str]
    somebody: Guest

    def send(self, index: int) -> float:
        """What arrives outside of what a guest sends, in kbit/s."""
        guest = self.guests[index]
        packet = frames.udp(guest.ip, self.somebody.ip, (7777, 7777), PAYLOAD)
        raw = frames.ethernet(guest.mac, self.inside, frames.IPV4, packet)
        return rate_kbps(guest, self.somebody, raw=raw)

    def receive(self, index: int) -> float:
        """What arrives at a guest of what is sent to its floating IP."""
        packet = frames.udp(self.somebody.ip, self.addresses[index], (8888, 7777), PAYLOAD)
        raw = frames.ethernet(self.somebody.mac, self.outside, frames.IPV4, packet)
        return rate_kbps(self.somebody, self.guests[index], raw=raw)


@pytest.fixture(scope="module")
def outside(cloud: Cloud, firewall: str) -> Iterator[Outside]:
    admin = administrator(cloud.state)
    with Hands(cloud) as hands:
        neutron = cloud.connect("admin").network
        public = neutron.find_network("public")
        network = neutron.create_network(name="limited")
        subnet = neutron.create_subnet(network_id=network.id, cidr="10.89.0.0/24", ip_version=4)
        router = neutron.create_router(name="limited", external_gateway_info={"network_id": public.id})
        neutron.add_interface_to_router(router, subnet_id=subnet.id)
        open_to_all = {"port_security_enabled": False, "hybrid": firewall == "iptables_hybrid"}
        a, b = (plug(admin, hands, network.id, **open_to_all) for _ in range(2))
        somebody = plug(admin, hands, public.id, **open_to_all)
        floating = [neutron.create_ip(floating_network_id=public.id, port_id=each.id) for each in (a, b)]
        (gateway,) = neutron.ports(device_id=router.id, device_owner="network:router_gateway")
        (interface,) = neutron.ports(device_id=router.id, device_owner="network:router_interface")
        # Nobody answers for the guests when the router asks who has their addresses.
        for device, guest in ((f"qr-{interface.id[:11]}", a), (f"qr-{interface.id[:11]}", b),
                              (f"qg-{gateway.id[:11]}", somebody)):  # fmt: skip
            told = f"ip -n qrouter-{router.id} neigh replace {guest.ip} lladdr {guest.mac} dev {device} nud noarp"
            wait_for(
                "the router knows its neighbour", lambda told=told: cloud.on("aio", f"{told} && echo y", check=False)
            )
        addresses = (floating[0].floating_ip_address, floating[1].floating_ip_address)
        yield Outside(router.id, interface.mac_address, gateway.mac_address, (a, b), addresses, somebody)


def test_a_limit_of_a_floating_ip_holds_both_ways_and_for_no_other(cloud: Cloud, outside: Outside) -> None:
    wait_for("the floating IP leads inside", lambda: outside.receive(0), lambda found: found > 4 * RECEIVED_KBPS)
    cloud.ask("network qos policy create address", "admin")
    for way, kbps in (("egress", SENT_KBPS), ("ingress", RECEIVED_KBPS)):
        said = f"--type bandwidth-limit --max-kbps {kbps} --max-burst-kbits {BURST_KBIT} --{way}"
        cloud.ask(f"network qos rule create {said} address", "admin")
    cloud.openstack(f"floating ip set --qos-policy address {outside.addresses[0]}", "admin")
    in_force(cloud, [(SENT_KBPS, BURST_KBIT), (RECEIVED_KBPS, BURST_KBIT)])
    assert outside.send(0) == pytest.approx(SENT_KBPS, rel=0.25)
    assert outside.receive(0) == pytest.approx(RECEIVED_KBPS, rel=0.25)
    assert outside.send(1) > 4 * SENT_KBPS and outside.receive(1) > 4 * RECEIVED_KBPS, "the other is not limited"
    cloud.openstack(f"floating ip unset --qos-policy {outside.addresses[0]}", "admin")
    in_force(cloud, [])
    assert outside.send(0) > 4 * SENT_KBPS

    # Without a floating IP a guest is outside under the router's own address.
    gateway = "--external-gateway public --qos-policy address"
    cloud.openstack(f"router set {gateway} {outside.router}", "admin")
    in_force(cloud, [(SENT_KBPS, BURST_KBIT), (RECEIVED_KBPS, BURST_KBIT)])
    assert outside.send(1) > 4 * SENT_KBPS, "a floating IP is not the router's own address"
    cloud.openstack(f"floating ip unset --port {outside.addresses[1]}", "admin")
    wait_for("the guest is behind the router", lambda: outside.send(1), lambda found: found < 2 * SENT_KBPS)
    assert outside.send(1) == pytest.approx(SENT_KBPS, rel=0.25)
    cloud.openstack(f"router unset --qos-policy {outside.router}", "admin")
    in_force(cloud, [])
    cloud.openstack("network qos policy delete address", "admin")
