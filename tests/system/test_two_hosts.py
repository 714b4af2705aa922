"""A cloud of three hosts: what differs from one host is what crosses the wires between them.

net1 (network)      c1 (compute)        c2 (compute)
qdhcp, qrouter      guest one           guest two
   │ │                 │ │                 │ │
   │ └── VLAN ─────────┼─┴── eth2 trunk ───┼─┘
   └──── VXLAN ────────┴──── eth1, tunnels ┘
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
"""
KINDS = ("vlan", "vxlan")
PREFIX = {"vlan": "10.80.0", "vxlan": "10.81.0"}


@pytest.fixture(scope="module")
def hosts() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


@pytest.fixture(scope="module")
def guests(hosts: Cloud) -> dict[str, Any]:
    """One guest on each compute host, each with a port in a VLAN and in a VXLAN network; keyed by host."""
    admin = hosts.connect("admin")
    group = next(iter(admin.network.security_groups(name="default", project_id=admin.current_project_id)))
    admin.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="icmp", ethertype="IPv4"
    )
    networks = []
    for kind in KINDS:
        network = admin.network.create_network(name=kind, provider_network_type=kind)
        admin.network.create_subnet(network_id=network.id, name=kind, cidr=f"{PREFIX[kind]}.0/24", ip_version=4)
        networks.append({"uuid": network.id})
    image = admin.image.find_image("tiny", ignore_missing=False)
    flavor = admin.compute.find_flavor("m1.nano", ignore_missing=False)

    def boot(host: str, user_data: str = "") -> Any:
        server = admin.compute.create_server(
            name=host,
            image_id=image.id,
            flavor_id=flavor.id,
            networks=networks,
            availability_zone=f"nova:{host}",
            user_data=base64.b64encode(user_data.encode()).decode(),
        )
        return admin.compute.wait_for_server(server, wait=90, interval=0.2)

    first = boot("c1")
    pings = [f"ping -c 3 -W 5 {_address(first, kind)} >/dev/console 2>&1" for kind in KINDS]
    return {"c1": first, "c2": boot("c2", "\n".join(["#!/bin/sh", *pings, "echo test: pings done >/dev/console"]))}


def test_the_guests_run_where_they_were_asked_to(guests: dict[str, Any]) -> None:
    assert {server.hypervisor_hostname or server.compute_host for server in guests.values()} == {"c1", "c2"}


@pytest.mark.parametrize("kind", KINDS)
def test_guests_on_other_hosts_get_their_addresses_and_answer(hosts: Cloud, guests: dict[str, Any], kind: str) -> None:
    for server in guests.values():
        wait_for(f"{server.name} answers over {kind}", lambda s=server: _pings(hosts, kind, _address(s, kind)))


def test_guests_reach_each_other_across_hosts_by_the_rules_of_their_common_group(
    hosts: Cloud, guests: dict[str, Any]
) -> None:
    compute = hosts.connect("admin").compute
    console = wait_for(
        "the pings are done",
        lambda: str(compute.get_server_console_output(guests["c2"], length=400)["output"]),
        lambda text: "test: pings done" in text,
    )
    for kind in KINDS:
        assert f"64 bytes from {_address(guests['c1'], kind)}" in console, kind


def test_a_guest_of_another_host_is_reached_through_the_tunnel_of_its_mac(hosts: Cloud, guests: dict[str, Any]) -> None:
    mac = guests["c1"].addresses["vxlan"][0]["OS-EXT-IPS-MAC:mac_addr"]

    def flows() -> str:
        return hosts.on("net1", f"ovs-ofctl --no-names dump-flows br-tun table=20,dl_dst={mac}")

    planned = rf"priority=2,dl_vlan=\d+,dl_dst={mac} actions=strip_vlan,load:0x\w+->NXM_NX_TUN_ID"
    assert re.search(planned, flows())
    # The datapath tells the switch what it counted a moment later.
    wait_for("the ping above went this way", flows, lambda seen: re.search(r"n_packets=[1-9]", seen) is not None)
    assert "learn(table=20" in hosts.on("net1", "ovs-ofctl dump-flows br-tun table=10")
    tunnels = hosts.on("net1", "ovs-vsctl --bare --columns=options find Interface type=vxlan")
    assert "remote_ip=172.31.0.11" in tunnels
    assert "remote_ip=172.31.0.12" in tunnels


def test_tunnels_carry_again_after_the_switch_was_killed(hosts: Cloud, guests: dict[str, Any]) -> None:
    address = _address(guests["c2"], "vxlan")
    wait_for("it answers", lambda: _pings(hosts, "vxlan", address))
    hosts.on("net1", "kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)")
    wait_for("the tunnel address is back", lambda: "172.31.0.10/16" in hosts.on("net1", "ip address show br-eth1"))
    wait_for("it answers again", lambda: _pings(hosts, "vxlan", address), timeout_s=20)


def test_a_guest_that_migrates_keeps_its_disk_and_its_addresses(hosts: Cloud, guests: dict[str, Any]) -> None:
    compute, guest = hosts.connect("admin").compute, guests["c1"]

    def host_key() -> str:
        text = str(compute.get_server_console_output(guest, length=400)["output"])
        return text.rpartition("host key ")[2].split()[0] if "host key " in text else ""

    before = wait_for("it made a key", host_key)
    compute.migrate_server(guest)
    compute.wait_for_server(guest, status="VERIFY_RESIZE", wait=90, interval=0.2)
    assert compute.get_server(guest).compute_host == "c2"
    assert wait_for("it speaks on its new host", host_key, timeout_s=60) == before, "the key is on its disk"
    compute.confirm_server_resize(guest)
    compute.wait_for_server(guest, wait=30, interval=0.2)
    for kind in KINDS:
        wait_for(f"it answers over {kind}", lambda k=kind: _pings(hosts, k, _address(guest, k)), timeout_s=60)
    folder = f"{hosts.state}/hosts/c1/instances"
    wait_for("nothing is left", lambda: guest.id not in hosts.on("net1", f"ls {folder}", check=False))


def _address(server: Any, kind: str) -> str:
    return str(server.addresses[kind][0]["addr"])


def _pings(hosts: Cloud, kind: str, address: str) -> bool:
    """Whether `address` answers to the DHCP namespace of the network of this kind, on the network host."""
    script = f"""for n in $(ip netns list | cut -d" " -f1); do
        ip netns exec $n ip -4 address | grep -q "{PREFIX[kind]}." && ip netns exec $n ping -c 1 -W 1 {address}
    done"""
    return "1 received" in hosts.on("net1", script, check=False)


# --- the exercises of the documents that this project was created from, word for word ---------------------------------


def test_namespaces_and_ports_made_by_hand_as_in_the_exercise(hosts: Cloud) -> None:
    """SEEDS OV-09, NM-01, NM-02."""
    assert hosts.on("c1", "ip netns add my-ns; ip netns list").split() == ["my-ns"]
    assert re.findall(r"^(\S+?):? ", hosts.on("c1", "ip netns exec my-ns ifconfig -a"), re.MULTILINE) == ["lo"]
    hosts.on("c1", "ovs-vsctl add-br my-bridge")
    hosts.on("c1", "ovs-vsctl add-port my-bridge my-port", check=False)
    hosts.on("c1", "ovs-vsctl set Interface my-port type=internal")
    hosts.on("c1", "ip link set my-port netns my-ns")
    inside = hosts.on("c1", "ip netns exec my-ns ifconfig -a")
    assert re.findall(r"^(\S+?):? ", inside, re.MULTILINE) == ["lo", "my-port"] and "mtu 1500" in inside
    shown = hosts.on("c1", "ovs-vsctl show")
    assert re.search(r"Bridge my-bridge\n +datapath_type: netdev\n", shown) and "error" not in shown, shown
    # A bridge of a person is no difference from what should be, and stays.
    assert hosts.run("diff", "c1").returncode == 0
    hosts.on("c1", "ovs-vsctl del-br my-bridge; ip netns del my-ns")


def test_a_linux_bridge_and_a_pair_made_by_hand_reach_the_other_host(hosts: Cloud) -> None:
    """SEEDS LB-04, LB-05, LB-06: the same on two hosts, which the provider network joins."""
    for host, address in (("c1", "50.50.50.50"), ("c2", "50.50.50.51")):
        for command in (
            "ip link add veth0 type veth peer name veth1",
            "ifconfig -a",
            "brctl addbr br-eth3",
            "brctl addif br-eth3 eth3",
            "brctl addif br-eth3 veth1",
            f"ifconfig veth0 {address}",
            # Where the document's distribution brings new links up by itself, Debian's does not.
            "ip link set veth1 up; ip link set br-eth3 up",
        ):
            hosts.on(host, command)
    shown = [line.split() for line in hosts.on("c1", "brctl show").splitlines()]
    start = next(number for number, words in enumerate(shown) if words[0] == "br-eth3")
    assert (shown[start][2:], shown[start + 1]) == (["no", "eth3"], ["veth1"])
    ping = "ping -c 2 -W 2 -I veth0 50.50.50.51"
    answer = wait_for("the other host answers", lambda: hosts.on("c1", f"{ping} || true"), lambda s: "ttl=64" in s)
    assert "64 bytes from 50.50.50.51: icmp_seq=1 ttl=64" in answer
    (index,) = re.findall(r"peer_ifindex: (\d+)", hosts.on("c1", "ethtool -S veth1"))
    assert re.search(
        rf"^{index}: veth0@\S+: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500", hosts.on("c1", "ip link"), re.M
    )
    for host in ("c1", "c2"):
        hosts.on(host, "ip link del veth0; ip link del br-eth3")
