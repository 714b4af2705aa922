"""What people say and are told: ends by name, causes with what would let the packet pass, text and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from deuteron.model.outside import ExternalNetwork
from deuteron.trace.catalog import Catalog
from deuteron.trace.ends import AmbiguousEnd, ends, external_networks
from deuteron.trace.packet import TCP
from deuteron.trace.report import Report, lines, report
from deuteron.trace.walk import Asked, NoSuchEnd
from deuteron.trace.world import Guest, Machine, World
from tests.unit.net.plancloud import PEERS, SETTINGS, intent, mac, uid, whole_cloud

P = uid("p")


def row(word: str, network: str, subnet: str, address: str, owner: str = "compute:nova", **more: Any) -> dict[str, Any]:
    return {
        "id": uid(word), "name": "", "network_id": uid(network), "device_owner": owner, "device_id": uid("vm" + word),
        "fixed_ips": [{"subnet_id": uid(subnet), "ip_address": address}], "admin_state_up": True, "status": "ACTIVE",
        "allowed_address_pairs": [], "mac_address": mac(1), **more,
    }  # fmt: skip


def catalog(statuses: Mapping[str, str] | None = None) -> Catalog:
    """The names of what `whole_cloud` has; ports are ACTIVE, but those with another of `statuses`."""
    made = _catalog()
    ports = [{**port, "status": (statuses or {}).get(port["id"], "ACTIVE")} for port in made["port"]]
    return Catalog({**made, "port": ports})


def _catalog() -> dict[str, list[dict[str, Any]]]:
    subnet = {"enable_dhcp": True, "host_routes": [], "ip_version": 4}
    return (
        {
            "network": [
                {"id": uid("n1"), "name": "red", "admin_state_up": True},
                {"id": uid("n2"), "name": "blue", "admin_state_up": True},
                {"id": uid("ext"), "name": "public", "router:external": True, "provider:network_type": "flat",
                 "provider:physical_network": "public", "admin_state_up": True},
            ],
            "subnet": [
                {"id": uid("s1"), "name": "", "network_id": uid("n1"), "cidr": "10.10.10.0/24",
                 "gateway_ip": "10.10.10.1", **subnet},
                {"id": uid("s2"), "name": "blue-subnet", "network_id": uid("n2"), "cidr": "20.20.20.0/24",
                 "gateway_ip": "20.20.20.1", **subnet},
                {"id": uid("s3"), "name": "", "network_id": uid("ext"), "cidr": "172.24.4.0/24",
                 "gateway_ip": "172.24.4.1", **subnet},
            ],
            "port": [
                row("a", "n1", "s1", "10.10.10.2"), row("b", "n1", "s1", "10.10.10.4", name="twin"),
                row("c", "n2", "s2", "20.20.20.2"),
                row("e1", "n1", "s1", "10.10.10.1", "network:router_interface", device_id=uid("r")),
                row("e2", "ext", "s3", "172.24.4.10", "network:router_gateway", device_id=uid("r")),
                row("x", "n1", "s1", "10.10.10.66", **{"binding:vif_type": "binding_failed"}),
            ],
            "router": [{"id": uid("r"), "name": "edge"}],
            "security_group": [{"id": uid("g"), "name": "web"}, {"id": uid("h"), "name": "http"}],
            "floatingip": [
                {"id": uid("fip"), "floating_ip_address": "172.24.4.20", "port_id": uid("a"), "router_id": uid("r"),
                 "floating_network_id": uid("ext")}
            ],
            "server": [{"id": uid("vma"), "name": "vm-a"}, {"id": uid("vmb"), "name": "twin"}],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    machine = Machine(intent(*whole_cloud(), peers=PEERS), SETTINGS)
    return World({"aio": machine}, (ExternalNetwork("public", None, ("172.24.4.1/24",)),), frozenset({"public"}))


def told(world: World, source: str, destination: str, asked: Asked | None = None, **said: str) -> Report:
    sender, receiver = ends(world, catalog(), source, destination)
    return report(world, catalog(), msgspec.structs.replace(sender, **said), receiver, asked or Asked())


def kind(found: Report) -> str:
    assert found.cause is not None
    return found.cause.kind


def test_the_gateways_of_external_networks_are_outside() -> None:
    assert external_networks(catalog()) == (ExternalNetwork("public", None, ("172.24.4.1/24",)),)


@pytest.mark.parametrize(
    ("source", "destination", "address"),
    [
        ("vm-a", "10.10.10.4", "10.10.10.4"),
        (uid("a"), uid("b"), "10.10.10.4"),
        ("10.10.10.2", "red/10.10.10.4", "10.10.10.4"),
        ("red/10.10.10.2", "edge", "10.10.10.1"),
        ("outside", "vm-a", "172.24.4.20"),
        ("172.24.4.20", "outside", "172.24.4.1"),
        ("edge", uid("c"), "20.20.20.2"),
    ],
)
def test_an_end_is_said_in_many_ways(world: World, source: str, destination: str, address: str) -> None:
    _, receiver = ends(world, catalog(), source, destination)
    assert receiver.address == address


def test_a_name_of_several_is_refused_with_what_they_are(world: World) -> None:
    with pytest.raises(AmbiguousEnd, match=r'"twin" is server twin \(.*\), and port twin'):
        ends(world, catalog(), "vm-a", "twin")
    with pytest.raises(NoSuchEnd, match='called "nobody"'):
        ends(world, catalog(), "vm-a", "nobody")
    with pytest.raises(NoSuchEnd, match='no network "green"'):
        ends(world, catalog(), "vm-a", "green/10.0.0.1")


def test_a_missing_rule_is_named_with_the_command_that_adds_it(world: World) -> None:
    found = told(world, "edge", uid("b"), Asked(TCP, 8080))
    assert found.cause is not None and not found.arrives
    assert found.cause.text == (
        f"security groups web and http of port twin ({uid('b')}) of server twin have no rule that lets tcp/8080 in "
        "from 10.10.10.1"
    )
    assert found.cause.hint == (
        "openstack security group rule create --ingress --protocol tcp --dst-port 8080 --remote-ip 10.10.10.1/32 "
        f"{uid('g')}"
    )


def test_causes_are_named_in_the_words_of_who_asks(world: World) -> None:
    assert kind(told(world, "vm-a", "10.10.10.99")) == "no-such-address"
    assert kind(told(world, uid("c"), "8.8.8.8")) == "no-interface"
    assert kind(told(world, "vm-a", "8.8.8.8", gateway="10.10.10.77")) == "wrong-gateway"
    assert kind(told(world, "vm-a", "10.10.10.4", address="10.10.10.77")) == "anti-spoofing"
    assert kind(told(world, "vm-a", "10.10.10.4", Asked(size_bytes=2000))) == "mtu"
    assert kind(told(world, "outside", uid("b"))) == "no-floating-ip"
    assert kind(told(world, "vm-a", uid("c"))) == "no-interface"
    assert kind(told(world, uid("x"), "10.10.10.4")) == "port-unbound"


def test_a_port_that_was_never_wired_since_its_agent_is_silent_is_named(world: World) -> None:
    silent = msgspec.structs.replace(world, silent=frozenset({"aio"}))
    found = told(silent, "vm-a", "10.10.10.4", Asked(TCP, 22))
    assert found.is_answered and "does not answer" in found.notes[0]
    rows = catalog({uid("b"): "DOWN"})
    sender, receiver = ends(silent, rows, "vm-a", uid("b"))
    assert kind(report(silent, rows, sender, receiver, Asked(TCP, 22))) == "agent-down"


def test_a_server_that_is_off_is_named() -> None:
    machine = Machine(intent(*whole_cloud(), peers=PEERS), SETTINGS)
    cloud = World({"aio": machine}, guests={uid("vmb"): Guest("SHUTOFF")})
    found = told(cloud, "vm-a", uid("b"), Asked(TCP, 22))
    assert found.cause is not None and found.cause.kind == "server-off"
    assert found.cause.text == f"server twin ({uid('vmb')}) does not run: its state is SHUTOFF"


def test_the_text_has_every_hop_and_the_verdict(world: World) -> None:
    shown = list(lines(told(world, "vm-a", "8.8.8.8"), catalog()))
    assert shown[0] == f"icmp from 10.10.10.2 to 8.8.8.8: server vm-a ({uid('vma')}) to 8.8.8.8"
    assert "verdict: arrives, and the answer comes back" in shown
    assert any("source 10.10.10.2 becomes 172.24.4.20" in line for line in shown)
    assert any(line.strip().startswith("-A neutron-l3-agent-float-snat") for line in shown)
    assert any("guest vm-a" in line and "[server vm-a" in line for line in shown)
