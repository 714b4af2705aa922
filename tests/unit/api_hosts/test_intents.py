"""What a host should have, computed whole and step by step: both must say the same."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from deuteron.api.parts import Parts
from deuteron.hub import intents
from deuteron.model.intent import IntentGroupMember, IntentNetwork, IntentPort, IntentRouter, IntentServer, key_of
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    floatingips,
    networks,
    ports,
    routers,
    security_group_rules,
    security_groups,
    subnets,
)
from tests.unit.api_hosts.rows import Rows, cloud

HOSTS = ("h1", "h2")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Parts]:
    made = cloud(tmp_path, *HOSTS)
    yield made
    made.database.close()


def write(world: Parts, function: Callable[[Rows], None]) -> None:
    world.database.write(lambda tx: function(Rows(tx)))


def whole(world: Parts, host: str) -> intents.View:
    with world.database.read() as tx:
        return intents.snapshot(tx, world.settings, host)[1]


def step(world: Parts, host: str, view: intents.View) -> intents.Difference:
    """What the hub does for each host after a commit."""
    with world.database.read() as tx:
        touched = intents.changes_since(tx, view.revision)
        concerned = intents.concerned_hosts(tx, touched)
        if concerned is not None and host not in concerned and not view.mentions(touched):
            view.revision = intents.current_revision(tx)
            return intents.Difference(None, ())
        return intents.change(tx, world.settings, host, view, touched)


def seed(rows: Rows) -> None:
    """Two ports on one network, one on each host, a group that lets its own members in."""
    rows.network("net1")
    rows.subnet("sub1", "net1")
    rows.group("web")
    rows.rule("r1", "web", remote="web")
    rows.port(
        "vm1", "net1", host="h1", ips=(("sub1", "10.10.10.2"),), groups=("web",), owner="compute:nova", device="s1"
    )
    rows.port(
        "vm2", "net1", host="h2", ips=(("sub1", "10.10.10.3"),), groups=("web",), owner="compute:nova", device="s2"
    )
    rows.server("s1", "h1", ("vm1",))


def test_a_host_gets_its_networks_all_their_ports_and_the_members_its_rules_name(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    assert set(view.objects) == {
        ("network", "net1"),
        ("port", "vm1"),
        ("port", "vm2"),
        ("security_group", "web"),
        ("group_member", "web/vm1"),
        ("group_member", "web/vm2"),
        ("server", "s1"),
    }
    local, remote = view.objects[("port", "vm1")], view.objects[("port", "vm2")]
    assert isinstance(local, IntentPort) and isinstance(remote, IntentPort)
    assert (local.ofport, local.tunnel_ip) == (16, None)
    assert (remote.ofport, remote.host, remote.tunnel_ip) == (None, "h2", "10.0.1.2")
    network = view.objects[("network", "net1")]
    assert isinstance(network, IntentNetwork)
    assert (network.local_vlan, network.segmentation_id, network.subnets[0].cidr) == (1, 1000, "10.10.10.0/24")
    server = view.objects[("server", "s1")]
    assert isinstance(server, IntentServer)
    assert [(port.port_id, port.mtu_bytes) for port in server.ports] == [("vm1", 1500)]


def test_a_change_sends_only_what_differs(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    write(world, lambda rows: rows.set_ips("vm2", (("sub1", "10.10.10.9"),)))
    message = step(world, "h1", view).message
    assert message is not None
    assert {key_of(item) for item in message.objects} == {("port", "vm2"), ("group_member", "web/vm2")}
    member = next(item for item in message.objects if isinstance(item, IntentGroupMember))
    assert member.addresses == ("10.10.10.9",)


def test_a_change_that_does_not_concern_a_host_sends_nothing(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    write(world, lambda rows: rows.network("elsewhere", 1001))
    write(world, lambda rows: rows.port("vm9", "elsewhere", host="h2"))
    assert step(world, "h1", view).message is None


def test_the_last_port_takes_its_network_and_everything_on_it_from_the_host(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    write(world, lambda rows: rows.set_server("s1", task_state="deleting"))
    assert step(world, "h1", view).message is not None
    write(world, lambda rows: rows.delete_port("vm1"))
    message = step(world, "h1", view).message
    assert message is not None
    assert view.objects == {}
    assert ("network", "net1") in message.gone and ("port", "vm2") in message.gone


def test_a_server_that_is_to_be_deleted_leaves_the_host_before_its_ports(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    write(world, lambda rows: rows.set_server("s1", task_state="deleting"))
    message = step(world, "h1", view).message
    assert message is not None and message.gone == (("server", "s1"),)


def test_a_server_made_and_deleted_between_two_messages_is_named_as_absent(world: Parts) -> None:
    write(world, seed)
    view = whole(world, "h1")
    write(world, lambda rows: rows.server("s9", "h1", task="deleting"))
    assert step(world, "h1", view).absent == (("server", "s9"),)


def test_a_router_carries_prefixes_gateway_and_floating_ips(world: Parts) -> None:
    def build(rows: Rows) -> None:
        seed(rows)
        rows.network("ext", 0)
        rows.subnet("subx", "ext", "172.24.4.0/24", "172.24.4.1")
        rows.router("r1", "h1")
        interface, gateway = "network:router_interface", "network:router_gateway"
        rows.port("qr", "net1", host="h1", ips=(("sub1", "10.10.10.1"),), owner=interface, device="r1")
        rows.port("qg", "ext", host="h1", ips=(("subx", "172.24.4.10"),), owner=gateway, device="r1")
        rows.tx.execute(routers.update().values(gateway_port_id="qg", external_gateway_info={"enable_snat": True}))
        rows.floating_ip("f1", "r1", "vm1", "172.24.4.11", "10.10.10.2")

    write(world, build)
    router = whole(world, "h1").objects[("router", "r1")]
    assert isinstance(router, IntentRouter) and router.gateway is not None
    assert router.interfaces[0].addresses == ("10.10.10.1/24",)
    assert (router.gateway.port.addresses, router.gateway.gateway_ips) == (("172.24.4.10/24",), ("172.24.4.1",))
    assert [fip.floating_ip_address for fip in router.floating_ips] == ["172.24.4.11"]
    network = whole(world, "h1").objects[("network", "net1")]
    assert isinstance(network, IntentNetwork) and network.routed_by == "r1"


@pytest.mark.parametrize(
    ("project", "address", "speaks"),
    (("p", "::1", True), ("p", "::77", True), ("guest", "::1", True), ("guest", "::77", False)),
)
def test_a_router_of_another_project_advertises_itself_only_as_the_gateway(
    world: Parts, project: str, address: str, speaks: bool
) -> None:
    """On a shared network an advertisement would make it everybody's way out."""

    def build(rows: Rows) -> None:
        seed(rows)
        rows.subnet("sub6", "net1", "fd00:10::/64", "fd00:10::1")
        rows.tx.execute(subnets.update().where(subnets.c["id"] == "sub6").values(ip_version=6, ipv6_ra_mode="slaac"))
        rows.router("r1", "h1")
        ips = (("sub6", f"fd00:10{address}"),)
        rows.port("qr", "net1", host="h1", ips=ips, owner="network:router_interface", device="r1")
        rows.tx.execute(ports.update().where(ports.c["id"] == "qr").values(project_id=project))

    write(world, build)
    router = whole(world, "h1").objects[("router", "r1")]
    assert isinstance(router, IntentRouter)
    assert bool(router.interfaces[0].ra_subnets) is speaks


def test_a_router_that_is_not_the_gateway_takes_metadata_from_nobody(world: Parts) -> None:
    def build(rows: Rows) -> None:
        seed(rows)
        rows.router("r1", "h1")
        ips = (("sub1", "10.10.10.77"),)
        rows.port("qr", "net1", host="h1", ips=ips, owner="network:router_interface", device="r1")

    write(world, build)
    network = whole(world, "h1").objects[("network", "net1")]
    assert isinstance(network, IntentNetwork) and network.routed_by is None


# --- any sequence of operations ---------------------------------------------------------------------------------------


def _operate(dice: random.Random, count: int, tx: Tx) -> None:
    """One operation on rows, chosen among those that are possible now."""
    rows = Rows(tx)
    new = f"x{count}"

    def some(table: Any, *where: Any) -> str | None:
        found = tx.scalars(select(table.c["id"]).where(*where).order_by(table.c["id"]))
        return dice.choice(found) if found else None

    host = dice.choice((*HOSTS, None))
    network, port, group = some(networks), some(ports), some(security_groups)
    rule, router, floating, server = (some(t) for t in (security_group_rules, routers, floatingips, servers))
    # A subnet that gives a port an address is not deleted: the API refuses.
    used = {item["subnet_id"] for ips in tx.scalars(select(ports.c["fixed_ips"])) for item in ips}
    subnet = some(subnets, subnets.c["id"].not_in(used))
    choices: list[Callable[[], None]] = [
        lambda: rows.network(new, 1000 + count),
        lambda: rows.group(new),
        lambda: rows.router(new, host),
    ]
    if network is not None:
        choices.append(lambda: rows.subnet(new, network, f"10.{count % 250}.0.0/24", f"10.{count % 250}.0.1"))
        choices.append(lambda: rows.set_mtu(network, 1200 + count))
        mine = tx.scalars(select(subnets.c["id"]).where(subnets.c["network_id"] == network))
        ips = tuple((id, f"10.0.0.{count % 250}") for id in mine[:1])
        groups = (group,) if group is not None else ()
        owners = [("compute:nova", server or ""), ("network:dhcp", "dhcp"), ("", "")]
        owners += [("network:router_interface", router or ""), ("network:router_gateway", router or "")]
        owner, device = dice.choice(owners)
        choices += [lambda: rows.port(new, network, host=host, ips=ips, groups=groups, owner=owner, device=device)] * 4
    if port is not None:
        choices += [lambda: rows.bind(port, host), lambda: rows.delete_port(port)]
        choices.append(lambda: rows.set_groups(port, (group,) if group is not None and dice.random() < 0.7 else ()))
        choices.append(lambda: rows.set_ips(port, ()))
        choices.append(lambda: rows.server(new, host, (port,)))
        if router is not None:
            choices.append(
                lambda: rows.floating_ip(new, router, port, f"172.24.4.{count % 250}", f"10.0.0.{count % 250}")
            )
    if group is not None:
        choices += [lambda: rows.rule(new, group, some(security_groups) if dice.random() < 0.8 else None)] * 2
    if rule is not None:
        choices.append(lambda: rows.delete_rule(rule))
    if router is not None:
        choices.append(lambda: rows.move_router(router, host))
    if floating is not None:
        choices.append(lambda: rows.delete_floating_ip(floating))
    if subnet is not None:
        choices.append(lambda: rows.delete_subnet(subnet))
    if server is not None:
        choices.append(lambda: rows.set_server(server, task_state=dice.choice((None, "deleting")), host=host))
        choices.append(lambda: rows.delete_server(server))
    dice.choice(choices)()


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32), batches=st.lists(st.integers(1, 6), min_size=4, max_size=12))
def test_after_any_sequence_the_view_equals_a_fresh_snapshot(
    seed: int, batches: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = cloud(tmp_path_factory.mktemp("any"), *HOSTS)
    try:
        dice = random.Random(seed)
        views = {host: whole(world, host) for host in HOSTS}
        count = 0
        for size in batches:
            for _ in range(size):
                count += 1
                world.database.write(functools.partial(_operate, dice, count))
            for host, view in views.items():
                message = step(world, host, view).message
                fresh = whole(world, host)
                assert view.objects == fresh.objects, (host, message)
                assert view == fresh
        assert views == {host: whole(world, host) for host in HOSTS}
    finally:
        world.database.close()
