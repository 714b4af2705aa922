"""What a host carries goes to others: by choice of an administrator, and when the host is away for too long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.hub.healing import Healing
from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry, NetworkOptions, Operator
from deuteron.rules.hosts import registry
from deuteron.rules.network import duties
from deuteron.rules.network.duties import Duty, Move, Place, where_to
from tests.unit.api_network.harness import BRIDGES, Client, cloud_in
from tests.unit.api_network.test_schedulers import agent, dhcp_ports, hosts_of, routed, served

HOSTS = ("n1", "n2", "n3")
BOTH = frozenset(("router", "network"))


@pytest.mark.parametrize(
    ("duties", "places", "expected"),
    [
        ([], [Place("b", BOTH)], []),
        ([Duty("router", "r", "a")], [], [None]),
        ([Duty("router", "r", "a")], [Place("a", BOTH)], [None]),
        ([Duty("router", "r", "a")], [Place("b", frozenset(("network",)))], [None]),
        ([Duty("network", "n", "a", elsewhere=frozenset("b"))], [Place("b", BOTH), Place("c", BOTH, 9)], ["c"]),
        (
            [Duty("router", "r", "a", needs=frozenset(("public",)))],
            [Place("b", BOTH), Place("c", BOTH, 9, frozenset(("public", "physnet1")))],
            ["c"],
        ),
        ([Duty("router", "r", "a")], [Place("c", BOTH), Place("b", BOTH)], ["b"]),
        (
            [Duty("router", str(number), "a", ports=3) for number in range(4)],
            [Place("b", BOTH, 5), Place("c", BOTH)],
            ["c", "c", "b", "c"],
        ),
    ],
    ids=["nothing", "no host", "itself", "taken down", "carried there", "unconnected", "by name", "by load"],
)
def test_duties_go_to_the_host_with_the_fewest_ports_that_can(
    duties: list[Duty], places: list[Place], expected: list[str | None]
) -> None:
    assert where_to(duties, places) == tuple(Move(duty, to) for duty, to in zip(duties, expected, strict=True))


def options(**values: object) -> Operator:
    return Operator(network=NetworkOptions(**values))  # type: ignore[arg-type]  # the caller's choice of options


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    wanted = {"operator": options(**getattr(request, "param", {}))}
    entries = {name: HostEntry(token="t", bridge_mappings=BRIDGES) for name in HOSTS}
    with cloud_in(tmp_path, hosts=entries, **wanted) as made:
        for name in HOSTS:
            hello = Hello(
                name,
                ("network",),
                1,
                1,
                1,
                bridge_mappings=BRIDGES,
                tunnel_ip=f"192.0.2.{name[1]}",
                tunnel_types=("vxlan",),
            )
            made.cloud.database.write(lambda tx, hello=hello: registry.greet(tx, hello))
        yield made


def disable(client: Client, kind: str, host: str, up: bool = False) -> None:
    shown = client.put(f"/v2.0/agents/{agent(client, kind, host)}", {"agent": {"admin_state_up": up}})["agent"]
    assert (shown["admin_state_up"], shown["alive"]) == (up, True)


def heal(client: Client, *dead: str) -> list[tuple[str, str, str | None]]:
    """What is handed over of these hosts that are away: kind, from where, to where."""
    database, settings = client.cloud.database, client.cloud.settings
    for host in dead:
        database.write(lambda tx, host=host: registry.disconnected(tx, host))
    with database.read() as tx:
        assert set(dead) <= set(registry.silent_network_hosts(tx))
        moves = duties.overdue(tx, settings, dead)
    database.write(lambda tx: duties.hand_over(tx, settings, moves))
    with database.read() as tx:
        assert duties.overdue(tx, settings, dead) == (), "it is over"
    return [(move.duty.kind, move.duty.host, move.to) for move in moves]


def router_on(client: Client, subnet: str) -> tuple[str, str]:
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    (host,) = hosts_of(client, f"routers/{router}/l3-agents")
    return router, host


def test_an_agent_that_was_taken_down_gets_nothing_new_and_keeps_what_it_has(client: Client) -> None:
    network = client.network()["id"]
    subnet = client.subnet(network, "10.0.0.0/24")["id"]
    (first,) = hosts_of(client, f"networks/{network}/dhcp-agents")
    for kind in ("DHCP", "L3"):
        for host in HOSTS[:2]:
            disable(client, kind, host)
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == [first]
    for number in range(1, 4):
        other = client.network()["id"]
        client.subnet(other, f"10.0.{number}.0/24")
        assert hosts_of(client, f"networks/{other}/dhcp-agents") == ["n3"]
    router, host = router_on(client, subnet)
    assert host == "n3"
    taken = client.call("POST", f"/v2.0/agents/{agent(client, 'DHCP', 'n1')}/dhcp-networks", {"network_id": other})
    assert (taken.status, taken.error["type"]) == (404, "InvalidDHCPAgent")
    taken = client.call("POST", f"/v2.0/agents/{agent(client, 'L3', 'n1')}/l3-routers", {"router_id": router})
    assert (taken.status, taken.error["type"]) == (404, "InvalidL3Agent")
    disable(client, "DHCP", "n1", up=True)
    client.post(f"/v2.0/agents/{agent(client, 'DHCP', 'n1')}/dhcp-networks", {"network_id": other})


def test_of_other_agents_it_is_recorded_that_they_are_down(client: Client) -> None:
    for kind in ("Open vSwitch", "Metadata"):
        path = f"/v2.0/agents/{agent(client, kind, 'n1')}"
        assert client.put(path, {"agent": {"admin_state_up": False}})["agent"]["admin_state_up"] is False
        assert client.get(path)["agent"]["admin_state_up"] is False


@pytest.mark.parametrize("client", [{"dhcp_agents_per_network": 2}], indirect=True)
def test_as_many_hosts_serve_a_network_as_the_setting_says(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    first, second = hosts_of(client, f"networks/{network}/dhcp-agents")
    addresses = {port["fixed_ips"][0]["ip_address"] for port in dhcp_ports(client, network)}
    assert len(addresses) == 2
    (other,) = set(HOSTS) - {first, second}
    assert heal(client, first) == [("network", first, other)]
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == sorted((second, other))
    assert {port["fixed_ips"][0]["ip_address"] for port in dhcp_ports(client, network)} == addresses


def test_what_a_dead_host_carried_goes_to_living_ones_and_it_keeps_nothing(client: Client) -> None:
    network = client.network()["id"]
    subnet = client.subnet(network, "10.0.0.0/24")["id"]
    (server,) = hosts_of(client, f"networks/{network}/dhcp-agents")
    (port,) = dhcp_ports(client, network)
    router, host = router_on(client, subnet)
    for dead in {server, host}:
        moved = heal(client, dead)
        assert {to for _, _, to in moved}.isdisjoint({dead, None})
    (now,) = hosts_of(client, f"networks/{network}/dhcp-agents")
    (after,) = dhcp_ports(client, network)
    assert (after["id"], after["fixed_ips"]) == (port["id"], port["fixed_ips"])
    assert served(client, now) == {network: port["id"]}
    (runs,) = hosts_of(client, f"routers/{router}/l3-agents")
    assert routed(client, runs) == {router: 1}
    for dead in {server, host}:
        assert not served(client, dead) and not routed(client, dead)


def test_with_nobody_left_everything_stays_where_it_was(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    router, host = router_on(client, subnet)
    assert heal(client, *HOSTS) == []
    (found,) = client.get(f"/v2.0/routers/{router}/l3-agents")["agents"]
    assert (found["host"], found["alive"]) == (host, False)


def test_who_took_an_agent_down_empties_it(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    router, host = router_on(client, subnet)
    disable(client, "L3", host)
    assert [kind for kind, _, _ in heal(client, host)] in ([], ["network"])
    assert hosts_of(client, f"routers/{router}/l3-agents") == [host]


@pytest.mark.parametrize(
    "client",
    [{"allow_automatic_l3agent_failover": False, "allow_automatic_dhcp_failover": False}],
    indirect=True,
)
def test_nothing_goes_anywhere_where_that_is_not_wanted(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    _, host = router_on(client, subnet)
    assert heal(client, host) == []


def test_a_host_has_to_be_away_for_the_whole_time(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    _, host = router_on(client, subnet)
    database, healing = client.cloud.database, Healing(client.cloud.settings)

    def due(now_s: float) -> int:
        with database.read() as tx:
            return len(healing.due(tx, now_s))

    assert due(0.0) == 0, "it is there"
    database.write(lambda tx: registry.disconnected(tx, host))
    assert [due(now_s) for now_s in (100.0, 129.0)] == [0, 0]
    hello = Hello(host, ("network",), 1, 1, 1, bridge_mappings=BRIDGES)
    database.write(lambda tx: registry.greet(tx, hello))
    assert due(131.0) == 0, "it came back"
    database.write(lambda tx: registry.disconnected(tx, host))
    assert [due(now_s) for now_s in (140.0, 169.0)] == [0, 0]
    assert due(170.0) > 0
    assert due(171.0) == 0, "what could not be written at once waits"
    assert due(175.0) > 0
