"""What a person breaks by hand is shown in words, mended within 5 s, and logged with what was wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clouds import Cloud, wait_for

pytestmark = pytest.mark.usefixtures("cloud")

MENDED_WITHIN_S = 5.0


@dataclass(frozen=True)
class Damage:
    """`hurt` breaks something on the host, `is_whole` succeeds when it is not broken, `words` is how it is called.

    In commands and words, names in braces stand for what the cloud of the test has.
    """

    what: str
    hurt: str
    is_whole: str
    words: str
    is_noticed_at_once: bool = False
    """Open vSwitch's database tells the agent by itself: it is mended before anybody could ask."""


_NAT = "ip netns exec {router} iptables-save -t nat"
DAMAGES = (
    Damage("a flow", "ovs-ofctl -O OpenFlow13 del-flows br-int table=60",
           "ovs-ofctl -O OpenFlow13 dump-flows br-int table=60 | grep -q priority",
           "missing: flow on br-int: table=60"),
    Damage("a flow too many", "ovs-ofctl add-flow br-int table=0,priority=9,ip,nw_dst=192.0.2.1,actions=drop",
           "! ovs-ofctl dump-flows br-int | grep -q 192.0.2.1",
           "unwanted: flow on br-int: table=0,priority=9,ip,nw_dst=192.0.2.1 actions=drop"),
    Damage("a port", "ovs-vsctl del-port {dhcp_device}", "ovs-vsctl port-to-br {dhcp_device}",
           "missing: port {dhcp_device} on br-int", is_noticed_at_once=True),
    Damage("a tap", "ip link del {tap}", "ovs-vsctl get Interface {port} ofport | grep -qv -- -1 && ip link show {tap}",
           "{tap}", is_noticed_at_once=True),
    Damage("an address", "ip -n {router} addr del 10.81.0.1/24 dev {gateway_device}",
           "ip -n {router} -o addr | grep -q 10.81.0.1/24",
           "missing: address 10.81.0.1/24 on {gateway_device} in {router}"),
    Damage("an address too many", "ip -n {router} addr add 198.51.100.7/32 dev {gateway_device}",
           "! ip -n {router} -o addr | grep -q 198.51.100.7",
           "unwanted: address 198.51.100.7/32 on {gateway_device} in {router}"),
    Damage("a route", "ip -n {router} route del default", "ip -n {router} route | grep -q '^default via 172.24.4.1'",
           "missing: route 0.0.0.0/0 via 172.24.4.1"),
    Damage("a rule", "ip netns exec {router} iptables -t nat -D neutron-l3-agent-PREROUTING 1",
           f"test $({_NAT} | grep -c -- '-A neutron-l3-agent-PREROUTING') = {{rules}}",
           "differs: iptables nat rules in {router}; actual: lacks -A neutron-l3-agent-PREROUTING"),
    Damage("a setting", "ip netns exec {router} sysctl -qw net.ipv4.ip_forward=0",
           "ip netns exec {router} sysctl -n net.ipv4.ip_forward | grep -q 1",
           "differs: setting net.ipv4.ip_forward=1 in {router}"),
    Damage("a dnsmasq", "kill -9 $(cat {state}/dhcp/{network}/pid)",
           "kill -0 $(cat {state}/dhcp/{network}/pid)", "missing: dnsmasq of network {network}"),
    Damage("a file of dnsmasq", "echo >> {state}/dhcp/{network}/host",
           "test -z \"$(grep '^$' {state}/dhcp/{network}/host)\"", "dnsmasq of network {network}"),
    Damage("the router's namespace", "ip netns del {router}", "ip -n {router} -o addr | grep -q 10.81.0.1/24",
           "missing: namespace {router}"),
    Damage("the DHCP namespace", "ip netns del {dhcp}", "ip -n {dhcp} -o addr | grep -q 10.81.0.3/24",
           "missing: namespace {dhcp}"),
)  # fmt: skip


@pytest.fixture(scope="module")
def names(cloud: Cloud) -> dict[str, Any]:
    """A network with DHCP, a router with a floating IP, and a port that Nova might have made."""
    admin = cloud.connect("admin")
    network = admin.network.create_network(name="drift")
    subnet = admin.network.create_subnet(network_id=network.id, cidr="10.81.0.0/24", ip_version=4)
    public = admin.network.find_network("public")
    router = admin.network.create_router(name="drift", external_gateway_info={"network_id": public.id})
    interface = admin.network.add_interface_to_router(router, subnet_id=subnet.id)
    port = admin.network.create_port(
        network_id=network.id, device_owner="compute:nova", device_id="x", binding_host_id="aio"
    )
    admin.network.create_ip(floating_network_id=public.id, port_id=port.id)
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)
    dhcp_port = next(admin.network.ports(network_id=network.id, device_owner="network:dhcp"))
    found = {
        "network": network.id, "router": f"qrouter-{router.id}", "dhcp": f"qdhcp-{network.id}",
        "tap": f"tap{port.id[:11]}", "gateway_device": f"qr-{interface['port_id'][:11]}",
        "dhcp_device": f"tap{dhcp_port.id[:11]}", "state": f"{cloud.state}/hosts/aio",
    }  # fmt: skip
    is_hybrid = cloud.on("aio", f"ovs-vsctl port-to-br qvo{port.id[:11]}", check=False).strip() == "br-int"
    found["port"] = f"{'qvo' if is_hybrid else 'tap'}{port.id[:11]}"
    if is_hybrid:
        found["tap"] = f"qvb{port.id[:11]}"
    count = cloud.on("aio", _NAT.format(**found) + " | grep -c -- '-A neutron-l3-agent-PREROUTING'")
    return {**found, "rules": count.strip()}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what.replace(" ", "-"))
def test_damage_is_shown_in_words_mended_and_logged(cloud: Cloud, names: dict[str, Any], damage: Damage) -> None:
    hurt, is_whole, words = (text.format(**names) for text in (damage.hurt, damage.is_whole, damage.words))
    log = cloud.state / "log" / "aio-agent.log"
    size = log.stat().st_size
    assert _is_whole(cloud, is_whole), "the test's own look at the host is wrong"
    cloud.on("aio", hurt)
    begun = time.monotonic()
    shown = cloud.run("diff", check=False)
    if not damage.is_noticed_at_once:
        assert shown.returncode == 1 or "drift mended" in log.read_text()[size:], "the damage was not seen"
        if shown.returncode == 1:
            assert words in shown.stdout
    wait_for(f"{damage.what} is mended", lambda: _is_whole(cloud, is_whole), timeout_s=MENDED_WITHIN_S)
    print(f"{damage.what}: mended {time.monotonic() - begun:.2f} s after it was broken")
    wait_for("the log says what was wrong", lambda: log.read_text()[size:],
             lambda text: any("drift mended" in line and words in line for line in text.splitlines()),
             timeout_s=MENDED_WITHIN_S)  # fmt: skip
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)


def test_damage_that_nobody_asks_about_is_mended_in_time(cloud: Cloud, names: dict[str, Any]) -> None:
    chosen = [damage for damage in DAMAGES if "namespace" not in damage.what]
    cloud.on("aio", "\n".join(damage.hurt.format(**names) for damage in chosen))
    begun = time.monotonic()
    looks = " && ".join(f"( {damage.is_whole.format(**names)} )" for damage in chosen)
    wait_for("all of it is mended", lambda: _is_whole(cloud, looks), timeout_s=MENDED_WITHIN_S)
    print(f"{len(chosen)} damages at once: mended {time.monotonic() - begun:.2f} s after")
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)


def test_a_namespace_that_nobody_asks_about_is_mended_in_time(cloud: Cloud, names: dict[str, Any]) -> None:
    chosen = [damage for damage in DAMAGES if "namespace" in damage.what]
    cloud.on("aio", "\n".join(damage.hurt.format(**names) for damage in chosen))
    begun = time.monotonic()
    looks = " && ".join(f"( {damage.is_whole.format(**names)} )" for damage in chosen)
    wait_for("all of it is mended", lambda: _is_whole(cloud, looks), timeout_s=MENDED_WITHIN_S)
    print(f"both namespaces: mended {time.monotonic() - begun:.2f} s after")
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)


def _is_whole(cloud: Cloud, command: str) -> bool:
    return cloud.on("aio", f"( {command} ) >/dev/null 2>&1 && echo whole", check=False).strip() == "whole"
