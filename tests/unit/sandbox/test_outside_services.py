"""What the host `outside` serves on the external network, as the topology says it, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.api.hosts.resolver import name_servers
from deuteron.model.outside import Neighbourhood
from deuteron.sandbox.cloud import State, new_cloud
from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.named_topologies import NAMES, named
from deuteron.sandbox.outside_names import files
from deuteron.sandbox.outside_relay import failure
from deuteron.sandbox.outside_services import records
from deuteron.sandbox.processes import host_processes
from deuteron.sandbox.topology import Topology
from deuteron.sandbox.topology_edits import with_host
from deuteron.sandbox.topology_file import parse_topology


def seed_e() -> Topology:
    return parse_topology(named("seed-e") or "")


def command(topology: Topology) -> list[str]:
    outside = topology.host("outside")
    assert outside is not None
    cloud = new_cloud("c", "ovs", "openvswitch")
    specs = host_processes(outside, cloud, State(Path("/s")), "/py", Path("/src"))
    return next((list(spec.argv) for spec in specs if spec.name == "outside-dnsmasq"), [])


def test_only_seed_e_has_the_router_serve_names_and_addresses() -> None:
    assert [name for name in NAMES if parse_topology(named(name) or "").outside.is_served] == ["seed-e"]
    assert command(parse_topology("")) == []


def test_the_router_of_seed_e_tells_names_leases_addresses_beside_the_pool_and_asks_the_machine() -> None:
    said = command(seed_e())
    assert said[0] == "dnsmasq"
    assert {
        "--interface=eth2",
        "--domain=openstacklocal",
        "--local=/openstacklocal/",
        "--synth-domain=openstacklocal,192.168.111.20,192.168.111.99,host-",
        "--synth-domain=openstacklocal,192.168.111.100,192.168.111.199,host-",
        "--server=127.0.0.1#5300",
        "--dhcp-range=192.168.111.100,192.168.111.199,255.255.255.0,1h",
        "--dhcp-option=option:router,192.168.111.254",
        "--dhcp-lease-max=100",
        "--addn-hosts=/s/hosts/outside/services/names",
    } <= set(said)
    told = records(seed_e().outside, seed_e().external, seed_e().hosts)
    assert told == (("rdo-neutron.openstacklocal", "192.168.111.11"), ("outside.openstacklocal", "192.168.111.254"))


def test_each_is_served_alone() -> None:
    names = command(parse_topology("[outside]\ndns = true\n"))
    assert not [word for word in names if word.startswith(("--dhcp", "--server"))]
    leases = command(parse_topology('[outside]\ndhcp = ["172.24.4.251", "172.24.4.254"]\n'))
    assert "--port=0" in leases
    assert not [word for word in leases if word.startswith(("--domain", "--addn", "--synth", "--server"))]


def test_a_host_that_is_added_leaves_the_services_as_they_are() -> None:
    assert parse_topology(with_host(named("seed-e") or "", "rdo-compute-9", ["compute"])).outside == seed_e().outside


@pytest.mark.parametrize(
    ("line", "complaint", "hint"),
    [
        (
            'dhcp = ["172.24.4.240", "172.24.4.254"]',
            'from "172.24.4.240", has addresses of the pool',
            "beside the pool",
        ),
        ('dhcp = ["172.24.4.10", "172.24.4.10"]', "172.24.4.10 to 172.24.4.250 (line 2: dhcp", "beside the pool"),
        ('dhcp = ["172.24.4.254", "172.24.4.252"]', 'ends before it begins: "172.24.4.254"', "the first and the last"),
        ('dhcp = ["172.24.4.251", "172.24.4.255"]', '"172.24.4.255" of [outside]', "in 172.24.4.0/24"),
        ('dhcp = ["10.0.0.1", "10.0.0.2"]', '"10.0.0.1" of [outside]', "in 172.24.4.0/24"),
        ('dhcp = ["fd00::1", "fd00::2"]', "cannot read `dhcp` of [outside]", "in 172.24.4.0/24"),
        ('dhcp = ["172.24.4.1", "172.24.4.5"]', "has 172.24.4.1, the address of host outside", "what hosts have"),
        ('dhcp = ["172.24.4.6", "172.24.4.8"]', "has 172.24.4.7, the address of host aio", "what hosts have"),
        ('dhcp = ["172.24.4.251"]', "$.outside.dhcp", "dns, domain, forward, dhcp"),
        ('domain = "Cloud.Example"', 'cannot use "Cloud.Example" as the domain', "openstacklocal"),
        ("forward = true", "`forward` without `dns`", "dns = true"),
        ("ntp = true", "unknown field `ntp`", "dns, domain, forward, dhcp"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(line: str, complaint: str, hint: str) -> None:
    with pytest.raises(TopologyError) as refused:
        parse_topology(f'[outside]\n{line}\n[hosts.aio]\nexternal_ip = "172.24.4.7"\n')
    assert complaint in refused.value.message
    assert f"(line 2: {line}" in refused.value.message
    assert hint in (refused.value.hint or "")


def test_addresses_of_ipv6_are_not_leased() -> None:
    text = '[external]\ncidr = "fd00::/64"\ngateway = "fd00::1"\npool = ["fd00::10", "fd00::99"]\n[outside]\n'
    assert "--dhcp-range" not in " ".join(command(parse_topology(f"{text}dns = true\n")))
    with pytest.raises(TopologyError, match="cannot lease addresses of"):
        parse_topology(f'{text}dhcp = ["fd00::100", "fd00::200"]\n')


def test_the_cloud_takes_no_name_of_the_topology() -> None:
    cloud = Neighbourhood((("vm1.x", "10.0.0.5"), ("aio.x", "10.0.0.6")), ("fa:16:3e:00:00:01",))
    assert files(cloud, (("aio.x", "10.0.0.2"),)) == {
        "names": "10.0.0.2 aio.x\n10.0.0.5 vm1.x\n",
        "stations": "fa:16:3e:00:00:01,ignore\n",
    }


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("1234 0100 0001000000000001 01610162 00 0001 0001 0000291000000000000000",
         "1234 8182 0001000000000000 0161016200 0001 0001"),
        ("1234 0100 000100000000000001", "1234 8182 0000000000000000"),
        ("1234 0100 0002000000000000 00 0001 0001 00 0001 0001", "1234 8182 0000000000000000"),
    ],
)  # fmt: skip
def test_a_question_that_nobody_answers_has_failed(question: str, answer: str) -> None:
    assert failure(bytes.fromhex(question)) == bytes.fromhex(answer.replace(" ", ""))


def test_a_resolver_is_what_resolv_conf_names(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert name_servers(path) == []
    path.write_text("# nameserver 192.0.2.9\nsearch example\nnameserver\nnameserver 192.0.2.1\nnameserver ::1\n")
    assert name_servers(path) == ["192.0.2.1", "::1"]
