"""Further addresses of ports: how they are told, and what their host is told."""

from __future__ import annotations

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import AddressPair, IntentPort
from tests.unit.api_network.harness import HOST, Client

PAIRS = [
    {"mac_address": "FA:16:3E:00:00:03", "ip_address": "10.0.1.1"},
    {"mac_address": "fa-16-3e-00-00-04", "ip_address": "10.0.1.2"},
    {"mac_address": "fa:16:3e:00:00:03", "ip_address": "10.0.1.1"},
]


def told(client: Client, port_id: str) -> tuple[AddressPair, ...]:
    """What the port's host is told of them."""
    projection = PROJECTIONS["port"]
    assert isinstance(projection, OnHost)
    with client.cloud.database.read() as tx:
        ((_, made),) = projection.build(Reading(tx, client.cloud.settings), [(HOST, port_id)])
    assert isinstance(made.item, IntentPort)
    return made.item.allowed_address_pairs


def test_mac_addresses_are_shown_as_they_were_written_and_told_to_hosts_as_the_switch_writes_them(
    client: Client,
) -> None:
    port = client.port(client.network()["id"], "admin", allowed_address_pairs=PAIRS, **{"binding:host_id": HOST})
    assert port["allowed_address_pairs"] == PAIRS
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["allowed_address_pairs"] == PAIRS
    assert [each.mac_address for each in told(client, port["id"])] == [
        "fa:16:3e:00:00:03", "fa:16:3e:00:00:04", "fa:16:3e:00:00:03"
    ]  # fmt: skip
    body = {"port": {"allowed_address_pairs": [{"mac_address": "FA-16-3E-00-00-05", "ip_address": "10.0.1.0/24"}]}}
    changed = client.put(f"/v2.0/ports/{port['id']}", body)["port"]
    assert changed["allowed_address_pairs"] == body["port"]["allowed_address_pairs"]
    assert told(client, port["id"]) == (AddressPair("10.0.1.0/24", "fa:16:3e:00:00:05"),)
