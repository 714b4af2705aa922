"""The tables are followed as Open vSwitch follows them: random packets, entry by entry, beside `ofproto/trace`."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from deuteron.net.rows import HostPlan
from deuteron.trace.flowtable import FlowTables
from deuteron.trace.ofproto import met_there, said
from deuteron.trace.packet import ICMP, TCP, UDP, Packet
from deuteron.trace.switch import Switch
from deuteron.trace.tracking import Known, Tracker, Zone, begun
from tests import needs
from tests.unit.net.plancloud import PEERS, hybrid, logs, mac, planned, whole_cloud
from tests.unit.net.plancloud import Switch as OpenVSwitch

PACKETS = 60
ADDRESSES = (
    "10.10.10.2", "10.10.10.4", "10.10.10.7", "20.20.20.2", "10.10.10.50", "10.10.10.51", "192.168.3.4", "192.0.2.9",
    "8.8.8.8", "10.10.10.255", "224.0.0.9",
)  # fmt: skip
SIX = ("fd00:10::2", "fd00:10::3", "fd00:99::5", "fe80::f816:3eff:fe00:10", "fd00:77::1")
PORTS = (1, 2, 3, 16, 17, 18, 20, 22, 24, 25, 99)
STATES = {"new": "trk,new", "answer": "trk,est,rpl", "known": "trk,est"}


class Certain(Tracker):
    """Every connection is in one state."""

    def __init__(self, state: str) -> None:
        super().__init__()
        self.state = state

    def find(self, zone: Zone, packet: Packet) -> Known | None:
        if self.state == "new":
            return None
        connection = begun(packet)
        connection.is_answered = True
        return Known(connection, self.state == "answer")


def packets(dice: random.Random) -> Iterator[tuple[int, Packet]]:
    macs = [mac(number) for number in (16, 17, 18, 20, 22, 99)]
    for _ in range(PACKETS):
        in_port = dice.choice(PORTS)
        own = mac(in_port) if in_port > 15 and dice.random() < 0.8 else dice.choice(macs)
        to = dice.choice((*macs, "ff:ff:ff:ff:ff:ff"))
        vlan = dice.choice((1, 2, 3, 1000, 0)) if in_port < 4 else 0
        kind = dice.choice(("arp", "ip", "ip", "ip", "ipv6"))
        if kind == "arp":
            source, target = dice.choice(ADDRESSES), dice.choice(ADDRESSES)
            yield in_port, Packet("arp", own, to, source, target, dice.choice((1, 2)), vlan=vlan, mac=own)
            continue
        known = SIX if kind == "ipv6" else ADDRESSES
        protocol = dice.choice((TCP, UDP, 58 if kind == "ipv6" else ICMP))
        if protocol in (TCP, UDP):
            ports = dice.choice((40000, 68, 67, 546, 547)), dice.choice((22, 80, 1500, 53, 67, 68, 546, 547))
        else:
            ports = (dice.choice((128, 133, 134, 135, 136)), 0) if kind == "ipv6" else (dice.choice((8, 0)), 0)
        # What sends is its own address more often than not, or hardly anything would pass.
        own_address = {16: "10.10.10.2", 17: "10.10.10.4", 18: "20.20.20.2", 24: "10.10.10.7"}.get(in_port)
        source = own_address if kind == "ip" and own_address and dice.random() < 0.7 else dice.choice(known)
        target = dice.choice(known)
        is_discovery = protocol == 58 and ports[0] in (135, 136)
        yield in_port, Packet(
            "ipv6" if kind == "ipv6" else "ip", own, to, source, target, protocol, *ports, vlan=vlan,
            nd_target=dice.choice(SIX) if is_discovery else "",
        )  # fmt: skip


def met_here(plan: HostPlan, in_port: int, packet: Packet, state: str) -> set[tuple[int, int]]:
    ports = {port.ofport_request: port for port in plan.ovs_ports if port.bridge == "br-int"}
    tables = FlowTables(flow for flow in plan.flows if flow.bridge == "br-int")
    outputs, ended = Switch("br-int", ports, tables, Certain(state)).through(packet, in_port)
    met = [each for way in (*outputs, *ended) for each in way.met]
    return {(each.table, each.flow.priority) for each in met if each.flow is not None}


@pytest.mark.parametrize("firewall", ["openvswitch", "iptables_hybrid"])
@pytest.mark.parametrize("state", STATES)
def test_random_packets_meet_the_same_entries(firewall: str, state: str) -> None:
    needs.program("ovs-vswitchd")
    more = {"settings": hybrid()} if firewall == "iptables_hybrid" else {}
    plan = planned(*whole_cloud(), *logs(), peers=PEERS, **more)
    dice = random.Random(f"{firewall} {state}")
    switch = OpenVSwitch()
    depth = 0
    try:
        switch.start()
        switch.load(plan)
        for in_port, packet in packets(dice):
            asked = said(in_port, packet)
            text = switch.trace("br-int", asked, *(word for _ in range(4) for word in ("--ct-next", STATES[state])))
            # 92 and 93 are after what was decided: of what was output already they say nothing.
            found = {(met.table, met.priority) for met in met_there(text) if met.bridge == "br-int"}
            there = {each for each in found if each[1] is not None and each[0] not in (92, 93)}
            here = {each for each in met_here(plan, in_port, packet, state) if each[0] not in (92, 93)}
            assert here == there, f"{asked}\n{text}"
            depth += len(there)
    finally:
        switch.stop()
    assert depth > PACKETS * 4, "hardly anything comes far"
