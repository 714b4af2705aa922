"""Which address a port gets."""

from __future__ import annotations

import ipaddress
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from deuteron.rules.network import addresses
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations
from tests.stores import open_database
from tests.unit.api_network.harness import Client

SUBNET: dict[str, Any] = {"id": "s", "network_id": "n", "ip_version": 4, "cidr": "10.0.0.0/28"}


def address(port: Any, place: int = 0) -> str:
    return str(port["fixed_ips"][place]["ip_address"])


def test_an_address_given_back_is_the_next_one_taken(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    held = [client.port(network["id"]) for _ in range(4)]
    assert [address(port) for port in held] == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]
    client.delete(f"/v2.0/ports/{held[1]['id']}")
    assert address(client.port(network["id"])) == "10.0.0.3"
    assert address(client.port(network["id"])) == "10.0.0.6"


def test_a_full_subnet_refuses_and_the_next_one_serves(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/30", enable_dhcp=False)
    assert address(client.port(network["id"])) == "10.0.0.2"
    refused = client.call("POST", "/v2.0/ports", {"port": {"network_id": network["id"]}}, "demo")
    assert (refused.status, refused.error["type"]) == (409, "IpAddressGenerationFailure")
    client.subnet(network["id"], "10.0.1.0/24", enable_dhcp=False)
    assert address(client.port(network["id"])) == "10.0.1.2"


def test_dhcp_leaves_the_lowest_address_to_the_first_guest(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "20.20.20.0/24")
    (dhcp,) = client.get(f"/v2.0/ports?network_id={network['id']}")["ports"]
    assert (address(dhcp), dhcp["device_owner"]) == ("20.20.20.3", "network:dhcp")
    assert address(client.port(network["id"])) == "20.20.20.2"
    assert address(client.port(network["id"])) == "20.20.20.4"


def test_dhcp_comes_and_goes_with_the_subnets_it_serves(client: Client) -> None:
    network = client.network()
    first = client.subnet(network["id"], "10.1.0.0/24")
    second = client.subnet(network["id"], "10.2.0.0/24")
    (port,) = client.get("/v2.0/ports?device_owner=network:dhcp")["ports"]
    assert [item["subnet_id"] for item in port["fixed_ips"]] == [first["id"], second["id"]]
    client.put(f"/v2.0/subnets/{first['id']}", {"subnet": {"enable_dhcp": False}})
    (port,) = client.get("/v2.0/ports?device_owner=network:dhcp")["ports"]
    assert [item["subnet_id"] for item in port["fixed_ips"]] == [second["id"]]
    client.delete(f"/v2.0/subnets/{second['id']}")
    assert client.get("/v2.0/ports")["ports"] == []


def test_guests_of_an_automatic_subnet_have_the_address_of_their_mac(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "fd00:20::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"], mac_address="fa:16:3e:9f:3b:8c")
    assert address(port, 0) == "10.0.0.2"
    assert address(port, 1) == "fd00:20::f816:3eff:fe9f:3b8c"


def test_ports_that_are_there_join_a_new_automatic_subnet(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"], mac_address="fa:16:3e:00:00:01")
    client.subnet(network["id"], "fd00::/64", ipv6_address_mode="slaac")
    port = client.get(f"/v2.0/ports/{port['id']}")["port"]
    assert address(port, 1) == "fd00::f816:3eff:fe00:1"


def test_a_stateful_ipv6_subnet_gives_its_lowest_address(client: Client) -> None:
    network = client.network()
    modes = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
    client.subnet(network["id"], "fd00::/64", **modes)
    assert address(client.port(network["id"])) == "fd00::1"


def test_a_gateway_in_the_middle_splits_the_pool(client: Client) -> None:
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/29", gateway_ip="10.0.0.3", enable_dhcp=False)
    assert subnet["allocation_pools"] == [
        {"start": "10.0.0.1", "end": "10.0.0.2"},
        {"start": "10.0.0.4", "end": "10.0.0.6"},
    ]
    assert [address(client.port(network["id"])) for _ in range(4)] == ["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5"]


def test_a_port_keeps_the_addresses_it_names_again(client: Client) -> None:
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"])
    wanted = [*port["fixed_ips"], {"ip_address": "10.0.0.9"}]
    changed = client.put(f"/v2.0/ports/{port['id']}", {"port": {"fixed_ips": wanted}}, "demo")["port"]
    assert changed["fixed_ips"] == [
        {"subnet_id": subnet["id"], "ip_address": "10.0.0.2"},
        {"subnet_id": subnet["id"], "ip_address": "10.0.0.9"},
    ]
    changed = client.put(f"/v2.0/ports/{port['id']}", {"port": {"fixed_ips": []}}, "demo")["port"]
    assert changed["fixed_ips"] == []
    assert address(client.port(network["id"])) == "10.0.0.2"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.just(None), st.integers(1, 14), st.integers(-14, -1)), max_size=60))
def test_the_lowest_free_address_is_taken_whatever_came_before(tmp_path: Path, steps: list[int | None]) -> None:
    """None takes the lowest, n takes the address n, -n gives n back; a plain set says what should happen."""
    database = open_database(Path(tempfile.mkdtemp(dir=tmp_path)))
    base = int(ipaddress.ip_address("10.0.0.0"))
    pool = set(range(2, 13))
    taken: set[int] = set()

    def play(tx: Tx) -> None:
        low, high = ipaddress.ip_address(base + 2), ipaddress.ip_address(base + 12)
        addresses.set_pools(tx, "s", [(low, high)])
        for step in steps:
            if step is None:
                got = addresses.take_lowest(tx, SUBNET, "p")
                free = sorted(pool - taken)
                assert (got is None) == (not free)
                if got is not None:
                    assert int(ipaddress.ip_address(got["ip_address"])) - base == free[0]
                    taken.add(free[0])
            elif step > 0 and step not in taken:
                addresses.take_exact(tx, SUBNET, "p", ipaddress.ip_address(base + step))
                taken.add(step)
            elif step < 0 and -step in taken:
                held = {"subnet_id": "s", "ip_address": str(ipaddress.ip_address(base - step))}
                addresses.release(tx, "p", [held])
                taken.remove(-step)
        rows = {int(number, 16) - base for number in tx.scalars(select(ip_allocations.c.number))}
        assert rows == taken

    try:
        database.write(play)
    finally:
        database.close()
