"""No quota is exceeded by requests that come at once, whatever is made, deleted and allowed in between.

Each quota that the cloud has is tried with sixteen clients; a good body of what it counts is that of `tests/fuzz`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from deuteron.model.network import QUOTA_DEFAULTS, RESOURCES
from deuteron.model.resource import Resource
from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import named
from tests.fuzz.world import furniture, renewed, world
from tests.property.at_once import CLIENTS, Cloud, bounded

COUNTED = {resource.name: resource for resource in RESOURCES if resource.name in QUOTA_DEFAULTS}
OF_LISTS = {"router_route"}
"""Quotas of what is an item of an attribute, which one request sets whole."""


@dataclass
class Makers(Cloud):
    number: int = 0
    used_up: list[str] = field(default_factory=list)
    """Paths of what bodies named that is for them alone."""

    def body(self, template: Any) -> Any:
        """A body that no other had."""
        self.number += 1
        new = self.runner.run(renewed(self.here, template, {}))
        self.used_up += [f"/ports/{id}" for id in new.values()]
        return named(template, {**self.here.names(self.number), **new, "made": str(self.number)})

    def repeatable(self, resource: Resource) -> Any:
        """A good body of which there may be several, whatever is there already."""
        path = f"/{resource.path}"
        refused = []
        for template in (*BODIES["POST", f"/v2.0{path}"], furniture(resource.name)):
            answers = [self.call("POST", path, self.body(template)) for _ in range(2)]
            made = [each for each in answers if each.status == 201 and resource.member_name in each.json]
            for each in made:
                self.call("DELETE", f"{path}/{each.json[resource.member_name]['id']}")
            if len(made) == len(answers):
                return template
            refused += [each.body for each in answers if each.status != 201]
        raise AssertionError(f"no body of tests/fuzz makes two of {resource.plural}: {refused}")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Makers]:
    with asyncio.Runner() as runner:
        keeper = world(tmp_path_factory.mktemp("cloud"))
        made = Makers(runner.run(keeper.__aenter__()), runner)
        try:
            yield made
        finally:
            runner.run(keeper.__aexit__(None, None, None))


def test_every_quota_is_tried() -> None:
    assert COUNTED.keys() | OF_LISTS == QUOTA_DEFAULTS.keys()


@pytest.mark.parametrize("kind", COUNTED)
def test_no_quota_is_exceeded_by_requests_at_once(cloud: Makers, patience: int, kind: str) -> None:
    resource = COUNTED[kind]
    project = cloud.here.owners["admin project"]
    path, quota = f"/{resource.path}", f"/quotas/{project}"
    template = cloud.repeatable(resource)
    first = {each["id"] for each in listed(cloud, resource, project)}

    class Quota(RuleBasedStateMachine):
        """Made, deleted and allowed; `allowed` is how many more than there were at first."""

        def __init__(self) -> None:
            super().__init__()
            self.allow(3)

        @rule(more=st.integers(0, 6))
        def allow(self, more: int) -> None:
            self.limit = len(first) + more
            body = {"quota": {kind: self.limit, "force": True}}
            assert cloud.call("PUT", quota, body).status == 200

        @rule(many=st.integers(1, CLIENTS), gone=st.integers(0, 3))
        def make_and_delete_at_once(self, many: int, gone: int) -> None:
            mine = [each["id"] for each in listed(cloud, resource, project) if each["id"] not in first]
            ending = mine[:gone]
            making = [("POST", path, cloud.body(template)) for _ in range(many)]
            answers = cloud.at_once([*making, *(("DELETE", f"{path}/{id}", None) for id in ending)])
            made = sum(each.status == 201 for each in answers[:many])
            refused = [each for each in answers[:many] if each.status != 201]
            assert {(each.status, each.json["NeutronError"]["type"]) for each in refused} <= {(409, "OverQuota")}, [
                each.body for each in refused
            ]
            assert all(each.status == 204 for each in answers[many:])
            room = self.limit - len(first) - len(mine)
            # Whether a deletion came before or after, as many are made as there was room for, and no more.
            assert min(many, max(room, 0)) <= made <= min(many, max(room + len(ending), 0))

        @invariant()
        def what_is_told_is_what_is_there(self) -> None:
            used = cloud.call("GET", f"{quota}/details").json["quota"][kind]["used"]
            assert used == len(listed(cloud, resource, project))

        def teardown(self) -> None:
            for each in listed(cloud, resource, project):
                if each["id"] not in first:
                    cloud.call("DELETE", f"{path}/{each['id']}")
            while cloud.used_up:
                cloud.call("DELETE", cloud.used_up.pop())

    run_state_machine_as_test(Quota, settings=bounded(2 * patience, 6))
    assert cloud.call("PUT", quota, {"quota": {kind: -1}}).status == 200
    assert {each["id"] for each in listed(cloud, resource, project)} == first


def test_no_router_has_more_routes_than_the_quota_allows(cloud: Makers) -> None:
    quota = f"/quotas/{cloud.here.owners['admin project']}"
    made = cloud.call("POST", "/routers", cloud.body(furniture("router"))).json["router"]["id"]
    path = f"/routers/{made}"
    routes = [{"destination": f"10.{n}.0.0/16", "nexthop": "172.24.4.1"} for n in range(CLIENTS)]
    for allowed in (0, 3, 5):
        assert cloud.call("PUT", quota, {"quota": {"router_route": allowed}}).status == 200
        answers = cloud.at_once([("PUT", f"{path}/add_extraroutes", {"router": {"routes": [each]}}) for each in routes])
        assert {each.status for each in answers} == ({200, 409} if allowed else {409})
        assert {each.json["NeutronError"]["type"] for each in answers if each.status == 409} == {"OverQuota"}
        assert len(cloud.call("GET", path).json["router"]["routes"]) == allowed
    assert cloud.call("PUT", path, {"router": {"routes": routes[:6]}}).status == 409
    assert cloud.call("PUT", path, {"router": {"routes": routes[-5:]}}).status == 200


def listed(cloud: Makers, resource: Resource, project: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.get(f"/{resource.path}?project_id={project}&fields=id")[resource.plural]
    return found
