"""What QoS does to packets: meters and marks, by `ofproto/trace` on a switch with the planned flows."""

from __future__ import annotations

import re

import msgspec
import pytest
from plancloud import PATCH_ETH2, Switch, group, hybrid, mac, planned, port, rule, uid, vlan_network

from deuteron.model.intent import IntentQosPolicy, IntentSecurityGroup, RateLimit
from deuteron.net.rows import METER_TABLE, HostPlan, Meter

SLOW = IntentQosPolicy(uid("slow"), RateLimit(1000, 800), RateLimit(2000, 100), 26)
A, B = mac(16), mac(17)


def frame(in_port: int, src: str, dst: str, addresses: tuple[str, str], more: str = "") -> str:
    return (
        f"in_port={in_port},udp,dl_src={src},dl_dst={dst},nw_src={addresses[0]},nw_dst={addresses[1]},nw_ttl=64" + more
    )


FROM_A = frame(16, A, B, ("10.10.10.2", "10.10.10.4"))
TO_A = frame(17, B, A, ("10.10.10.4", "10.10.10.2"))


def host(network_obeys: bool = False, is_hybrid: bool = False, **more: object) -> HostPlan:
    """Port a obeys the policy, itself or by its network; port b does not, unless its network does."""
    n1 = vlan_network(qos_policy_id=SLOW.id if network_obeys else None)
    a = port("a", 16, n1, "10.10.10.2", qos_policy_id=None if network_obeys else SLOW.id, **more)
    b = port("b", 17, n1, "10.10.10.4")
    kinds = {"settings": hybrid()} if is_hybrid else {}
    return planned(SLOW, n1, a, b, open_group(), **kinds)


def open_group() -> IntentSecurityGroup:
    return group("g", rule("all"))


def meters(trace: str) -> list[int]:
    return [int(number) for number in re.findall(r"meter:(\d+)", trace)]


def test_a_meter_for_each_direction_says_rate_and_burst() -> None:
    assert host().own[METER_TABLE] == (Meter("br-int", 32, 1000, 800), Meter("br-int", 33, 2000, 100))


@pytest.mark.parametrize("is_secured", [True, False])
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_what_a_port_sends_and_receives_passes_its_meters(switch: Switch, is_secured: bool, is_hybrid: bool) -> None:
    more = {} if is_secured else {"port_security_enabled": False, "security_groups": ()}
    switch.load(host(is_hybrid=is_hybrid, **more))

    sent = switch.trace("br-int", FROM_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    received = switch.trace("br-int", TO_A, "--ct-next", "trk,new", "--ct-next", "trk,new")
    from_wire = frame(PATCH_ETH2, B, A, ("10.10.10.9", "10.10.10.2"), ",dl_vlan=1000")
    arrived = switch.trace("br-int", from_wire, "--ct-next", "trk,new")

    assert (meters(sent), meters(received), meters(arrived)) == ([32], [33], [33])
    assert "tos=0x68" in sent and "tos=0x68" not in received, "the packets that it sends are marked"


def test_a_network_s_policy_is_for_all_its_guests_and_a_port_s_own_comes_first(switch: Switch) -> None:
    switch.load(host(network_obeys=True))
    assert meters(switch.trace("br-int", FROM_A, "--ct-next", "trk,new", "--ct-next", "trk,new")) == [32, 35]


def test_a_policy_without_rules_and_a_port_that_is_down_have_no_meter() -> None:
    idle = msgspec.structs.replace(SLOW, egress=None, ingress=None, dscp_mark=None)
    n1 = vlan_network()
    a = port("a", 16, n1, "10.10.10.2", qos_policy_id=SLOW.id)
    assert METER_TABLE not in planned(idle, n1, a, group("g")).own
    down = msgspec.structs.replace(a, admin_state_up=False)
    assert METER_TABLE not in planned(SLOW, n1, down, group("g")).own
