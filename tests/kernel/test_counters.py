"""Counters of flows, ports, devices and rules are those that the kernel and the switch have, read in batches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from deuteron.model.counters import Counter, CounterPlace
from deuteron.net.counters import counters
from deuteron.net.kernel.openflow import cookie_of
from deuteron.net.rows import Flow, HostPlan, Link, OvsPort
from tests.kernel.conftest import OpenVSwitch, wait_until
from tests.kernel.test_meters import processes

SPACE = "qrouter-counts"
RULE = "-A neutron-counts -p udp -m udp --dport 7 -j ACCEPT"
MATCH = "in_port=1,dl_dst=fa:16:3e:00:00:02"
FLOW = Flow("br-test", 60, 4, MATCH, "output:2")
IDLE = Flow("br-test", 70, 0, "", "drop")
PLAN = HostPlan(
    ovs_ports=(
        OvsPort("br-test", "left", "internal", 1),
        OvsPort("br-test", "right", "internal", 2),
        OvsPort("br-test", "qr-counts", "internal", 3, namespace=SPACE),
        OvsPort("br-gone", "nowhere", "internal", 1),
    ),
    links=(Link("", "qbrcounts", "bridge"),),
)


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def text(flow: Flow) -> str:
    match = f",{flow.match}" if flow.match else ""
    return f"table={flow.table},priority={flow.priority}{match} actions={flow.actions}"


@pytest.fixture
def furnished(switch: OpenVSwitch) -> Iterator[Callable[[], None]]:
    """A host as `PLAN` says, but for the bridge `br-gone`; what is called sends a packet by `FLOW` and by `RULE`."""
    run("ovs-vsctl add-br br-test -- set Bridge br-test datapath_type=netdev fail_mode=secure")
    for number, name in ((1, "left"), (2, "right"), (3, "qr-counts")):
        run(f"ovs-vsctl add-port br-test {name} -- set Interface {name} type=internal ofport_request={number}")
        run(f"ip link set {name} up")
    for flow in (FLOW, IDLE):
        words = text(flow).replace(" actions", ",actions")
        run(f"ovs-ofctl -O OpenFlow14 add-flow br-test cookie={cookie_of(flow.key):#x},{words}")
    run("ovs-ofctl -O OpenFlow14 add-flow br-test table=0,priority=9,in_port=1,actions=resubmit(,60)")
    run("ip link add qbrcounts type bridge")
    run(f"ip netns add {SPACE}")
    run(f"ip link set qr-counts netns {SPACE}")
    inside = f"ip netns exec {SPACE} "
    run(f"{inside}ip link set lo up")
    run(f"{inside}ip link set qr-counts up")
    flooded = "dl_dst=ff:ff:ff:ff:ff:ff,actions=output:3"
    run(f"ovs-ofctl -O OpenFlow14 add-flow br-test table=0,priority=10,{flooded}")
    run(f"{inside}iptables -N neutron-counts")
    run(f"{inside}iptables -A OUTPUT -j neutron-counts")
    run(f"{inside}iptables {RULE}")

    def send() -> None:
        for target in ("fa163e000002", "ffffffffffff"):
            frame = f"{target}fa163e0000010800" + "00" * 46
            run(f"ovs-ofctl -O OpenFlow14 packet-out br-test in_port=1,packet={frame},actions=table")
        subprocess.run(
            [*inside.split(), "bash", "-c", "echo hello >/dev/udp/127.0.0.1/7"], check=True, stderr=subprocess.DEVNULL
        )

    yield send
    run(f"ip netns del {SPACE}")
    run("ip link del qbrcounts")
    run("ovs-vsctl del-br br-test")


def test_a_packet_is_counted_wherever_it_passed(furnished: Callable[[], None]) -> None:
    places = (
        CounterPlace("br-test table 60 transient", text(FLOW)),
        CounterPlace("br-test table 70", text(IDLE)),
        CounterPlace("right"),
        CounterPlace(f"{SPACE} left"),
        CounterPlace("qbrcounts"),
        CounterPlace(f"{SPACE} filter OUTPUT", RULE),
        CounterPlace(f"{SPACE} qr-counts"),
    )
    before = counters(PLAN, places)
    assert [each.packets for each in before] == [0, 0, None, None, None, 0, None]
    assert [None in (each.entered, each.left) for each in before] == [True, True, False, False, False, True, False]
    furnished()
    furnished()

    def counted() -> bool:
        now = counters(PLAN, places)
        left = [(now[index].left or 0) - (before[index].left or 0) for index in (2, 6)]
        return [now[index].packets for index in (0, 1, 5)] == [2, 0, 2] and left == [2, 2]

    wait_until(counted, "two packets are counted by their flow, their rule and the device that they left by")


def test_what_is_not_there_or_not_of_the_plan_counts_nothing(furnished: Callable[[], None]) -> None:
    other = text(FLOW).replace("priority=4", "priority=5")
    places = [
        CounterPlace("br-gone table 0", text(Flow("br-gone", 0, 0, "", "drop"))),
        CounterPlace("br-test table 60", other),
        CounterPlace("../../br-test table 60", text(FLOW)),
        CounterPlace("br-test table 60", "table=60,priority=many actions=drop"),
        CounterPlace("br-test table 60", "cookie=0x"),
        CounterPlace("nowhere"),
        CounterPlace("lo"),
        CounterPlace("guest 1"),
        CounterPlace(f"{SPACE} route", "default via 10.0.0.1 dev left"),
        CounterPlace("../netns/other filter INPUT", RULE),
        CounterPlace(f"{SPACE} filter OUTPUT", RULE + " -j DROP"),
        CounterPlace(""),
    ]
    assert counters(PLAN, places) == [Counter()] * len(places)


def test_a_switch_is_asked_without_a_process(furnished: Callable[[], None]) -> None:
    places = [CounterPlace("br-test table 60", text(FLOW)), CounterPlace("left"), CounterPlace("qbrcounts")]
    with processes() as begun:
        assert Counter() not in counters(PLAN, places * 80)
    assert begun == []
