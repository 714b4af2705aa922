"""Address groups on packets: a change of the group opens and closes a port that names it, with either firewall.

a (in the group, or not) ── tap… ── br-int ── tap… ── b (lets in what is in the group)
"""

from __future__ import annotations

from tests.clouds import Cloud, wait_for
from tests.hostile import frames
from tests.hostile.client import administrator
from tests.hostile.guests import Guest, Hands, plug

_BROADCAST = "ff:ff:ff:ff:ff:ff"


def arrives(sender: Guest, receiver: Guest) -> bool:
    """Whether a datagram comes before a question by ARP, which passes whatever the rules say and was sent after it."""
    packet = frames.ethernet(
        sender.mac, receiver.mac, frames.IPV4, frames.udp(sender.ip, receiver.ip, (7777, 7777), b"let me in")
    )
    question = frames.arp(1, (sender.mac, sender.ip), (_BROADCAST, receiver.ip))
    seen: list[bytes] = []

    def asked() -> bool:
        seen.extend(receiver.look())
        return any(each[12:14] == b"\x08\x06" for each in seen)

    receiver.look()  # what came before is of another time
    sender.send(packet, frames.ethernet(sender.mac, _BROADCAST, frames.ARP, question))
    wait_for("the question arrives", asked, timeout_s=20)
    return any(each[12:14] == b"\x08\x00" and each[36:38] == (7777).to_bytes(2, "big") for each in seen)


def test_a_port_lets_in_what_is_in_the_group_and_only_as_long(cloud: Cloud, firewall: str) -> None:
    admin = administrator(cloud.state)
    neutron = cloud.connect("admin").network
    with Hands(cloud) as hands:
        network = neutron.create_network(name="addresses")
        neutron.create_subnet(network_id=network.id, cidr="10.89.0.0/24", ip_version=4)
        listed = neutron.create_address_group(name="listed", addresses=["192.0.2.0/24"])
        guarded = neutron.create_security_group(name="guarded")
        neutron.create_security_group_rule(
            security_group_id=guarded.id, direction="ingress", remote_address_group_id=listed.id
        )
        is_hybrid = firewall == "iptables_hybrid"
        a = plug(admin, hands, network.id, hybrid=is_hybrid)
        b = plug(admin, hands, network.id, hybrid=is_hybrid, security_groups=[guarded.id])

        def in_force() -> None:
            wait_for("all is there", lambda: cloud.run("diff", check=False).stdout, lambda said: "as it should" in said)

        in_force()
        wait_for("frames pass both taps", lambda: arrives(a, b) is False, timeout_s=30)
        for addresses in ([f"{a.ip}/32"], ["10.89.0.0/25", "10.0.0.0/8"]):
            neutron.add_addresses_to_address_group(listed, addresses)
            wait_for("what is in the group comes in", lambda: arrives(a, b), timeout_s=20)
            neutron.remove_addresses_from_address_group(listed, addresses)
            wait_for("what left it does not", lambda: not arrives(a, b), timeout_s=20)
            in_force()
            assert not arrives(a, b), "not as a part of a connection either"
