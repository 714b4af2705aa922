"""`ha` and `distributed` of routers: shown to administrators, one at most, and changed while the router is down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import Client

UP, DOWN = {"admin_state_up": True}, {"admin_state_up": False}


@pytest.mark.parametrize("name", ["ha", "distributed"])
@pytest.mark.parametrize(("asked", "kept"), [(True, True), (False, False), (None, False)])
def test_a_router_is_the_kind_that_an_administrator_asked_for(
    client: Client, name: str, asked: bool | None, kept: bool
) -> None:
    router = client.post("/v2.0/routers", {"router": {name: asked}})["router"]
    assert router[name] is kept
    assert client.get(f"/v2.0/routers/{router['id']}")["router"][name] is kept
    # As in Neutron, lists of routers have no filter for it.
    assert client.call("GET", f"/v2.0/routers?{name}={kept}").status == 400


def test_none_is_both(client: Client) -> None:
    refused = client.call("POST", "/v2.0/routers", {"router": {"ha": True, "distributed": True}})
    assert (refused.status, refused.error["type"]) == (400, "BadRequest")
    assert "both distributed and ha" in refused.error["message"]


def test_who_asks_for_nothing_gets_neither_kind(client: Client) -> None:
    router = client.post("/v2.0/routers", {"router": {}})["router"]
    assert (router["ha"], router["distributed"]) == (False, False)


def test_its_project_does_not_see_what_kind_it_is(client: Client) -> None:
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]
    seen = client.get(f"/v2.0/routers/{router['id']}", "demo")["router"]
    assert not {"ha", "distributed"} & (router.keys() | seen.keys())


@pytest.mark.parametrize(
    ("before", "change", "status"),
    [
        (UP, {"distributed": True}, 400),
        (UP, {"distributed": True, **DOWN}, 400),
        (DOWN, {"distributed": True, **UP}, 400),
        (DOWN, {"distributed": True}, 200),
        (UP, {"ha": True}, 400),
        (UP, {"ha": True, **DOWN}, 200),
        (DOWN, {"ha": True, **UP}, 400),
        (DOWN, {"ha": True}, 200),
        (UP, {"ha": False, "distributed": None}, 200),
        (DOWN, {"ha": True, "distributed": True}, 400),
    ],
)
def test_it_becomes_another_kind_while_it_is_down(
    client: Client, before: dict[str, Any], change: dict[str, Any], status: int
) -> None:
    router = client.post("/v2.0/routers", {"router": before})["router"]
    answer = client.call("PUT", f"/v2.0/routers/{router['id']}", {"router": change})
    assert answer.status == status
    shown = client.get(f"/v2.0/routers/{router['id']}")["router"]
    expected = {**router, **{name: value for name, value in change.items() if value is not None and status == 200}}
    for name in ("ha", "distributed", "admin_state_up"):
        assert shown[name] is expected[name]
