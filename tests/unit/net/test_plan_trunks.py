"""What a trunk is on a host, and what it does to frames, by `ofproto/trace` on a switch with the planned flows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plancloud import SETTINGS, Switch, group, hybrid, intent, mac, planned, port, rule, uid, vlan_network

from deuteron.agent.statuses import port_reports, wired_ports
from deuteron.model.intent import HostSettings, IntentObject, PortTrunk
from deuteron.net.plan import plan
from deuteron.net.reconcile import Outcome, port_concern
from deuteron.net.rows import HostPlan

TRUNK, BRIDGE, TAG = uid("k"), "tbr-kkkkkkkk-k", 100
N1, N2 = vlan_network("n1", 1, 1000), vlan_network("n2", 2, 1001)
PARENT = port("p", 16, N1, "10.10.10.2", trunk=PortTrunk(TRUNK, uid("p"), subports=(uid("s"),)))
SUB = port("s", 17, N2, "10.10.10.2", trunk=PortTrunk(TRUNK, uid("p"), TAG), device_owner="trunk:subport", device_id="")
A, B = port("a", 18, N1, "10.10.10.4"), port("b", 19, N2, "10.10.10.4")
FIREWALLS = pytest.mark.parametrize("settings", [SETTINGS, hybrid()], ids=["openvswitch", "iptables_hybrid"])


def objects(*more: IntentObject) -> list[IntentObject]:
    return [N1, N2, PARENT, SUB, A, B, group("g", rule("all")), *more]


def host(settings: HostSettings = SETTINGS, *more: IntentObject) -> HostPlan:
    return planned(*objects(*more), settings=settings)


def ports_of(made: HostPlan, bridge: str, *words: str) -> dict[str, tuple[Any, ...]]:
    """Type, number, tag and options of the ports of a bridge whose names end in one of the words."""
    return {
        row.name: (row.type, row.ofport_request, row.tag, dict(row.options))
        for row in made.ovs_ports
        if row.bridge == bridge and (not words or row.name.endswith(words))
    }


def udp(in_port: int, source: int, target: int, tag: int | None = None) -> str:
    vlan = f",dl_vlan={tag}" if tag is not None else ""
    addresses = "nw_src=10.10.10.2,nw_dst=10.10.10.4,nw_ttl=64"
    return f"in_port={in_port},udp,dl_src={mac(source)},dl_dst={mac(target)},{addresses}{vlan}"


def test_the_device_is_on_the_trunk_s_bridge_and_each_port_on_br_int() -> None:
    made = host()
    assert ports_of(made, BRIDGE) == {
        "tappppppppp-pp": ("system", 1, None, {}),
        "tpt-pppppppp-pp": ("patch", 2, 0, {"peer": "tpi-pppppppp-pp"}),
        "spt-ssssssss-ss": ("patch", 17, TAG, {"peer": "spi-ssssssss-ss"}),
    }
    assert ports_of(made, "br-int", "pp", "ss") == {
        "tpi-pppppppp-pp": ("patch", 16, 1, {"peer": "tpt-pppppppp-pp"}),
        "spi-ssssssss-ss": ("patch", 17, 2, {"peer": "spt-ssssssss-ss"}),
    }
    assert [row.name for row in made.links if row.kind == "tap"] == [
        "tapaaaaaaaa-aa",
        "tapbbbbbbbb-bb",
        "tappppppppp-pp",
    ]
    (bridge,) = [row for row in made.bridges if row.name == BRIDGE]
    assert bridge.fail_mode == "secure"


def test_with_iptables_a_subport_has_a_linux_bridge_behind_the_trunk_s() -> None:
    made = host(hybrid())
    assert ports_of(made, BRIDGE) == {
        "qvopppppppp-pp": ("system", 1, None, {}),
        "tpt-pppppppp-pp": ("patch", 2, 0, {"peer": "tpi-pppppppp-pp"}),
        "spt-ssssssss-ss": ("system", 17, TAG, {}),
    }
    assert ports_of(made, "br-int", "pp", "ss") == {
        "tpi-pppppppp-pp": ("patch", 16, 1, {"peer": "tpt-pppppppp-pp"}),
        "qvossssssss-ss": ("system", 17, 2, {}),
    }
    (device,) = [row for row in made.links if row.name == "tapssssssss-ss"]
    assert (device.kind, device.master, device.peer) == ("veth", "qbrssssssss-ss", "spt-ssssssss-ss")
    (rules,) = [row for row in made.iptables if row.table == "filter" and row.family == 4]
    assert [each for chain in rules.chains for each in chain.rules if "tapssssssss-ss" in each]


@pytest.mark.parametrize(
    ("tag", "source", "out"), [(None, 16, 18), (TAG, 17, 19)], ids=["untagged", "with the subport's tag"]
)
def test_a_frame_of_the_guest_comes_out_on_its_own_network(
    switch: Switch, tag: int | None, source: int, out: int
) -> None:
    switch.load(host())
    trace = switch.trace(BRIDGE, udp(1, source, out, tag), "--ct-next", "trk,new", "--ct-next", "trk,new")
    assert f"output:{out}" in trace, trace


@pytest.mark.parametrize(
    ("tag", "source", "target"),
    [(None, 17, 19), (TAG, 16, 18), (TAG, 16, 19), (200, 17, 19), (None, 17, 18)],
    ids=["the subport's without its tag", "the parent's with a tag", "as the parent on the subport's network",
         "with a tag of nobody", "as the subport on the parent's network"],
)  # fmt: skip
def test_a_frame_with_another_tag_goes_nowhere(switch: Switch, tag: int | None, source: int, target: int) -> None:
    switch.load(host())
    trace = switch.trace(BRIDGE, udp(1, source, target, tag), "--ct-next", "trk,new", "--ct-next", "trk,new")
    assert "output:18" not in trace and "output:19" not in trace, trace


def test_what_is_for_a_subport_comes_to_the_device_with_its_tag(switch: Switch) -> None:
    switch.load(host())
    packet = f"in_port=19,udp,dl_src={mac(19)},dl_dst={mac(17)},nw_src=10.10.10.4,nw_dst=10.10.10.2,nw_ttl=64"
    trace = switch.trace("br-int", packet, "--ct-next", "trk,new", "--ct-next", "trk,new")
    assert f"push_vlan(vid={TAG}" in trace.split("Datapath actions:")[-1], trace


@FIREWALLS
def test_a_subport_without_its_parent_is_plugged_nowhere(settings: HostSettings) -> None:
    made = planned(*(each for each in objects() if each is not PARENT), settings=settings)
    assert BRIDGE not in {row.name for row in made.bridges}
    assert not [row for row in made.ovs_ports if "ssssssss" in row.name]


@FIREWALLS
def test_a_port_of_a_trunk_is_active_when_all_of_it_is_there(settings: HostSettings) -> None:
    whole = intent(*objects())
    made = plan(whole, settings)

    def statuses(**concerned: str) -> dict[str, str]:
        named = {name.replace("__", ":"): why for name, why in concerned.items()}
        told = port_reports(whole, made, Outcome(True, (), named, (), {}, None, frozenset()))
        return {id: report.status for id, report in told.items() if id in (PARENT.id, SUB.id)}

    both = {PARENT.id: "ACTIVE", SUB.id: "ACTIVE"}
    assert statuses() == both
    assert wired_ports(whole, made, Outcome(True, (), {}, (), {}, None, frozenset())) >= {PARENT.id, SUB.id}
    for end in ("tpt-", "tpi-"):
        failed = {port_concern(f"{end}{PARENT.id}"[:15]).replace(":", "__"): "it vanished"}
        assert statuses(**failed) == {**both, PARENT.id: "ERROR"}
    failed = {port_concern(f"spt-{SUB.id}"[:15]).replace(":", "__"): "it vanished"}
    assert statuses(**failed) == {**both, SUB.id: "ERROR"}
    assert statuses(**{f"bridge__{BRIDGE}": "it has none"})[PARENT.id] == "ERROR"


def test_a_subport_that_is_down_is_closed_and_its_trunk_is_not() -> None:
    made = planned(*(each for each in objects() if each is not SUB), msgspec.structs.replace(SUB, admin_state_up=False))
    assert ports_of(made, "br-int", "ss")["spi-ssssssss-ss"][2] == 4095
    assert ports_of(made, "br-int", "pp")["tpi-pppppppp-pp"][2] == 1
