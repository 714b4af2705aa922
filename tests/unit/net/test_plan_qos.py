"""What QoS does to packets: meters and marks, by `ofproto/trace` on a switch with the planned flows."""

from __future__ import annotations

import ipaddress
import re
import struct
import time

import msgspec
import pytest
from plancloud import (
    PATCH_ETH2,
    PATCH_EX,
    Switch,
    group,
    hybrid,
    mac,
    planned,
    port,
    router_port,
    rule,
    subnet,
    uid,
    vlan_network,
)

from deuteron.model.intent import (
    FloatingIp,
    IntentQosPolicy,
    IntentRouter,
    IntentSecurityGroup,
    LimitedAddress,
    PacketLimit,
    RateLimit,
    RouterGateway,
)
from deuteron.net.pipeline import FLOATING_METERS, GATEWAY_METERS
from deuteron.net.rows import METER_TABLE, HostPlan, Meter

SLOW = IntentQosPolicy(uid("slow"), RateLimit(1000, 800), RateLimit(2000, 100), 26)
A, B = mac(16), mac(17)


def frame(in_port: int, src: str, dst: str, addresses: tuple[str, str], more: str = "") -> str:
    return (
        f"in_port={in_port},udp,dl_src={src},dl_dst={dst},nw_src={addresses[0]},nw_dst={addresses[1]},nw_ttl=64" + more
    )


FROM_A = frame(16, A, B, ("10.10.10.2", "10.10.10.4"))
TO_A = frame(17, B, A, ("10.10.10.4", "10.10.10.2"))


def host(
    policy: IntentQosPolicy = SLOW, *, network_obeys: bool = False, is_hybrid: bool = False, **more: object
) -> HostPlan:
    """Port a obeys the policy, itself or by its network; port b does not, unless its network does."""
    n1 = vlan_network(qos_policy_id=policy.id if network_obeys else None)
    a = port("a", 16, n1, "10.10.10.2", qos_policy_id=None if network_obeys else policy.id, **more)
    b = port("b", 17, n1, "10.10.10.4", **more)
    kinds = {"settings": hybrid()} if is_hybrid else {}
    return planned(policy, n1, a, b, open_group(), **kinds)


def open_group() -> IntentSecurityGroup:
    return group("g", rule("all"))


def meters(trace: str) -> list[int]:
    return [int(number) for number in re.findall(r"meter:(\d+)", trace)]


def test_a_meter_for_each_direction_says_rate_and_burst() -> None:
    assert host().own[METER_TABLE] == (Meter("br-int", 64, 1000, 800), Meter("br-int", 65, 2000, 100))


@pytest.mark.parametrize("is_secured", [True, False])
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_what_a_port_sends_and_receives_passes_its_meters(switch: Switch, is_secured: bool, is_hybrid: bool) -> None:
    more = {} if is_secured else {"port_security_enabled": False, "security_groups": ()}
    switch.load(host(is_hybrid=is_hybrid, **more))

    sent = switch.trace("br-int", FROM_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    received = switch.trace("br-int", TO_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    from_wire = frame(PATCH_ETH2, B, A, ("10.10.10.9", "10.10.10.2"), ",dl_vlan=1000")
    arrived = switch.trace("br-int", from_wire, "--ct-next", "trk,new")

    assert (meters(sent), meters(received), meters(arrived)) == ([64], [65], [65])
    assert "tos=0x68" in sent and "tos=0x68" not in received, "the packets that it sends are marked"


def test_a_network_s_policy_is_for_all_its_guests_and_a_port_s_own_comes_first(switch: Switch) -> None:
    switch.load(host(network_obeys=True))
    assert meters(switch.trace("br-int", FROM_A, "--ct-next", "trk,new", "--ct-next", "trk,new")) == [64, 69]


BOTH = msgspec.structs.replace(SLOW, egress_packets=PacketLimit(20, 40), ingress_packets=PacketLimit(30, 60))


def test_a_meter_of_packets_counts_packets_beside_that_of_bits() -> None:
    assert host(BOTH).own[METER_TABLE] == (
        Meter("br-int", 64, 1000, 800),
        Meter("br-int", 65, 2000, 100),
        Meter("br-int", 66, 20, 40, "pktps"),
        Meter("br-int", 67, 30, 60, "pktps"),
    )


@pytest.mark.parametrize("is_secured", [True, False])
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_packets_are_counted_in_table_58_of_what_a_port_sends_and_where_it_is_given_what_it_receives(
    switch: Switch, is_secured: bool, is_hybrid: bool
) -> None:
    more = {} if is_secured else {"port_security_enabled": False, "security_groups": ()}
    switch.load(host(BOTH, is_hybrid=is_hybrid, **more))

    sent = switch.trace("br-int", FROM_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    received = switch.trace("br-int", TO_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    from_wire = frame(PATCH_ETH2, B, A, ("10.10.10.9", "10.10.10.2"), ",dl_vlan=1000")
    arrived = switch.trace("br-int", from_wire, "--ct-next", "trk,new")

    assert (meters(sent), meters(received), meters(arrived)) == ([66, 64], [67, 65], [67, 65])
    assert re.search(r"^58\. in_port=16, priority 10.*\n\s+meter:66", sent, re.MULTILINE)


def test_a_policy_without_rules_and_a_port_that_is_down_have_no_meter() -> None:
    idle = msgspec.structs.replace(SLOW, egress=None, ingress=None, dscp_mark=None)
    n1 = vlan_network()
    a = port("a", 16, n1, "10.10.10.2", qos_policy_id=SLOW.id)
    assert METER_TABLE not in planned(idle, n1, a, group("g")).own
    down = msgspec.structs.replace(a, admin_state_up=False)
    assert METER_TABLE not in planned(SLOW, n1, down, group("g")).own


# --- addresses of routers -----------------------------------------------------------------------------------------

QG, FLOATING, OTHER, OWN = 21, "172.24.4.20", "172.24.4.30", "172.24.4.10"
OUTSIDE = "172.24.4.1"
LIMITED = IntentQosPolicy(uid("limited"), RateLimit(3000, 300), RateLimit(4000, 400), 8)
OF_GATEWAY = [4 * QG, 4 * QG + 1]
OF_FLOATING = [FLOATING_METERS + 14, FLOATING_METERS + 15]
OF_OWN = [GATEWAY_METERS + 2 * QG, GATEWAY_METERS + 2 * QG + 1]


def router_host(*, network_obeys: bool = False, own_obeys: bool = False, floating_obeys: bool = True) -> HostPlan:
    """A router with two floating IPs, of which the first obeys a policy; no guests."""
    ext = vlan_network(
        "ext", 3, 0, network_type="flat", physical_network="public", segmentation_id=None, external=True,
        subnets=(subnet("s3", "172.24.4.0/24", "172.24.4.1", enable_dhcp=False),),
        qos_policy_id=SLOW.id if network_obeys else None,
    )  # fmt: skip
    qg = port("e2", QG, ext, OWN, groups=(), device_owner="network:router_gateway", device_id=uid("r"))
    gateway = RouterGateway(router_port(qg, ext, f"{OWN}/24"), qos_policy_id=LIMITED.id if own_obeys else None)
    floating = (FloatingIp(uid("f1"), FLOATING, "10.10.10.2"), FloatingIp(uid("f2"), OTHER, "10.10.10.4"))
    limited = (LimitedAddress(FLOATING, 7, LIMITED.id),) if floating_obeys else ()
    router = IntentRouter(
        uid("r"), project_id=uid("p"), gateway=gateway, floating_ips=floating, limited_addresses=limited
    )
    return planned(SLOW, LIMITED, ext, qg, router)


def passed(switch: Switch, plan: HostPlan) -> dict[str, tuple[list[int], list[int]]]:
    """The meters that what is sent and what is received under each address passes."""
    switch.load(plan)
    found = {}
    for address in (FLOATING, OTHER, OWN):
        sent = switch.trace("br-int", frame(QG, mac(QG), mac(99), (address, OUTSIDE)))
        arrived = switch.trace("br-int", frame(PATCH_EX, mac(99), mac(QG), (OUTSIDE, address)))
        assert "NORMAL" in sent and "NORMAL" in arrived
        found[address] = (meters(sent), meters(arrived))
    return found


def test_what_goes_under_a_limited_floating_ip_passes_its_meters_and_no_other(switch: Switch) -> None:
    plan = router_host()
    assert [(row.number, row.rate) for row in plan.own[METER_TABLE]] == [(OF_FLOATING[0], 3000), (OF_FLOATING[1], 4000)]
    found = passed(switch, plan)
    assert found == {FLOATING: (OF_FLOATING[:1], OF_FLOATING[1:]), OTHER: ([], []), OWN: ([], [])}


def test_the_gateway_s_address_the_floating_ip_and_the_network_s_policy_hold_one_beside_the_other(
    switch: Switch,
) -> None:
    found = passed(switch, router_host(network_obeys=True, own_obeys=True))
    sent, received = OF_GATEWAY
    assert found == {
        FLOATING: ([sent, OF_FLOATING[0]], [OF_FLOATING[1], received]),
        OTHER: ([sent], [received]),
        OWN: ([sent, OF_OWN[0]], [OF_OWN[1], received]),
    }
    marked = switch.trace("br-int", frame(QG, mac(QG), mac(99), (FLOATING, OUTSIDE)))
    assert "tos=0x68" in marked, "the mark is the port's, not the address's"


def test_an_external_network_s_policy_is_its_gateways_too(switch: Switch) -> None:
    found = passed(switch, router_host(network_obeys=True, floating_obeys=False))
    assert set(map(str, found.values())) == {str((OF_GATEWAY[:1], OF_GATEWAY[1:]))}


# --- packets, through the userspace datapath of the switch -----------------------------------------------------------

PAYLOAD = bytes(1000)
BITS = (14 + 20 + 8 + len(PAYLOAD)) * 8
SENT = 200
OTHERS = mac(99)


def packet(source: str, target: str, addresses: tuple[str, str]) -> bytes:
    """A UDP packet in a frame, from one to another."""
    data = struct.pack("!HHHH", 7777, 7777, 8 + len(PAYLOAD), 0) + PAYLOAD
    ends = b"".join(ipaddress.IPv4Address(each).packed for each in addresses)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 1, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return bytes.fromhex((target + source).replace(":", "")) + b"\x08\x00" + head + data


def arrived(switch: Switch, came_in: tuple[str, str], went_out: tuple[str, str], frame: bytes) -> int:
    """How many of `SENT` frames that come in by a port go out by another; each is a bridge and a device."""

    def count(at: tuple[str, str], way: str) -> int:
        said = switch.run("ovs-ofctl", "dump-ports", switch.management(at[0]), at[1])
        return int(re.findall(rf"{way} pkts=(\d+)", said)[0])

    before, taken = count(went_out, "tx"), count(came_in, "rx")
    for begun in range(taken, taken + SENT, 50):  # the dummy device's queue holds no more than 100
        switch.appctl("netdev-dummy/receive", came_in[1], *[frame.hex()] * 50)
        deadline = time.monotonic() + 20
        while count(came_in, "rx") < begun + 50:
            assert time.monotonic() < deadline, "the switch does not take what was sent"
    return count(went_out, "tx") - before


def test_packets_under_a_limited_floating_ip_are_dropped_beyond_its_burst_both_ways(switch: Switch) -> None:
    switch.load(router_host())
    qg = f"qg-{uid('e2')[:11]}"
    for address, is_limited in ((FLOATING, True), (OTHER, False)):
        began = time.monotonic()
        sent = arrived(switch, ("br-int", qg), ("br-ex", "eth3"), packet(mac(QG), OTHERS, (address, OUTSIDE)))
        received = arrived(switch, ("br-ex", "eth3"), ("br-int", qg), packet(OTHERS, mac(QG), (OUTSIDE, address)))
        later = time.monotonic() - began
        for found, limit in ((sent, LIMITED.egress), (received, LIMITED.ingress)):
            assert limit is not None
            most = (limit.burst_kbit + limit.kbps * later) * 1000 / BITS
            if is_limited:
                assert 0.9 * limit.burst_kbit * 1000 / BITS - 1 <= found <= most + 1 and found < SENT
            else:
                assert found == SENT


@pytest.mark.parametrize("network_obeys", [False, True])
def test_packets_beyond_a_port_s_rate_are_dropped_both_ways(switch: Switch, network_obeys: bool) -> None:
    """a sends, or is sent, many more packets than it may; b obeys the same policy, or none."""
    sent_at_once, received_at_once, pps = 40, 60, 10
    policy = IntentQosPolicy(
        uid("few"), egress_packets=PacketLimit(pps, sent_at_once), ingress_packets=PacketLimit(pps, received_at_once)
    )
    bare = {"port_security_enabled": False, "security_groups": ()}
    switch.load(host(policy, network_obeys=network_obeys, **bare))
    a, b = (("br-int", f"tap{uid(word)[:11]}") for word in "ab")
    to_b, to_a = packet(A, B, ("10.10.10.2", "10.10.10.4")), packet(B, A, ("10.10.10.4", "10.10.10.2"))
    for way, most in (
        ((a, b, to_b), sent_at_once),
        ((b, a, to_a), sent_at_once if network_obeys else received_at_once),
    ):
        began = time.monotonic()
        found = arrived(switch, *way)
        later = time.monotonic() - began
        assert most - 1 <= found <= most + pps * later + 1 < SENT
