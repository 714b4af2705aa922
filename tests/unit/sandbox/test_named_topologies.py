"""The topologies that `deuteron up` knows by name."""

from __future__ import annotations

import pytest

from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.hosts import links_of
from deuteron.sandbox.named_topologies import MOST_COMPUTE_HOSTS, NAMES, named
from deuteron.sandbox.topology import Topology
from deuteron.sandbox.topology_file import default_topology, parse_topology


def _topology(name: str, compute: int | None = None) -> Topology:
    text = named(name, compute)
    assert text is not None
    return parse_topology(text, name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_topology(name: str) -> None:
    assert _topology(name).agents
    assert named(f"{name}.toml") is None


def test_all_in_one_is_the_default() -> None:
    assert _topology("all-in-one") == default_topology()


def test_seed_e_has_its_hosts_and_addresses() -> None:
    topology = _topology("seed-e")
    assert {host.name: (host.roles, host.tunnel_ip) for host in topology.hosts if host.tunnel_ip} == {
        "rdo-control": ((), "192.168.50.20"),
        "rdo-neutron": (("network",), "192.168.50.21"),
        "rdo-compute-1": (("compute",), "192.168.50.22"),
        "rdo-compute-2": (("compute",), "192.168.50.23"),
    }
    for host in topology.agents:
        assert host.bridge_mappings == {"physnetext": "br-ex"}
        assert host.bridge_ports == {"br-eth1": "eth1", "br-ex": "eth2"}
    control, neutron = topology.hosts[:2]
    assert [link.inside for link in links_of(control, topology)] == ["eth0", "eth1"]
    assert neutron.external_ip == "192.168.111.11"
    assert topology.external.outside_address == "192.168.111.254/24"


def test_seed_e_takes_a_number_of_compute_hosts() -> None:
    assert [host.name for host in _topology("seed-e", 4).agents][1:] == [f"rdo-compute-{n}" for n in range(1, 5)]
    assert len(_topology("seed-e", MOST_COMPUTE_HOSTS).agents) == MOST_COMPUTE_HOSTS + 1
    for wrong in (0, MOST_COMPUTE_HOSTS + 1):
        with pytest.raises(TopologyError, match="compute hosts"):
            named("seed-e", wrong)
    with pytest.raises(TopologyError, match="it has those that it has"):
        named("osad", 3)


def test_osad_has_two_interfaces_on_its_first_host_and_four_on_the_others() -> None:
    topology = _topology("osad")
    cables = {host.name: len(links_of(host, topology)) for host in topology.hosts}
    assert cables == {"osad": 2, "osad1": 4, "osad2": 4, "outside": 2}


def test_racks_are_connected_to_a_physical_network_each() -> None:
    assert [host.bridge_mappings for host in _topology("routed").agents] == [
        {"physnet1": "br-eth2"},
        {"physnet2": "br-ex"},
    ]
