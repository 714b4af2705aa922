"""A host more or less in a topology: the others keep what they are."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.sandbox.errors import TopologyError
from deuteron.sandbox.named_topologies import NAMES, named
from deuteron.sandbox.topology import OUTSIDE, Host
from deuteron.sandbox.topology_edits import with_host, without_host
from deuteron.sandbox.topology_file import parse_topology


def _hosts(text: str) -> dict[str, Host]:
    # The number is where a host is mentioned, from which only its addresses follow; of outside nobody uses this one.
    return {
        host.name: msgspec.structs.replace(
            host, number=0, management_ip="" if host.name == OUTSIDE else host.management_ip
        )
        for host in parse_topology(text).hosts
    }


def _text(name: str) -> str:
    text = named(name)
    assert text is not None
    return text


@pytest.mark.parametrize("name", NAMES)
def test_a_host_that_comes_and_goes_changes_no_other(name: str) -> None:
    before = _hosts(_text(name))
    more = with_host(_text(name), "newcomer", ["compute"])
    after = _hosts(more)
    assert {key: host for key, host in after.items() if key != "newcomer"} == before
    assert after["newcomer"].roles == ("compute",)
    assert _hosts(without_host(more, "newcomer")) == before


def test_a_new_host_is_like_the_first_of_its_groups_and_has_the_next_addresses() -> None:
    host = _hosts(with_host(_text("seed-e"), "rdo-compute-3", ["compute"]))["rdo-compute-3"]
    assert host.bridge_mappings == {"physnetext": "br-ex"}
    assert (host.management_ip, host.tunnel_ip, host.external_ip) == ("172.30.0.14", "192.168.50.24", None)


def test_addresses_stay_when_a_host_before_them_leaves() -> None:
    text = '[groups]\nnetwork = ["a"]\ncompute = ["b", "c", "d"]\n'
    before, after = _hosts(text), _hosts(without_host(text, "b"))
    assert after == {name: host for name, host in before.items() if name != "b"}
    assert _hosts(with_host(without_host(text, "d"), "e", ["compute"]))["e"].tunnel_ip == "172.31.0.13"


def test_a_network_that_is_full_takes_no_host() -> None:
    text = '[networks]\ntunnel = "10.0.0.0/28"\n'
    for name in ("b", "c", "d", "e"):
        text = with_host(text, name, ["compute"])
    assert _hosts(text)["e"].tunnel_ip == "10.0.0.14"
    with pytest.raises(TopologyError, match=r'network "10\.0\.0\.0/28" has no address left'):
        with_host(text, "f", ["compute"])


def test_what_a_topology_says_else_stays() -> None:
    text = """\
mechanism_drivers = ["openvswitch"]
[groups]
network = ["a"]
compute = ["b"]
storage = ["b", "c"]
[bandwidths]
tunnel_interface = {egress = 5}
[packet_rates]
any = 7
[volume.backends.fast]
driver = "file"
max_over_subscription_ratio = 1.5
secret = "a \\"quoted\\" \\u007f é"
hosts = ["b", "c"]
"""
    before, after = parse_topology(text), parse_topology(without_host(text, "c"))
    assert (after.external, after.networks) == (before.external, before.networks)
    b = after.host("b")
    assert b is not None and b.bandwidths == {"rp_tunnelled": {"egress": 5}} and b.packet_rates == {"any": 7}
    (backend,) = b.volume_backends
    assert backend.options == {"secret": 'a "quoted" \x7f é'} and b.volume_backends == before.hosts[1].volume_backends


def test_what_leaves_no_cloud_is_refused() -> None:
    with pytest.raises(TopologyError, match='group "network" of the topology without "aio" has no host'):
        without_host("", "aio")
    with pytest.raises(TopologyError, match='cannot add host "x" to group "cooking"'):
        with_host("", "x", ["cooking"])
    with pytest.raises(TopologyError, match='cannot use "X!" as a host name'):
        with_host("", "X!", ["compute"])
