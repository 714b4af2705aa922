"""What a body of PUT /quotas may say, as Neutron 29 answers it to a project that has three networks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import DEMO, Client

PATH = f"/v2.0/quotas/{DEMO}"
USED = "Quota limit 1 for network must be greater than or equal to already used 3"


@pytest.mark.parametrize(
    "quota", [{"force": True}, {"force": True, "check_limit": "x"}], ids=["forced", "forced, with another word"]
)
def test_a_limit_is_forced_below_what_is_used(client: Client, quota: dict[str, Any]) -> None:
    for _ in range(3):
        client.network()
    assert client.put(PATH, {"quota": {"network": 1, **quota}})["quota"]["network"] == 1


@pytest.mark.parametrize(
    ("quota", "error", "message"),
    [
        ({"network": 1}, "HTTPBadRequest", USED),
        ({"network": 1, "check_limit": False}, "HTTPBadRequest", USED),
        ({"network": 1, "force": "yes"}, "HTTPBadRequest", USED),
        ({"network": 1, "force": 1}, "HTTPBadRequest", USED),
        ({"network": -2}, "HTTPBadRequest",
         "Invalid input for network. Reason: '-2' is too small - must be at least '-1'."),
        ({"network": 2**31}, "HTTPBadRequest",
         "Invalid input for network. Reason: '2147483648' is too large - must be no larger than '2147483647'."),
        ({"network": None}, "InvalidInput", "Invalid input for operation: 'None' is not an integer."),
        ({"network": "x"}, "InvalidInput", "Invalid input for operation: 'x' is not an integer."),
        ({"network": 5, "tenant_id": "x"}, "HTTPBadRequest", "Unrecognized attribute(s) 'tenant_id, project_id'"),
        ({"network": 5, "project_id": DEMO}, "HTTPBadRequest", "Unrecognized attribute(s) 'tenant_id, project_id'"),
    ],
)  # fmt: skip
def test_a_quota_is_refused_as_neutron_refuses_it(
    client: Client, quota: dict[str, Any], error: str, message: str
) -> None:
    for _ in range(3):
        client.network()
    before = client.get(PATH)
    answer = client.call("PUT", PATH, {"quota": quota})
    assert (answer.status, answer.error["type"], answer.error["message"]) == (400, error, message)
    assert client.get(PATH) == before


def test_a_caller_learns_which_project_its_limits_are_of(client: Client) -> None:
    assert client.get("/v2.0/quotas/project", "demo") == {"project": {"project_id": DEMO}}
    assert client.get("/v2.0/quotas/tenant", "demo") == {"tenant": {"tenant_id": DEMO}}


def test_limits_of_its_own_go_once(client: Client) -> None:
    client.put(PATH, {"quota": {"network": 5}})
    client.delete(PATH)
    answer = client.call("DELETE", PATH)
    assert (answer.status, answer.error["message"]) == (404, f"Quota for project {DEMO} could not be found.")
