"""The dashboard's line of changes under attack: it tells nobody of another project, and nothing without a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.hostile.client import Person
from tests.hostile.conftest import World


@contextmanager
def watching(person: Person, token: str | None = None, origin: str | None = None) -> Iterator[ClientConnection]:
    headers = {} if origin is None else {"origin": origin}
    place = f"ws://127.0.0.1:{person.port}/dashboard/changes"
    with connect(place, additional_headers=headers, proxy=None) as line:
        line.send(json.dumps({"token": person.token if token is None else token}))
        yield line


def test_a_page_is_told_nothing_of_another_project(world: World) -> None:
    with watching(world.alice) as alice, watching(world.mallory) as mallory:
        assert json.loads(alice.recv(10)) == json.loads(mallory.recv(10)) == {"changed": []}
        network = world.alice.create("/network/v2.0/networks", "network", name="hers")
        world.alice.expect("DELETE", f"/network/v2.0/networks/{network['id']}")
        heard: set[str] = set()
        while "network" not in heard:
            heard |= set(json.loads(alice.recv(10))["changed"])
        # What Mallory is told first is her own, though it came last.
        world.mallory.create("/network/v2.0/address-scopes", "address_scope", name="mine", ip_version=4)
        router = world.mallory.create("/network/v2.0/routers", "router", name="mine")
        assert json.loads(mallory.recv(10)) == {"changed": ["router"]}
        world.mallory.expect("DELETE", f"/network/v2.0/routers/{router['id']}")


@pytest.mark.parametrize("token", ["", "x", "gAAAAA" + "A" * 200])
def test_a_stranger_hears_nothing(world: World, token: str) -> None:
    with watching(world.alice, token) as line, pytest.raises(ConnectionClosed):
        line.recv(10)


def test_a_page_of_another_origin_is_not_let_in(world: World) -> None:
    with pytest.raises(InvalidStatus), watching(world.alice, origin="http://evil.test"):
        pass


def test_only_administrators_see_how_hosts_differ(world: World) -> None:
    for person in (world.alice, world.rita, world.mallory):
        assert person.call("GET", "/dashboard/hosts").status == 403
        assert person.call("GET", "/dashboard/hosts/aio/differences").status == 403
        assert person.call("POST", "/dashboard/hosts/aio/counters", {"places": []}).status == 403
    assert Person(world.port).call("GET", "/dashboard/hosts/aio/differences").status == 401
    assert Person(world.port).call("POST", "/dashboard/hosts/aio/counters", {"places": []}).status == 401
    assert isinstance(world.admin.expect("GET", "/dashboard/hosts/aio/differences")["differences"], list)
