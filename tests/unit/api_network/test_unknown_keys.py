"""No key of a nested object is taken that nothing reads, in any attribute that holds objects."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from deuteron.model.codecs import Anything, Codec, Invalid, ListOf, Object
from deuteron.model.network import RESOURCES, FixedIps, GatewayInfo, Keyed, Routes
from deuteron.model.network.port_codecs import AddressPairs, DhcpOptions
from deuteron.model.network.subnet_codecs import AddressPools
from deuteron.model.network.trunks import SubPorts
from deuteron.rules.network import dhcp_options
from tests import needs
from tests.unit.api_network.harness import ZERO, Client

MAC = "fa:16:3e:00:00:01"
OBJECTS: dict[tuple[str, str], Any] = {
    ("subnet", "allocation_pools"): [{"start": "10.0.0.2", "end": "10.0.0.9"}],
    ("network", "segments"): [{"provider:network_type": "vxlan"}],
    ("subnet", "host_routes"): [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}],
    ("port", "fixed_ips"): [{"ip_address": "10.0.0.9"}],
    ("port", "allowed_address_pairs"): [{"ip_address": "10.0.0.99", "mac_address": MAC}],
    ("port", "extra_dhcp_opts"): [{"opt_name": "mtu", "opt_value": "1400", "ip_version": 4}],
    ("port", "binding:profile"): {},
    ("router", "external_gateway_info"): {"network_id": ZERO, "enable_snat": False},
    ("router", "routes"): [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}],
    ("trunk", "sub_ports"): [{"port_id": ZERO, "segmentation_type": "vlan", "segmentation_id": 5}],
}
"""Every attribute that holds objects, with a value that is taken."""


def holds_objects(codec: Codec) -> bool:
    if isinstance(codec, ListOf):
        return holds_objects(codec.item)
    simple = AddressPairs | AddressPools | Anything | DhcpOptions | FixedIps
    return isinstance(codec, simple | GatewayInfo | Keyed | Object | Routes | SubPorts)


def test_the_table_has_every_attribute_that_holds_objects() -> None:
    found = {
        (resource.name, attribute.name)
        for resource in RESOURCES
        for attribute in resource.attributes
        if (attribute.create or attribute.update) and holds_objects(attribute.codec)
    }
    assert found == OBJECTS.keys()


@pytest.mark.parametrize(("kind", "name"), OBJECTS, ids=".".join)
def test_a_key_that_nothing_reads_is_refused(client: Client, kind: str, name: str) -> None:
    network = client.network("service")["id"]
    subnet = client.subnet(network, "10.0.0.0/24", "service")["id"]
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    method, path = {
        "network": ("POST", "/v2.0/networks"),
        "subnet": ("PUT", f"/v2.0/subnets/{subnet}"),
        "port": ("PUT", f"/v2.0/ports/{client.port(network, 'service')['id']}"),
        "router": ("PUT", f"/v2.0/routers/{client.post('/v2.0/routers', {'router': {'name': 'r'}})['router']['id']}"),
        "trunk": ("POST", "/v2.0/trunks"),
    }[kind]
    if kind == "trunk":
        item = {**OBJECTS[kind, name][0], "port_id": client.port(network, "service")["id"]}
        body = {"port_id": client.port(network, "service")["id"], name: [{**item, "colour": "red"}]}
        answer = client.call("POST", "/v2.0/trunks", {"trunk": body}, "service")
        assert answer.status == 400 and "colour" in answer.error["message"]
        client.post("/v2.0/trunks", {"trunk": {**body, name: [item]}}, "service")
        return
    router = path if kind == "router" else None
    if router is not None and name == "routes":
        client.put(f"{router}/add_router_interface", {"subnet_id": subnet})
    good = OBJECTS[kind, name]
    if name == "external_gateway_info":
        good = {**good, "network_id": outside}
    assert client.call(method, path, {kind: {name: good}}, "service").status in (200, 201)
    bad = [{**item, "colour": "red"} for item in good] if isinstance(good, list) else {**good, "colour": "red"}
    answer = client.call(method, path, {kind: {name: bad}}, "service")
    assert answer.status == 400, answer.raw
    assert "colour" in answer.error["message"]


def test_a_profile_is_for_services_to_set_and_none_is_read(client: Client) -> None:
    """Neutron 29 keeps it for its service role; no mechanism here reads one."""
    network = client.network("admin")["id"]
    port = client.port(network, "admin")["id"]
    assert client.call("PUT", f"/v2.0/ports/{port}", {"port": {"binding:profile": {}}}).status == 403
    assert client.put(f"/v2.0/ports/{port}", {"port": {"binding:profile": {}}}, "service")["port"]["id"] == port


@pytest.mark.parametrize(
    ("name", "version", "status"),
    [
        ("mtu", 4, 200),
        ("MTU", 4, 200),
        ("nis+-domain", 4, 200),
        ("client-id", 4, 200),
        ("67", 4, 200),
        ("bootfile-url", 6, 200),
        ("bootfile-url", 4, 400),
        ("nonsense", 4, 400),
        ("0", 4, 400),
        ("255", 4, 400),
        ("9" * 60, 4, 400),
    ],
)
def test_dhcp_options_are_those_that_the_server_knows(client: Client, name: str, version: int, status: int) -> None:
    port = client.port(client.network()["id"])["id"]
    option = {"opt_name": name, "opt_value": "1", "ip_version": version}
    assert client.call("PUT", f"/v2.0/ports/{port}", {"port": {"extra_dhcp_opts": [option]}}).status == status


@needs.needs_program("dnsmasq")
@pytest.mark.parametrize(("version", "topic"), [(4, "dhcp"), (6, "dhcp6")])
def test_the_installed_server_knows_the_dhcp_options(version: int, topic: str) -> None:
    told = subprocess.run(["dnsmasq", "--help", topic], capture_output=True, text=True, check=True).stdout
    known = {name.lower() for name in re.findall(r"^\s*[0-9]+ (\S+)$", told, re.MULTILINE)}
    assert dhcp_options.NAMES[version] <= known


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("x", "'x' is not a dictionary"),
        (7, "'7' is not a dictionary"),
        ([{}], "'[{}]' is not a dictionary"),
        ({"network_id": ZERO, "colour": None}, "Unexpected keys supplied: colour"),
    ],
)
def test_a_gateway_is_an_object_of_what_is_built(raw: Any, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        GatewayInfo().decode(raw)
    assert refused.value.reason == reason
