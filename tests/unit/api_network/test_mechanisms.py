"""A cloud with a third party's mechanism beside ours, as the API sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.net.mechanisms import registry as found
from deuteron.rules.hosts import registry
from deuteron.rules.network.bindings import UnknownMechanism, mechanisms_of
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network import pigeon
from tests.unit.api_network.harness import BRIDGES, HOST, Client, cloud_in, settings_in

BOTH = ("pigeon", "openvswitch")
HOSTS = {
    HOST: HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1", mechanism_drivers=BOTH),
    "far": HostEntry(token="u", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.2", roles=("compute",)),
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    found.reread()
    pigeon.install(tmp_path / "site", monkeypatch)
    with cloud_in(tmp_path, mechanism_drivers=BOTH, hosts=HOSTS) as made:
        yield made
    found.reread()


def test_a_port_is_bound_by_the_first_mechanism_that_takes_it(client: Client) -> None:
    network = client.network("admin")
    client.subnet(network["id"], "10.0.0.0/24", "admin")
    open_port = {"port_security_enabled": False, "binding:host_id": HOST}
    letter = client.port(network["id"], "admin", **open_port)
    assert letter["binding:vif_type"] == "tap"
    assert letter["binding:vif_details"]["bound_drivers"] == {"0": "pigeon"}
    secured = client.port(network["id"], "admin", **{"binding:host_id": HOST})
    elsewhere = client.port(network["id"], "admin", **{**open_port, "binding:host_id": "far"})
    (dhcp,) = client.get("/v2.0/ports?device_owner=network:dhcp")["ports"]
    for port in (secured, elsewhere, dhcp):
        assert port["binding:vif_details"]["bound_drivers"] == {"0": "openvswitch"}

    ports = whole(client.cloud, HOST).ports
    assert (ports[letter["id"]].mechanism, ports[letter["id"]].vif_details) == ("pigeon", (("coop", "north"),))
    assert (ports[secured["id"]].mechanism, ports[secured["id"]].vif_details) == ("openvswitch", ())


def test_a_port_that_nobody_takes_keeps_the_reason_of_each(client: Client) -> None:
    wanted = {"binding:host_id": HOST, "binding:vnic_type": "macvtap"}
    port = client.port(client.network("admin")["id"], "admin", **wanted)
    assert port["binding:vif_type"] == "binding_failed"
    assert port["binding:vif_details"]["refusal"] == (
        f"cannot bind port {port['id']} on host {HOST}: pigeon: no macvtap letters; "
        'openvswitch: vnic_type "macvtap" is not supported (supported: normal)\n'
        "hint: create the port with --vnic-type normal; write a normal one"
    )


def test_every_mechanism_of_a_host_is_an_agent_with_its_own_ports(client: Client) -> None:
    def connect(name: str, mechanisms: tuple[str, ...]) -> None:
        hello = Hello(name, ("compute",), 1, 1, 1, bridge_mappings=BRIDGES, mechanism_drivers=mechanisms)
        client.cloud.database.write(lambda tx: registry.greet(tx, hello))

    connect(HOST, BOTH)
    connect("far", ("openvswitch",))
    network = client.network("admin")["id"]
    for host, is_open in ((HOST, True), (HOST, True), (HOST, False), ("far", True)):
        client.port(network, "admin", **{"port_security_enabled": not is_open, "binding:host_id": host})
    shown = {(agent["host"], agent["binary"]): agent for agent in client.get("/v2.0/agents")["agents"]}
    assert set(shown) == {
        (HOST, "pigeon-agent"),
        (HOST, "neutron-openvswitch-agent"),
        ("far", "neutron-openvswitch-agent"),
    }
    pigeons = shown[HOST, "pigeon-agent"]
    assert (pigeons["agent_type"], pigeons["alive"]) == ("Pigeon agent", True)
    assert pigeons["configurations"] == {"coops": sorted(BRIDGES), "devices": 2}
    assert shown[HOST, "neutron-openvswitch-agent"]["configurations"]["devices"] == 1


def test_a_cloud_with_a_mechanism_that_is_not_installed_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UnknownMechanism, match='unknown mechanism "carrier" in mechanism_drivers'):
        mechanisms_of(settings_in(tmp_path, mechanism_drivers=("carrier",)))
