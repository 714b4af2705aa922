"""Type drivers and the openvswitch mechanism."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.net.mechanisms import (
    AgentKind,
    Binding,
    HostFacts,
    Mechanism,
    MtuTooSmall,
    Pool,
    PortToBind,
    Refusal,
    Segment,
    TypeDrivers,
    TypeSettings,
    UnknownMechanism,
    bind_port,
    bound_by,
    mechanisms_by_name,
    mtu_for,
)
from deuteron.net.mechanisms.openvswitch.binding import openvswitch
from deuteron.net.mechanisms.wiring import HostMechanism, host_mechanisms_by_name

HOST = HostFacts(host="c1", bridge_mappings={"ext": "br-ex"}, tunnel_ip="10.0.0.1", tunnel_types=("vxlan",))
PORT = PortToBind(id="3f2c")
TYPES = TypeDrivers(
    TypeSettings(
        vlan_ranges={"physnet1": ((1000, 1002),), "manual": ()},
        tunnel_ranges={"vxlan": ((1, 2), (7, 7))},
        enabled=("flat", "local", "vlan", "vxlan"),
    )
)


@pytest.mark.parametrize(
    ("network_type", "outer", "mtu_bytes"),
    [
        ("vxlan", 4, 1450),
        ("geneve", 4, 1450),
        ("gre", 4, 1458),
        ("vlan", 4, 1500),
        ("flat", 4, 1500),
        ("vxlan", 6, 1430),
    ],
)
def test_a_network_gets_what_its_type_leaves_of_1500_bytes(network_type: str, outer: int, mtu_bytes: int) -> None:
    assert mtu_for(network_type, 1500, 6 if outer == 6 else 4) == mtu_bytes


def test_an_underlay_that_leaves_no_packet_is_refused() -> None:
    with pytest.raises(MtuTooSmall, match="MTU 100 leaves no vxlan packet"):
        mtu_for("vxlan", 100)


@pytest.mark.parametrize(
    ("segment", "complaint"),
    [
        (Segment("vlan", "physnet1", 101), None),
        (Segment("vlan", "physnet1"), None),
        (Segment("vlan"), None),
        (Segment("vlan", "nonet", 5), "physical_network 'nonet' unknown for VLAN provider network"),
        (Segment("vlan", "physnet1", 4095), "segmentation_id out of range (1 through 4094)"),
        (Segment("vlan", None, 5), "segmentation_id requires physical_network for VLAN provider network"),
        (
            Segment("vlan", "manual"),
            "Physical network manual requires segmentation_id to be specified when creating a provider network",
        ),
        (Segment("vxlan", None, 13), None),
        (Segment("vxlan", "physnet1"), "provider:physical_network specified for vxlan network"),
        (Segment("vxlan", None, 1 << 24), "segmentation_id out of range (1 through 16777215)"),
        (Segment("flat", "ext"), None),
        (Segment("flat"), "physical_network required for flat provider network"),
        (Segment("flat", "ext", 5), "segmentation_id prohibited for flat provider network"),
        (Segment("local"), None),
        (Segment("local", "ext"), "physical_network prohibited for local provider network"),
        (Segment("gre", None, 5), "network_type value 'gre' not supported"),
        (Segment("token-ring"), "network_type value 'token-ring' not supported"),
    ],
)
def test_provider_attributes_are_judged_in_neutrons_words(segment: Segment, complaint: str | None) -> None:
    assert TYPES.complaint(segment) == complaint


def test_a_network_without_provider_attributes_takes_the_first_type_with_room() -> None:
    assert list(TYPES.tenant_candidates()) == [
        Pool("vxlan", None, 1, 2),
        Pool("vxlan", None, 7, 7),
        Pool("vlan", "physnet1", 1000, 1002),
    ]


def test_a_partial_segment_is_completed_and_a_whole_one_kept() -> None:
    assert [(pool.first, pool.last) for pool in TYPES.candidates(Segment("vxlan"))] == [(1, 2), (7, 7)]
    for whole in (Segment("vlan", "other", 5), Segment("flat", "ext")):
        assert [pool.segment(pool.first) for pool in TYPES.candidates(whole)] == [whole]


def test_a_port_is_bound_as_neutron_binds_it() -> None:
    answer = openvswitch().bind(PORT, Segment("vxlan", None, 13), HOST)
    assert isinstance(answer, Binding)
    assert answer.vif_type == "ovs"
    assert answer.vif_details == {
        "connectivity": "l2",
        "port_filter": True,
        "ovs_hybrid_plug": False,
        "datapath_type": "netdev",
        "bridge_name": "br-int",
        "bound_drivers": {"0": "openvswitch"},
    }


@pytest.mark.parametrize(
    ("segment", "port", "host", "reason"),
    [
        (Segment("flat", "physnet1"), PORT, HOST, 'no bridge for physical network "physnet1" (mapped: "ext")'),
        (Segment("gre", None, 1), PORT, HOST, "no gre tunnels on this host (tunnel types: vxlan)"),
        (
            Segment("vxlan", None, 1),
            PORT,
            HostFacts(host="c1", tunnel_types=("vxlan",)),
            "vxlan needs a tunnel address",
        ),
        (Segment("local"), PORT, HostFacts(host="c1", is_alive=False), "the agent of the host does not answer"),
        (
            Segment("local"),
            PortToBind(id="3f2c", vnic_type="direct"),
            HOST,
            'vnic_type "direct" is not supported (supported: normal)',
        ),
    ],
)
def test_a_refusal_says_what_stands_in_the_way(
    segment: Segment, port: PortToBind, host: HostFacts, reason: str
) -> None:
    answer = bind_port([openvswitch()], port, [segment], host)
    assert isinstance(answer, Refusal)
    assert answer.reason == reason


def test_mechanisms_are_found_by_name_in_the_api_and_on_the_host() -> None:
    for name in ("openvswitch", "linuxbridge"):
        (asked,) = mechanisms_by_name([name])
        (wiring,) = host_mechanisms_by_name([name])
        assert isinstance(asked, Mechanism) and isinstance(wiring, HostMechanism)
    for find in (mechanisms_by_name, host_mechanisms_by_name):
        with pytest.raises(
            UnknownMechanism, match=r'unknown mechanism "carrier-pigeon" .*\(known: linuxbridge, openvswitch\)'
        ):
            find(["openvswitch", "carrier-pigeon"])


BROKEN = {
    "two": (["json:loads", "json:dumps"], "several packages offer it"),
    "gone": (["no_such_module:thing"], "cannot load mechanism"),
    "odd": (["collections:OrderedDict"], 'names is no mechanism "odd"'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_installed_package_that_does_not_work_is_refused_with_its_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, words = BROKEN[name]
    for number, value in enumerate(values):
        folder = tmp_path / f"thing{number}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: thing{number}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[deuteron.mechanisms]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownMechanism, match=words):
        mechanisms_by_name([name])


class Pigeon:
    """A mechanism that binds whatever it is asked for, and never a port of DHCP or a router."""

    name = "pigeon"
    agent = AgentKind("pigeon-agent", "Pigeon agent")
    wires_services = False

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        return Binding(self.name, "tap", {"coop": "north"}, segment)

    def agent_configurations(self, host: HostFacts, devices: int) -> dict[str, object]:
        return {"devices": devices}


BOTH = HostFacts(host="c1", mechanism_drivers=("pigeon", "openvswitch"))


def test_the_first_mechanism_that_binds_a_port_says_so_in_the_binding() -> None:
    answer = bind_port([Pigeon(), openvswitch()], PORT, [Segment("local")], BOTH)
    assert isinstance(answer, Binding)
    assert answer.vif_details == {"coop": "north", "bound_drivers": {"0": "pigeon"}}
    assert bound_by(answer.vif_details) == "pigeon"


def test_dhcp_and_routers_go_past_a_mechanism_that_wires_no_services() -> None:
    service = PortToBind(id="3f2c", device_owner="network:dhcp")
    answer = bind_port([Pigeon(), openvswitch()], service, [Segment("local")], BOTH)
    assert isinstance(answer, Binding) and answer.mechanism == "openvswitch"


def test_a_mechanism_that_the_host_does_not_run_is_not_asked_and_all_reasons_are_told() -> None:
    direct = PortToBind(id="3f2c", vnic_type="direct")
    answer = bind_port([Pigeon(), openvswitch()], direct, [Segment("local")], HOST)
    assert isinstance(answer, Refusal)
    assert answer.reason == (
        "pigeon: the host does not run it (it runs: openvswitch); "
        'openvswitch: vnic_type "direct" is not supported (supported: normal)'
    )
    assert "add pigeon to mechanism_drivers of c1" in answer.hint
