"""The processes of a host, as values."""

from __future__ import annotations

from pathlib import Path

from deuteron.sandbox.cloud import State, new_cloud
from deuteron.sandbox.hosts import links_of
from deuteron.sandbox.processes import api_process, host_processes
from deuteron.sandbox.topology_file import default_topology, parse_topology

STATE = State(Path("/s"))
CLOUD = new_cloud("c", "ovs", "openvswitch")


def names(text: str, host: str) -> list[str]:
    found = parse_topology(text).host(host)
    assert found is not None
    return [spec.name for spec in host_processes(found, CLOUD, STATE, "/py", Path("/src"))]


def test_a_host_that_does_everything_has_a_switch_libvirt_and_an_agent() -> None:
    assert names("", "aio") == ["aio-ovsdb-server", "aio-ovs-setup", "aio-ovs-vswitchd", "aio-libvirtd", "aio-agent"]


def test_a_host_of_the_network_group_runs_no_libvirt() -> None:
    text = '[groups]\nnetwork = ["n1"]\ncompute = ["c1"]'
    assert "n1-libvirtd" not in names(text, "n1")
    assert "c1-libvirtd" in names(text, "c1")


def test_the_world_outside_runs_what_answers_for_gateways() -> None:
    assert names("", "outside") == ["outside-gateways"]


def test_everything_a_child_waits_for_is_there() -> None:
    aio = default_topology().hosts[0]
    specs = host_processes(aio, CLOUD, STATE, "/py", Path("/src"))
    known: set[str] = set()
    assert any(spec.after for spec in specs)
    for spec in specs:
        assert set(spec.after) <= known
        known.add(spec.name)


def test_nothing_of_the_callers_environment_reaches_a_process() -> None:
    spec = api_process(STATE, "/py", Path("/src"))
    ours = {"PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONUNBUFFERED", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_"}
    assert set(spec.env) == ours
    assert spec.argv == ("/py", "-m", "deuteron.api", "--settings", "/s/api/api.json")


def test_the_switch_keeps_its_identity() -> None:
    aio = default_topology().hosts[0]
    first = host_processes(aio, CLOUD, STATE, "/py", Path("/src"))
    assert first == host_processes(aio, CLOUD, STATE, "/py", Path("/src"))


def test_every_cable_has_a_name_the_kernel_takes() -> None:
    text = '[groups]\nnetwork = ["a-very-long-host-name"]\ncompute = ["a-very-long-host-name", "b"]'
    topology = parse_topology(text)
    cables = [link for host in topology.hosts for link in links_of(host, topology)]
    assert all(len(link.outside) <= 15 for link in cables)
    assert len({link.outside for link in cables}) == len(cables)


def test_the_world_outside_has_cables_to_physical_networks_and_the_gateways_address() -> None:
    topology = default_topology()
    outside = topology.hosts[-1]
    assert [(link.inside, link.bridge, link.address) for link in links_of(outside, topology)] == [
        ("eth2", "trunk", None),
        ("eth3", "provider", "172.24.4.1/24"),
    ]
