"""Local IPs on packets: on the host of the port to which one leads, everybody reaches that port; elsewhere, the owner.

c1: a (where it leads), b (asks), owner (has the address)     c2: far (asks)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for
from tests.hostile import frames
from tests.hostile.client import Person, administrator
from tests.hostile.guests import NET, Guest, Hands, plug

TOPOLOGY = """\
[groups]
control = ["c1"]
network = ["c1"]
compute = ["c1", "c2"]
"""
_marks = itertools.count()


@dataclass
class Scene:
    cloud: Cloud
    admin: Person
    network: str
    a: Guest
    b: Guest
    owner: Guest
    far: Guest

    def settled(self) -> None:
        for host in ("c1", "c2"):
            wait_for(
                f"{host} is as it should be",
                lambda name=host: self.cloud.run("diff", name, check=False).stdout,
                lambda text: "as it should be" in text,
            )


@pytest.fixture(scope="module")
def scene(firewall: str) -> Iterator[Scene]:
    with running("--firewall", firewall, topology=TOPOLOGY) as cloud:
        admin = administrator(cloud.state)
        with Hands(cloud, "c1") as near, Hands(cloud, "c2") as there:
            neutron = cloud.connect("admin").network
            network = neutron.create_network(name="local")
            neutron.create_subnet(network_id=network.id, cidr="10.93.0.0/24", ip_version=4)
            opened, closed = (neutron.create_security_group(name=name).id for name in ("opened", "closed"))
            neutron.create_security_group_rule(security_group_id=opened, direction="ingress", ethertype="IPv4")

            def guest(hands: Hands, host: str, group: str) -> Guest:
                values: dict[str, Any] = {"binding:host_id": host, "security_groups": [group]}
                return plug(admin, hands, network.id, hybrid=firewall == "iptables_hybrid", **values)

            # Who asks has no rule that lets anything in: answers come in because it asked.
            guests = guest(near, "c1", opened), guest(near, "c1", closed), guest(near, "c1", opened)
            found = Scene(cloud, admin, network.id, *guests, guest(there, "c2", closed))
            found.settled()
            yield found


def udp(
    sender: Guest, source: str, target: str, mac: str, payload: bytes, ports: tuple[int, int] = (7777, 53)
) -> bytes:
    return frames.ethernet(sender.mac, mac, frames.IPV4, frames.udp(source, target, ports, payload))


def addresses(seen: list[bytes], payload: bytes) -> set[tuple[str, str]]:
    """Source and destination of what came with the payload."""
    return {(_dotted(each[26:30]), _dotted(each[30:34])) for each in seen if payload in each}


def _dotted(raw: bytes) -> str:
    return ".".join(str(byte) for byte in raw)


def arrives(sender: Guest, receiver: Guest, source: str, target: str, mac: str, **more: Any) -> set[tuple[str, str]]:
    """Under which addresses a packet comes to the receiver; the first may be gone before the tap is seen."""
    payload = b"mark %d;" % next(_marks)
    found: set[tuple[str, str]] = set()

    def look() -> bool:
        sender.send(udp(sender, source, target, mac, payload, **more))
        found.update(addresses(receiver.look(), payload))
        return bool(found)

    wait_for(f"{payload!r} arrives", look, timeout_s=20)
    return found


def asks(guest: Guest, address: str) -> None:
    question = frames.arp(1, (guest.mac, guest.ip), ("00:00:00:00:00:00", address))
    guest.send(frames.ethernet(guest.mac, frames.BROADCAST, frames.ARP, question))


def answers(seen: list[bytes], address: str) -> set[str]:
    """The MACs that were said to have the address."""
    return {
        each[22:28].hex(":")
        for each in seen
        if each[12:14] == b"\x08\x06" and each[20:22] == b"\0\2" and _dotted(each[28:32]) == address
    }


def test_who_is_on_the_host_reaches_the_port_and_who_is_elsewhere_the_owner(scene: Scene) -> None:
    a, b, owner, far, local = scene.a, scene.b, scene.owner, scene.far, scene.owner.ip
    made = scene.cloud.ask(f"local ip create --local-port {owner.id} --name l1", "admin")
    assert made["local_ip_address"] == local
    assert arrives(b, owner, b.ip, local, owner.mac) == {(b.ip, local)}, "it leads nowhere yet"
    shown = scene.cloud.ask(f"local ip association create {made['id']} {a.id}", "admin")
    assert (shown["host"], shown["fixed_ip"]) == ("c1", a.ip)
    scene.settled()

    b.look()
    asks(b, local)
    wait_for("the switch answers", lambda: answers(b.look() + b.seen, local) >= {a.mac}, timeout_s=10)
    assert a.mac not in answers(far.look() + far.seen, local)
    # Whoever knew the owner's MAC before is led to the port as well.
    for mac, port in ((a.mac, 7001), (owner.mac, 7002)):
        assert arrives(b, a, b.ip, local, mac, ports=(port, 53)) == {(b.ip, a.ip)}
        assert arrives(a, b, a.ip, b.ip, b.mac, ports=(53, port)) == {(local, b.ip)}
    ping(scene, local)

    # Under its own address the port is there as before, and begins connections under it.
    assert arrives(b, a, b.ip, a.ip, a.mac, ports=(7003, 53)) == {(b.ip, a.ip)}
    assert arrives(a, b, a.ip, b.ip, b.mac, ports=(53, 7003)) == {(a.ip, b.ip)}
    assert arrives(a, owner, a.ip, local, owner.mac, ports=(7004, 53)) == {(a.ip, local)}, "the port reaches the owner"

    payload = b"far away;"
    assert arrives(far, owner, far.ip, local, owner.mac) == {(far.ip, local)}
    far.look(), asks(far, local)
    wait_for("the owner is asked", lambda: any(_asked(each, local) for each in owner.look()), timeout_s=10)
    assert a.mac not in answers(far.look() + far.seen, local)
    far.send(*[udp(far, far.ip, local, a.mac, payload)] * 3)
    arrives(far, a, far.ip, a.ip, a.mac)
    assert (far.ip, a.ip) not in addresses(a.seen, payload), "nothing is translated for who is elsewhere"

    scene.cloud.openstack(f"local ip association delete {made['id']} {a.id}", "admin")
    scene.settled()
    assert arrives(b, owner, b.ip, local, owner.mac, ports=(7001, 53)) == {(b.ip, local)}
    b.look(), a.look(), b.seen.clear()
    asks(b, local)
    wait_for("the owner is asked", lambda: any(_asked(each, local) for each in owner.look()), timeout_s=10)
    assert not answers(b.look() + b.seen, local)
    scene.cloud.openstack(f"local ip delete {made['id']}", "admin")


def ping(scene: Scene, local: str) -> None:
    a, b = scene.a, scene.b
    data = b"ping %d;" % next(_marks)
    seen: set[tuple[str, str]] = set()

    def there() -> bool:
        b.send(frames.ethernet(b.mac, a.mac, frames.IPV4, frames.echo(b.ip, local, data)))
        return (b.ip, a.ip) in addresses(a.look(), data)

    def back() -> bool:
        a.send(frames.ethernet(a.mac, b.mac, frames.IPV4, frames.echo(a.ip, b.ip, data, is_answer=True)))
        seen.update(addresses(b.look(), data))
        return bool(seen)

    wait_for("the ping arrives", there, timeout_s=10)
    wait_for("its answer does", back, timeout_s=10)
    assert seen == {(local, b.ip)}


def _asked(frame: bytes, address: str) -> bool:
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and _dotted(frame[38:42]) == address


def test_passed_through_packets_keep_the_address_and_other_hosts_hear_nothing_of_it(scene: Scene) -> None:
    a, b, far = scene.a, scene.b, scene.far
    made = scene.cloud.ask(f"local ip create --network {scene.network} --ip-mode passthrough", "admin")
    local = made["local_ip_address"]
    pairs = {"port": {"allowed_address_pairs": [{"ip_address": local}]}}
    scene.admin.expect("PUT", f"{NET}/ports/{a.id}", pairs)
    scene.cloud.openstack(f"local ip association create {made['id']} {a.id}", "admin")
    scene.settled()
    asks(b, local)
    wait_for("the switch answers", lambda: answers(b.look() + b.seen, local) == {a.mac}, timeout_s=10)
    assert arrives(b, a, b.ip, local, a.mac, ports=(7005, 53)) == {(b.ip, local)}
    assert arrives(a, b, local, b.ip, b.mac, ports=(53, 7005)) == {(local, b.ip)}

    said = frames.arp(2, (a.mac, local), (far.mac, far.ip))
    asked = frames.arp(1, (a.mac, local), ("00:00:00:00:00:00", far.ip))
    far.look(), far.seen.clear()
    a.send(
        frames.ethernet(a.mac, far.mac, frames.ARP, said), frames.ethernet(a.mac, frames.BROADCAST, frames.ARP, asked)
    )
    wait_for("it is asked by the port's own address", lambda: any(_asked(each, far.ip) for each in far.look()))
    heard = {_dotted(each[28:32]) for each in far.seen if each[12:14] == b"\x08\x06" and each[6:12].hex(":") == a.mac}
    assert heard == {a.ip}
    scene.cloud.openstack(f"local ip association delete {made['id']} {a.id}", "admin")
    scene.cloud.openstack(f"local ip delete {made['id']}", "admin")
    scene.admin.expect("PUT", f"{NET}/ports/{a.id}", {"port": {"allowed_address_pairs": []}})
    scene.settled()
