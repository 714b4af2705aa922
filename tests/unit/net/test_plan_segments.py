"""The plan of a host where several segments of one network are: each has its own VLAN, and its own way out."""

from __future__ import annotations

import msgspec
from tests.unit.net.plancloud import dhcp_port, far_port, planned, port, uid, vlan_network, vxlan_network

from deuteron.model.intent import TunnelPeer

FIRST = vlan_network("n1", 1, 1000)
SECOND = msgspec.structs.replace(
    vlan_network("s2", 2, 2000), physical_network="public", segment_of=FIRST.id, subnets=FIRST.subnets
)


def test_each_segment_has_its_own_tag_on_its_own_physical_network() -> None:
    here = planned(FIRST, SECOND, port("a", 20, FIRST, "10.10.10.2"), port("b", 21, SECOND, "10.10.10.3"))
    flows = {(flow.bridge, flow.match): flow.actions for flow in here.flows}
    assert flows["br-eth2", "in_port=2,dl_vlan=1"] == f"set_field:{0x1000 | 1000}->vlan_vid,NORMAL"
    assert flows["br-ex", "in_port=2,dl_vlan=2"] == f"set_field:{0x1000 | 2000}->vlan_vid,NORMAL"
    assert flows["br-int", "in_port=1,dl_vlan=1000"] == f"set_field:{0x1000 | 1}->vlan_vid,goto_table:58"
    assert flows["br-int", "in_port=2,dl_vlan=2000"] == f"set_field:{0x1000 | 2}->vlan_vid,goto_table:58"
    assert not {("br-ex", "in_port=2,dl_vlan=1"), ("br-eth2", "in_port=2,dl_vlan=2")} & flows.keys()
    tags = {each.name: each.tag for each in here.ovs_ports if each.type == "system"}
    assert (tags["tap" + uid("a")[:11]], tags["tap" + uid("b")[:11]]) == (1, 2)
    of_second = next(each for each in here.ovs_ports if each.name == "tap" + uid("b")[:11])
    assert dict(of_second.other_config)["net_uuid"] == FIRST.id, "it is a port of the whole network"


def test_tunnels_carry_what_is_on_their_segment_alone() -> None:
    tunneled = vxlan_network("x1", 5, 13)
    here = planned(
        tunneled,
        port("a", 20, tunneled, "10.10.10.2"),
        far_port("b", 21, tunneled, "10.10.10.3", tunnel_ip="10.0.0.2"),
        far_port("c", 22, tunneled, "10.10.10.4", tunnel_ip="10.0.0.3", lan_id=uid("s2")),
        peers=(TunnelPeer("h2", "10.0.0.2", ("vxlan",)), TunnelPeer("h3", "10.0.0.3", ("vxlan",))),
    )
    sent = [flow for flow in here.flows if flow.bridge == "br-tun" and "set_field:0xd->tun_id" in flow.actions]
    outputs = {word for flow in sent for word in flow.actions.split(",") if word.startswith("output:")}
    assert len(sent) == 2 and len(outputs) == 1, "one host is on the segment"
    assert not any("fa:16:3e:00:00:16" in flow.match for flow in sent)


def test_dhcp_of_a_segment_lists_the_ports_of_the_whole_network_and_says_which_that_is() -> None:
    server = dhcp_port("d", 21, SECOND, "10.10.10.3")
    served = msgspec.structs.replace(SECOND, dhcp_port_id=server.id)
    far = far_port("c", 22, FIRST, "10.10.10.4")
    here = planned(served, server, far)
    (dnsmasq,) = here.dnsmasqs
    assert dnsmasq.namespace == f"qdhcp-{SECOND.id}"
    assert "10.10.10.4" in dict(dnsmasq.files)["host"]
    assert {each.network_id for each in here.metadata} == {FIRST.id}
