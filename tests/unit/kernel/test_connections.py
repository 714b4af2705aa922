"""Which tracked connections have outlived what allowed them, as values."""

from __future__ import annotations

from ipaddress import IPv4Address

import msgspec
import pytest

from deuteron.net.kernel.connections import Judge, Tuples
from deuteron.net.rows import Connections, Forwarding

A, B, NEIGHBOUR, GATEWAY, FLOATING, WORLD, METADATA = (
    "10.10.10.5", "10.10.10.6", "20.20.20.7", "172.24.4.10", "172.24.4.20", "192.0.2.1", "169.254.169.254",
)  # fmt: skip

ROUTER = Connections(
    "qrouter-r",
    inside=("10.10.10.0/24", "20.20.20.0/24"),
    outside=("172.24.4.0/24",),
    own=("10.10.10.1", "20.20.20.1", GATEWAY, FLOATING),
    floating=((FLOATING, A),),
    gateway=GATEWAY,
    snat=True,
    redirected=(METADATA,),
)


def has_outlived(row: Connections, way: str) -> bool:
    """`way` has the addresses of a connection: sender, destination, who answers, and to whom."""
    return Judge(row).has_outlived(Tuples(*(IPv4Address(word).packed for word in way.split())))


ALLOWED = {
    "from outside to a floating IP": f"{WORLD} {FLOATING} {A} {WORLD}",
    "out with a floating IP": f"{A} {WORLD} {WORLD} {FLOATING}",
    "out with the gateway's address": f"{B} {WORLD} {WORLD} {GATEWAY}",
    "out with the gateway's address, begun before the floating IP": f"{A} {WORLD} {WORLD} {GATEWAY}",
    "to a neighbour by its floating IP": f"{B} {FLOATING} {A} {GATEWAY}",
    "to oneself by the own floating IP": f"{A} {FLOATING} {A} {FLOATING}",
    "between interfaces": f"{A} {NEIGHBOUR} {NEIGHBOUR} {A}",
    "to the router": f"{A} 10.10.10.1 10.10.10.1 {A}",
    "of the router": f"{GATEWAY} {WORLD} {WORLD} {GATEWAY}",
    "of the router to a floating IP": f"{GATEWAY} {FLOATING} {A} {GATEWAY}",
    "from outside without translation": f"{WORLD} {B} {B} {WORLD}",
    "to the metadata service": f"{A} {METADATA} 10.10.10.1 {A}",
}
CHANGES = {
    "moved": {"floating": ((FLOATING, B),)},
    "taken away": {"floating": ()},
    "SNAT off": {"snat": False},
    "no gateway": {"gateway": None, "floating": (), "outside": (), "snat": False},
    "another gateway address": {"gateway": "172.24.4.11"},
    "no interface": {"inside": ("20.20.20.0/24",), "floating": ()},
    "route instead of interface": {"inside": ("20.20.20.0/24", "10.10.0.0/16")},
}
ENDED = {
    "moved": {
        "from outside to a floating IP", "out with a floating IP", "to a neighbour by its floating IP",
        "to oneself by the own floating IP", "of the router to a floating IP",
    },
    "SNAT off": {
        "out with the gateway's address", "out with the gateway's address, begun before the floating IP",
    },
    "another gateway address": {
        "out with the gateway's address", "out with the gateway's address, begun before the floating IP",
        "to a neighbour by its floating IP",
    },
    "route instead of interface": set(),
}  # fmt: skip
ENDED["taken away"] = ENDED["moved"]
ENDED["no interface"] = ENDED["moved"] | ENDED["SNAT off"]
ENDED["no gateway"] = ENDED["moved"] | ENDED["SNAT off"]


@pytest.mark.parametrize("way", ALLOWED)
def test_what_a_router_translates_so_goes_on(way: str) -> None:
    assert not has_outlived(ROUTER, ALLOWED[way])


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_ends_exactly_what_it_took_the_ground_from(change: str) -> None:
    row = msgspec.structs.replace(ROUTER, **CHANGES[change])
    assert {name for name, way in ALLOWED.items() if has_outlived(row, way)} == ENDED[change]


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(f"{B} {WORLD} {WORLD} {B}", id="out untranslated, begun while SNAT was off"),
        pytest.param(f"{WORLD} {FLOATING} {FLOATING} {WORLD}", id="to a floating IP before it was one"),
        pytest.param(f"{B} {FLOATING} {FLOATING} {GATEWAY}", id="from inside to a floating IP before it was one"),
        pytest.param(f"{A} {METADATA} 30.30.30.1 {A}", id="metadata by an address the router no longer has"),
        pytest.param(f"30.30.30.5 {WORLD} {WORLD} {GATEWAY}", id="from a network that is not there"),
    ],
)
def test_what_began_under_other_rules_has_outlived_them(way: str) -> None:
    assert has_outlived(ROUTER, way)


FORWARDS = "172.24.4.30"
FORWARDING = msgspec.structs.replace(
    ROUTER,
    own=(*ROUTER.own, FORWARDS),
    forwarded=(
        Forwarding(6, FORWARDS, 2222, 2222, B, 22),
        Forwarding(17, FORWARDS, 100, 110, B, 200, is_shifted=True),
        Forwarding(6, FORWARDS, 120, 130, A, 400),
    ),
)


@pytest.mark.parametrize(
    ("ports", "way", "outlived"),
    [
        ((6, 2222, 22), f"{WORLD} {FORWARDS} {B} {WORLD}", False),
        ((6, 2222, 22), f"{A} {FORWARDS} {B} {GATEWAY}", False),
        ((17, 105, 205), f"{WORLD} {FORWARDS} {B} {WORLD}", False),
        ((6, 125, 400), f"{WORLD} {FORWARDS} {A} {WORLD}", False),
        ((6, 80, 80), f"{WORLD} {FORWARDS} {FORWARDS} {WORLD}", False),
        ((1, 0, 0), f"{WORLD} {FORWARDS} {FORWARDS} {WORLD}", False),
        ((6, 2222, 22), f"{WORLD} {FORWARDS} {A} {WORLD}", True),
        ((6, 2222, 23), f"{WORLD} {FORWARDS} {B} {WORLD}", True),
        ((6, 2223, 22), f"{WORLD} {FORWARDS} {B} {WORLD}", True),
        ((17, 2222, 22), f"{WORLD} {FORWARDS} {B} {WORLD}", True),
        ((17, 105, 204), f"{WORLD} {FORWARDS} {B} {WORLD}", True),
        ((6, 2222, 2222), f"{WORLD} {FORWARDS} {FORWARDS} {WORLD}", True),
    ],
)
def test_forwarded_ports_lead_where_they_lead_now(ports: tuple[int, int, int], way: str, outlived: bool) -> None:
    tuples = Tuples(*(IPv4Address(word).packed for word in way.split()), *ports)
    judge = Judge(FORWARDING)
    assert judge.forwards(tuples.destination)
    assert judge.has_outlived(tuples) is outlived
    nothing = Judge(msgspec.structs.replace(FORWARDING, forwarded=()))
    assert not nothing.forwards(tuples.destination)
    assert nothing.has_outlived(tuples) is (tuples.answers_from != tuples.destination), "each ends with its forwarding"


SCOPED = {"scopes": (("10.10.10.0/24", 3), ("20.20.20.0/24", 0), ("10.10.10.64/26", 4)), "outside_scope": 3}


@pytest.mark.parametrize(
    ("way", "scope", "ends"),
    [
        pytest.param(f"{B} {WORLD} {WORLD} {B}", 3, False, id="out untranslated, in the scope outside"),
        pytest.param(f"{B} {WORLD} {WORLD} {GATEWAY}", 3, True, id="out translated, in the scope outside"),
        pytest.param(f"{B} {WORLD} {WORLD} {B}", 0, True, id="out, begun before the network was in its scope"),
        pytest.param(f"{NEIGHBOUR} {WORLD} {WORLD} {GATEWAY}", 0, False, id="out translated, from no scope"),
        pytest.param(f"{NEIGHBOUR} {WORLD} {WORLD} {NEIGHBOUR}", 0, True, id="out untranslated, from no scope"),
        pytest.param(f"{A} {WORLD} {WORLD} {FLOATING}", 3, False, id="out by a floating IP"),
        pytest.param(f"{WORLD} {FLOATING} {A} {WORLD}", 3, False, id="in by a floating IP"),
        pytest.param(f"{WORLD} {FLOATING} {A} {WORLD}", 2, True, id="in by a floating IP, to another scope"),
        pytest.param(f"10.10.10.70 {WORLD} {WORLD} {GATEWAY}", 4, False, id="by a longer route, of another scope"),
        pytest.param(f"10.10.10.70 {WORLD} {WORLD} {GATEWAY}", 3, True, id="by a longer route that is new"),
        pytest.param(f"{A} {NEIGHBOUR} {NEIGHBOUR} {A}", None, False, id="between interfaces, without a mark"),
    ],
)
def test_a_connection_ends_when_its_network_comes_to_another_address_scope(
    way: str, scope: int | None, ends: bool
) -> None:
    row = msgspec.structs.replace(ROUTER, **SCOPED)
    source, destination, answers_from, answers_to = (IPv4Address(word).packed for word in way.split())
    assert Judge(row).has_outlived(Tuples(source, destination, answers_from, answers_to, scope=scope)) is ends


def test_without_snat_only_floating_ips_may_not_leave_untranslated() -> None:
    row = msgspec.structs.replace(ROUTER, snat=False)
    assert not has_outlived(row, f"{B} {WORLD} {WORLD} {B}")
    assert has_outlived(row, f"{A} {WORLD} {WORLD} {A}")


EXPECTED = {
    "in to a guest behind the gateway's address": (f"{WORLD} {GATEWAY} {B} {WORLD}", True),
    "in to one behind its floating IP": (f"{WORLD} {FLOATING} {A} {WORLD}", True),
    "out from one whose port is forwarded": (f"{B} {WORLD} {WORLD} {FORWARDS}", True),
    "in to one whose other port is forwarded": (f"{WORLD} {FORWARDS} {B} {WORLD}", True),
    "in to a floating IP of another guest": (f"{WORLD} {FLOATING} {B} {WORLD}", False),
    "in to an address that forwards to others": (f"{WORLD} {FORWARDS} 10.10.10.9 {WORLD}", False),
    "in to a network that is not there": (f"{WORLD} {GATEWAY} 30.30.30.5 {WORLD}", False),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_helper_expected_goes_on_as_what_announced_it(name: str) -> None:
    way, stays = EXPECTED[name]
    words = [IPv4Address(word).packed for word in way.split()]
    assert Judge(FORWARDING).has_outlived(Tuples(*words, is_expected=True)) is not stays
