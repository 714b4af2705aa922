"""Pools of prefixes and address scopes of a project are limited, as everything else that it stores is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_network.harness import DEMO, Answer, Client, cloud_in


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with cloud_in(tmp_path) as made:
        yield made


def pool(client: Client, user: str = "demo") -> Answer:
    return client.call(
        "POST", "/v2.0/subnetpools", {"subnetpool": {"name": "p", "prefixes": ["10.0.0.0/8"]}}, user=user
    )


def scope(client: Client, user: str = "demo") -> Answer:
    return client.call("POST", "/v2.0/address-scopes", {"address_scope": {"name": "s", "ip_version": 4}}, user=user)


def limited(client: Client, most: int) -> Any:
    return client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"subnetpool": most}}, "admin")


def test_a_project_has_a_hundred_pools_unless_told(client: Client) -> None:
    assert client.get(f"/v2.0/quotas/{DEMO}/default", "admin")["quota"]["subnetpool"] == 100
    bulk = {"subnetpools": [{"name": "p", "prefixes": ["10.0.0.0/8"]}] * 100}
    assert client.call("POST", "/v2.0/subnetpools", bulk, user="demo").status == 201
    assert pool(client).status == 409


@pytest.mark.parametrize(("make", "resource"), [(pool, "subnetpool"), (scope, "address_scope")])
def test_more_than_the_quota_is_refused(client: Client, make: Any, resource: str) -> None:
    limited(client, 2)
    assert [make(client).status for _ in range(2)] == [201, 201]
    refused = make(client)
    assert (refused.status, refused.error["type"]) == (409, "OverQuota")
    assert resource in refused.error["message"]
    assert make(client, "other").status == 201, "another project has its own"
    limited(client, -1)
    assert make(client).status == 201


def test_scopes_and_pools_are_counted_by_themselves(client: Client) -> None:
    limited(client, 1)
    assert [pool(client).status, scope(client).status, pool(client).status, scope(client).status] == [
        201,
        201,
        409,
        409,
    ]
