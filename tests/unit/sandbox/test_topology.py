"""A topology file becomes hosts with names, roles and addresses, or a message that says what is wrong."""

from __future__ import annotations

import re

import pytest

from deuteron.sandbox.appliance import with_appliance
from deuteron.sandbox.cables import links_of
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.link_properties import discipline
from deuteron.sandbox.named_topologies import ALL_IN_ONE
from deuteron.sandbox.topology_file import default_topology, parse_topology
from deuteron.volume.registry import checked_options
from deuteron.volume.zfssa import ZfssaOptions

TWO_COMPUTE_HOSTS = """
[groups]
control = ["c1"]
network = ["c1"]
compute = ["c2", "c3"]

[interfaces]
vlan_interface = "trunk0"

[hosts.c3]
tunnel_ip = "172.31.7.7"
"""


def test_the_default_is_one_host_that_does_everything_and_the_world_outside() -> None:
    topology = default_topology()
    roles = ("network", "compute", "storage")
    assert [(host.name, host.roles) for host in topology.hosts] == [("aio", roles), ("outside", ())]
    aio = topology.hosts[0]
    assert (aio.management_ip, aio.tunnel_ip) == ("172.30.0.10", "172.31.0.10")
    assert aio.bridge_mappings == {"physnet1": "br-eth2", "public": "br-ex"}
    assert aio.bridge_ports == {"br-eth1": "eth1", "br-eth2": "eth2", "br-ex": "eth3"}
    assert topology.external.outside_address == "172.24.4.1/24"


def test_an_empty_file_is_the_default() -> None:
    assert parse_topology("") == default_topology()


def test_groups_give_hosts_their_roles_in_order_of_mention() -> None:
    topology = parse_topology(TWO_COMPUTE_HOSTS)
    assert [(host.name, host.roles) for host in topology.hosts] == [
        ("c1", ("network",)),
        ("c2", ("compute",)),
        ("c3", ("compute",)),
        ("outside", ()),
    ]
    assert [host.name for host in topology.agents] == ["c1", "c2", "c3"]


SEEDS = """
[physical_networks]
vlan_interface = "default"
neutron_external_interface = "physnetext"

[groups]
network = ["net1"]
compute = ["c1"]

[hosts.c1]
vlan_interface = "ens5"
"""


def test_physical_networks_have_the_names_that_the_file_gives_and_each_host_its_interface_to_them() -> None:
    topology = parse_topology(SEEDS)
    assert [host.bridge_mappings for host in topology.agents] == [
        {"default": "br-eth2", "physnetext": "br-ex"},
        {"default": "br-ens5", "physnetext": "br-ex"},
    ]
    assert [host.bridge_ports["br-ex"] for host in topology.agents] == ["eth3", "eth3"]


def test_the_trunk_interface_names_the_bridge_of_the_vlan_network() -> None:
    c2 = parse_topology(TWO_COMPUTE_HOSTS).host("c2")
    assert c2 is not None
    assert c2.bridge_mappings["physnet1"] == "br-trunk0"
    assert c2.bridge_ports["br-trunk0"] == "trunk0"


def test_a_host_is_connected_to_all_physical_networks_unless_it_is_given_fewer() -> None:
    c1, c2, c3 = parse_topology(
        TWO_COMPUTE_HOSTS + 'physical_networks = ["public"]\n[hosts.c1]\nphysical_networks = ["physnet1"]\n'
    ).agents
    assert (c1.bridge_mappings, list(c1.bridge_ports)) == ({"physnet1": "br-trunk0"}, ["br-eth1", "br-trunk0"])
    assert c2.bridge_mappings == {"physnet1": "br-trunk0", "public": "br-ex"}
    assert (c3.bridge_mappings, c3.bridge_ports) == ({"public": "br-ex"}, {"br-eth1": "eth1", "br-ex": "eth3"})


def test_a_host_promises_nothing_of_physical_networks_that_it_is_not_connected_to() -> None:
    said = "[bandwidths]\nvlan_interface = {egress = 10}\ntunnel_interface = {egress = 5}\n"
    (aio,) = parse_topology(said + '[hosts.aio]\nphysical_networks = ["public"]\n').agents
    assert aio.bandwidths == {"rp_tunnelled": {"egress": 5}}


def test_every_host_runs_the_clouds_mechanisms_in_their_order_unless_it_is_given_fewer() -> None:
    text = 'mechanism_drivers = ["pigeon", "openvswitch"]' + TWO_COMPUTE_HOSTS
    topology = parse_topology(text + '\n[hosts.c2]\nmechanism_drivers = ["openvswitch", "pigeon"]\n')
    assert topology.mechanism_drivers == ("pigeon", "openvswitch")
    assert [host.mechanism_drivers for host in topology.agents] == [("pigeon", "openvswitch")] * 3
    plain = parse_topology(text + '\n[hosts.c1]\nmechanism_drivers = ["openvswitch"]\n').host("c1")
    assert plain is not None and plain.mechanism_drivers == ("openvswitch",)
    assert default_topology().mechanism_drivers == ("openvswitch",)


def test_hosts_of_one_cloud_run_different_mechanisms() -> None:
    text = 'mechanism_drivers = ["openvswitch", "linuxbridge"]\ntunnel_types = ["gre", "vxlan", "gre"]\n'
    text += '[groups]\nnetwork = ["c1"]\ncompute = ["c2", "c3"]\nmonitoring = ["c4"]\n'
    for host, mechanism in (("c1", "openvswitch"), ("c2", "openvswitch"), ("c3", "linuxbridge")):
        text += f'[hosts.{host}]\nmechanism_drivers = ["{mechanism}"]\n'
    topology = parse_topology(text)
    assert [host.mechanism_drivers for host in topology.agents] == [("openvswitch",)] * 2 + [("linuxbridge",)]
    assert topology.tunnel_types == ("gre", "vxlan") and default_topology().tunnel_types == ("vxlan",)


def test_a_cloud_may_be_of_linux_bridges_alone() -> None:
    (host,) = parse_topology('mechanism_drivers = ["linuxbridge"]').agents
    assert "network" in host.roles and host.mechanism_drivers == ("linuxbridge",)


def test_hosts_have_what_the_file_says_to_promise_by_bridge_unless_they_say_so_themselves() -> None:
    text = """
[bandwidths]
vlan_interface = {egress = 10, ingress = 20}
tunnel_interface = {egress = 5}

[packet_rates]
any = 7
"""
    own = """
bandwidths = {neutron_external_interface = {ingress = 9}}
packet_rates = {egress = 1, ingress = 2}
"""
    c1, c2, c3 = parse_topology(TWO_COMPUTE_HOSTS + own + text).agents
    assert c1.bandwidths == {"br-trunk0": {"egress": 10, "ingress": 20}, "rp_tunnelled": {"egress": 5}}
    assert (c2.bandwidths, c2.packet_rates) == (c1.bandwidths, {"any": 7})
    assert (c3.bandwidths, c3.packet_rates) == ({"br-ex": {"ingress": 9}}, {"egress": 1, "ingress": 2})
    (aio,) = default_topology().agents
    assert (aio.bandwidths, aio.packet_rates) == ({}, {})


def test_a_host_may_choose_its_own_address() -> None:
    topology = parse_topology(TWO_COMPUTE_HOSTS)
    assert [host.tunnel_ip for host in topology.agents] == ["172.31.0.10", "172.31.0.11", "172.31.7.7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[groups", "cannot read"),
        ("[group]\n", "unknown field"),
        ('[groups]\ncooking = ["a"]', 'unknown group "cooking"'),
        ('[groups]\nnetwork = ["A_1"]\ncompute = ["b"]', 'cannot use "A_1" as a host name'),
        ('[groups]\nnetwork = ["a"]', 'group "compute"'),
        ('[groups]\nnetwork = ["outside"]\ncompute = ["a"]', 'host "outside"'),
        ('[hosts.stray]\ntunnel_ip = "172.31.0.9"', 'host "stray"'),
        ('[hosts.aio]\ntunnel_ip = "10.0.0.9"', '"10.0.0.9"'),
        ('[hosts.aio]\ntunnel_ip = "soup"', "soup"),
        ('[interfaces]\nvlan_interface = "eth3"', "same interface"),
        ('[interfaces]\nvlan_interface = "averylonginterface"', "averylonginterface"),
        ('[external]\ncidr = "10.0.0.0/24"', '"172.24.4.1"'),
        ('[external]\ncidr = "10.0.0.0/33"', "10.0.0.0/33"),
        ('[external]\npool = ["172.24.4.9", "172.24.4.2"]', "ends before it begins"),
        (
            '[groups]\nnetwork = ["a"]\ncompute = ["b"]\n[hosts.a]\ntunnel_ip = "172.31.0.11"',
            'hosts "a" and "b"',
        ),
        ('[networks]\ntunnel = "172.31.0.0/29"', "networks.tunnel"),
        ('[physical_networks]\nvlan_interface = "a b"', '"a b"'),
        ('[physical_networks]\nvlan_interface = "public"', 'the same physical network "public"'),
        (
            '[hosts.aio]\nphysical_networks = ["x"]',
            'host "aio" of file.toml cannot be connected to physical network "x"',
        ),
        (
            "[hosts.aio]\nphysical_networks = []\nbandwidths = {vlan_interface = {egress = 1}}",
            'host "aio" of file.toml cannot promise bandwidths of "vlan_interface"',
        ),
        ("[packet_rates]\nany = 5\negress = 5", 'packet_rates of host "aio"'),
        ("[bandwidths]\nvlan_interface = {egress = -1}", "egress"),
        ("[bandwidths]\nphysnet1 = {egress = 1}", "physnet1"),
        ('[physical_networks]\nvlan = "default"', "`vlan`"),
        ("[physical_networks]\nvlan_interface = 7", "vlan_interface"),
        ('mechanism_drivers = "openvswitch"', "mechanism_drivers"),
        (
            'mechanism_drivers = ["openvswitch", "linuxbridge"]',
            'host "aio" of file.toml cannot run both "openvswitch" and "linuxbridge"',
        ),
        ('tunnel_types = ["stt"]', "stt"),
        ('[hosts.aio]\nmechanism_drivers = ["pigeon"]', 'cannot run mechanism "pigeon": the cloud asks openvswitch'),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_offending_value(text: str, message: str) -> None:
    with pytest.raises(TopologyError) as refusal:
        parse_topology(text, "file.toml")
    assert message in refusal.value.message
    assert "file.toml" in refusal.value.message
    assert refusal.value.hint, "what would be accepted"
    is_about_what_is_not_there = message in ('group "compute"', "cannot read")
    assert is_about_what_is_not_there or re.search(r"\(line \d: .+\)$", refusal.value.message)


APPLIANCE = """
[appliance]
host = "aio"
password = "long enough"
"""


def test_an_appliance_runs_on_the_host_that_is_named() -> None:
    topology = parse_topology(ALL_IN_ONE + APPLIANCE)
    found = {host.name: host.appliance for host in topology.hosts}
    assert found["aio"] is not None and found["outside"] is None
    arguments = found["aio"].arguments("172.30.0.10", "/state", "/password")
    assert "long enough" not in arguments, "what processes are told is seen by everybody"
    assert arguments[arguments.index("--port") :][:2] == ("--port", "215")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"aio"\npass', '"outside"\npass', 'host "outside" of [appliance]'),
        ('"aio"\npass', '"c9"\npass', 'host "c9" of [appliance]'),
        ('"long enough"', '"short"', "appliance"),
        ('password = "long enough"', "", "password"),
        ("[appliance]", "[appliance]\ncolour = 1", "colour"),
        ("[appliance]", "[appliance]\npool_size_gib = 0", "pool_size_gib"),
        ("[appliance]", "[appliance]\npools = []", "pools"),
    ],
)
def test_an_appliance_that_cannot_be_is_refused(old: str, new: str, why: str) -> None:
    with pytest.raises(TopologyError) as refused:
        parse_topology(ALL_IN_ONE + APPLIANCE.replace(old, new))
    assert why in str(refused.value) and "long enough" not in str(refused.value)


def test_what_with_zfssa_writes_is_a_topology_that_the_driver_takes() -> None:
    text = with_appliance(ALL_IN_ONE, "aio", "172.30.0.10", "a password of it")
    host = parse_topology(text).host("aio")
    assert host is not None and host.appliance is not None
    (backend,) = host.volume_backends
    assert (backend.name, backend.driver) == ("zfssa", "zfssa")
    options = checked_options(backend.driver, backend.options)
    assert isinstance(options, ZfssaOptions)
    assert options.password == host.appliance.password and options.address == (host.management_ip, 215)
    assert options.zfssa_pool in host.appliance.pools and set(options.interfaces) <= set(host.appliance.interfaces)


def test_a_host_has_an_address_of_its_own_in_the_external_network_where_it_is_connected_to_it() -> None:
    topology = parse_topology('[hosts.aio]\nexternal_ip = "172.24.4.2"\n')
    assert topology.hosts[0].external_ip == "172.24.4.2"
    with pytest.raises(TopologyError, match=r'"172.24.5.2" of host "aio" in .* is not in "172.24.4.0/24" \(line 1: '):
        parse_topology('[hosts.aio]\nexternal_ip = "172.24.5.2"\n')
    with pytest.raises(TopologyError, match="is not connected to the external network"):
        parse_topology('[hosts.aio]\nexternal_ip = "172.24.4.2"\nphysical_networks = ["physnet1"]\n')


LINKS = """
[groups]
network = ["n1"]
compute = ["c1"]

[links]
tunnel_interface = {mtu = 1400, rate_kbps = 10_000}

[hosts.c1.links]
vlan_interface = {delay_ms = 5, jitter_ms = 1, loss_percent = 0.5, rate_kbps = 2_000}
"""


def test_links_do_to_packets_what_is_said_of_all_and_of_a_host() -> None:
    topology = parse_topology(LINKS)
    said = {
        (host.name, link.inside): (link.properties.mtu, discipline(link.properties))
        for host in topology.hosts
        for link in links_of(host, topology)
    }
    slow = ("tbf", "rate", "10000kbit", "burst", "12500", "latency", "50ms")
    far = ("netem", "delay", "5ms", "1ms", "loss", "0.5%", "rate", "2000kbit")
    assert {place: what for place, what in said.items() if what != (None, ())} == {
        ("n1", "eth1"): (1400, slow),
        ("c1", "eth1"): (1400, slow),
        ("c1", "eth2"): (None, far),
    }
    assert (topology.path_mtu, topology.physical_mtu) == (1400, 1500)


def test_networks_are_as_large_as_the_smallest_link_that_they_need() -> None:
    text = "[links]\nvlan_interface = {mtu = 9000}\nneutron_external_interface = {mtu = 2000}\n"
    assert parse_topology(text).physical_mtu == 2000
    # Nobody is connected to the other.
    assert parse_topology(f'{text}[hosts.aio]\nphysical_networks = ["physnet1"]\n').physical_mtu == 9000
    assert parse_topology(text).path_mtu == 1500


@pytest.mark.parametrize(
    ("text", "words", "accepted"),
    [
        ("[links]\ntunnel = {mtu = 1400}", "unknown field `tunnel`", "known here are network_interface, "),
        ("[links]\ntunnel_interface = {mtu = 100}", "Expected `int` >= 1280", "known here are network_interface"),
        ("[links]\ntunnel_interface = {jitter_ms = 2}", 'cannot have jitter_ms = 2', "jitter is up to delay_ms"),
        ('[hosts.aio.links]\nnic = {mtu = 1400}', "unknown field `nic`", "known here are"),
    ],
)  # fmt: skip
def test_a_link_that_is_not_there_is_refused_with_its_line(text: str, words: str, accepted: str) -> None:
    with pytest.raises(TopologyError) as refused:
        parse_topology(text)
    assert words in refused.value.message and "(line " in refused.value.message
    assert (refused.value.hint or "").startswith(accepted)
