"""Trunks on packets: a device reaches the parent's network without a tag and a subport's with its tag, and no other.

guest (parent and subport) ── tap… ── tbr-… ═ br-int ── tap… ── a (parent's network), b (subport's network)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.clouds import Cloud, wait_for
from tests.hostile import frames
from tests.hostile.client import Person, administrator
from tests.hostile.guests import NET, Guest, Hands, plug, until

TAG, OTHER_TAG = 100, 200
_marks = itertools.count()


@dataclass
class Scene:
    """The guest's two ports (one device), and a guest on each of their networks."""

    cloud: Cloud
    admin: Person
    hands: Hands
    parent: Guest
    sub: Guest
    a: Guest
    b: Guest
    trunk: str
    is_hybrid: bool

    @property
    def bridge(self) -> str:
        return f"tbr-{self.trunk}"[:14]

    def status(self) -> str:
        return str(self.admin.get(f"{NET}/trunks/{self.trunk}")["trunk"]["status"])

    def ports(self) -> list[str]:
        return sorted(self.cloud.on("aio", f"ovs-vsctl list-ports {self.bridge}").split())

    def settled(self) -> None:
        wait_for("the trunk is active", self.status, lambda said: said == "ACTIVE", timeout_s=20)
        as_wanted(self.cloud)


@pytest.fixture(scope="module")
def scene(cloud: Cloud, firewall: str) -> Iterator[Scene]:
    admin = administrator(cloud.state)
    is_hybrid = firewall == "iptables_hybrid"
    with Hands(cloud) as hands:
        neutron = cloud.connect("admin").network
        networks = []
        for name, cidr in (("untagged", "10.91.0.0/24"), ("tagged", "10.92.0.0/24")):
            networks.append(neutron.create_network(name=name))
            neutron.create_subnet(network_id=networks[-1].id, cidr=cidr, ip_version=4)
        parent, sub = (guest(hands, neutron.create_port(network_id=network.id)) for network in networks)
        said = f"port={sub.id},segmentation-type=vlan,segmentation-id={TAG}"
        trunk = cloud.ask(f"network trunk create t1 --parent-port {parent.id} --subport {said}", "admin")
        assert trunk["status"] == "DOWN"
        a, b = (plug(admin, hands, network.id, hybrid=is_hybrid) for network in networks)
        found = Scene(cloud, admin, hands, parent, sub, a, b, trunk["id"], is_hybrid)
        plug_in(found)
        yield found


def as_wanted(cloud: Cloud) -> None:
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)


def guest(hands: Hands, port: Any) -> Guest:
    return Guest(hands, port.id, port.mac_address, tuple(item["ip_address"] for item in port.fixed_ips))


def plug_in(scene: Scene) -> None:
    """Bind the parent as a server's port is, and open its device."""
    parent = scene.parent
    values = {"binding:host_id": "aio", "device_owner": "compute:nova", "device_id": "a-guest"}
    scene.admin.expect("PUT", f"{NET}/ports/{parent.id}", {"port": values})
    name = f"{'qbr' if scene.is_hybrid else 'tap'}{parent.id[:11]}"
    until(f"{name} is there", lambda: "does not exist" not in scene.hands.run("ip", "link", "show", name))
    scene.hands.do(open=parent.tap, bridge=name if scene.is_hybrid else None)
    scene.settled()


def frame(sender: Guest, receiver: Guest, payload: bytes, tag: int | None = None, *, number: int = 7777) -> bytes:
    packet = frames.udp(sender.ip, receiver.ip, (number, number), payload)
    plain = frames.ethernet(sender.mac, receiver.mac, frames.IPV4, packet)
    return plain if tag is None else plain[:12] + b"\x81\x00" + tag.to_bytes(2, "big") + plain[12:]


def tags_of(seen: list[bytes], payload: bytes) -> list[int | None]:
    """The tag with which each frame of this payload came."""
    return [
        int.from_bytes(each[14:16], "big") & 0xFFF if each[12:14] == b"\x81\x00" else None
        for each in seen
        if payload in each
    ]


def reaches(sender: Guest, receiver: Guest, *, out: int | None = None, back: int | None = None) -> None:
    """A packet sent with the tag `out` arrives with the tag `back`; the first may be gone before the tap is seen."""
    payload = b"mark %d;" % next(_marks)
    found: list[int | None] = []

    def look() -> bool:
        sender.send(frame(sender, receiver, payload, out))
        found.extend(tags_of(receiver.look(), payload))
        return bool(found)

    wait_for(f"{payload!r} arrives", look, timeout_s=20)
    assert set(found) == {back}


def test_each_port_of_the_device_reaches_its_own_network(scene: Scene) -> None:
    parent, sub, a, b = scene.parent, scene.sub, scene.a, scene.b
    device = replace(sub, id=parent.id)  # what comes for the subport comes to the parent's device
    reaches(parent, a)
    reaches(a, parent)
    reaches(device, b, out=TAG)
    reaches(b, device, back=TAG)

    # Neither with the other's tag, nor with one of nobody.
    wrong = [b"wrong %d;" % number for number in range(4)]
    parent.send(
        frame(parent, a, wrong[0], TAG),
        frame(sub, b, wrong[1]),
        frame(sub, b, wrong[2], OTHER_TAG),
        frame(parent, b, wrong[3], TAG),  # with the parent's addresses on the subport's network
    )
    a.look(), b.look()
    reaches(parent, a)
    reaches(device, b, out=TAG)
    seen = b"".join(a.seen + b.seen)
    assert not [payload for payload in wrong if payload in seen]


def test_groups_of_a_subport_hold_for_it_alone(scene: Scene) -> None:
    parent, a, b = scene.parent, scene.a, scene.b
    device = replace(scene.sub, id=parent.id)
    neutron = scene.cloud.connect("admin").network
    closed = neutron.create_security_group(name="closed")
    before = neutron.get_port(scene.sub.id).security_group_ids
    everybody = {"direction": "ingress", "ethertype": "IPv4"}
    opened = neutron.create_security_group_rule(security_group_id=before[0], **everybody)
    scene.cloud.openstack(f"port set --no-security-group --security-group {closed.id} {scene.sub.id}", "admin")
    scene.settled()
    refused = b"refused;"
    b.send(*[frame(b, scene.sub, refused, number=7778)] * 3)  # no answer to what the guest has sent
    reaches(a, parent)
    reaches(device, b, out=TAG)
    assert not tags_of(parent.look() + parent.seen + device.seen, refused)
    neutron.update_port(scene.sub.id, security_groups=before)
    neutron.delete_security_group_rule(opened)
    scene.settled()
    reaches(b, device, back=TAG)


def test_subports_come_and_go_while_the_guest_runs(scene: Scene) -> None:
    parent, sub, a, b = scene.parent, scene.sub, scene.a, scene.b
    device = replace(sub, id=parent.id)
    end = sub.id[:11]
    device_port = f"{'qvo' if scene.is_hybrid else 'tap'}{parent.id[:11]}"
    assert scene.ports() == sorted([device_port, f"tpt-{parent.id[:11]}", f"spt-{end}"])
    assert scene.cloud.on("aio", f"ovs-vsctl get Port spt-{end} tag").strip() == str(TAG)

    scene.cloud.openstack(f"network trunk unset --subport {sub.id} t1", "admin")
    wait_for("the subport is gone", scene.ports, lambda names: f"spt-{end}" not in names)
    scene.settled()
    gone = b"gone;"
    parent.send(*[frame(sub, b, gone, TAG)] * 3)
    reaches(parent, a)
    assert not tags_of(b.look() + b.seen, gone)
    shown = scene.admin.get(f"{NET}/ports/{sub.id}")["port"]
    assert (shown["status"], shown["binding:vif_type"]) == ("DOWN", "unbound")

    said = f"port={sub.id},segmentation-type=vlan,segmentation-id={OTHER_TAG}"
    scene.cloud.openstack(f"network trunk set --subport {said} t1", "admin")
    scene.settled()
    reaches(device, b, out=OTHER_TAG)
    reaches(b, device, back=OTHER_TAG)

    # What somebody took from the switch is put back.
    scene.cloud.on("aio", f"ovs-vsctl del-port tpt-{parent.id[:11]} -- del-port spt-{end}")
    wait_for("both are back", scene.ports, lambda names: len(names) == 3)
    scene.settled()
    reaches(parent, a)
    reaches(device, b, out=OTHER_TAG)


def test_a_trunk_goes_when_its_parent_is_unplugged(scene: Scene) -> None:
    refused = scene.cloud.openstack("network trunk delete t1", "admin", check=False)
    assert refused.returncode != 0 and "currently in use" in refused.stderr
    scene.admin.expect("PUT", f"{NET}/ports/{scene.parent.id}", {"port": {"binding:host_id": ""}})
    bridges = "ovs-vsctl list-br"
    wait_for("no trunk bridge", lambda: scene.cloud.on("aio", bridges), lambda found: "tbr-" not in found)
    assert scene.status() == "DOWN"
    left = scene.cloud.on("aio", "ovs-vsctl list-ports br-int")
    assert scene.parent.id[:11] not in left and scene.sub.id[:11] not in left
    as_wanted(scene.cloud)
    scene.cloud.openstack("network trunk delete t1", "admin")
    for port_id in (scene.parent.id, scene.sub.id):
        scene.admin.expect("DELETE", f"{NET}/ports/{port_id}")
