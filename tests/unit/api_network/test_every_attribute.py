"""Every attribute of every kind, as its declaration says it: what a body says is kept, lists find and sort by it.

The kinds and their attributes are those of the declarations; a good body of each request is that of `tests/fuzz`. What
an attribute means is shown elsewhere; here, that no kind forgot one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from deuteron.model.network import RESOURCES
from deuteron.model.resource import Attribute, Resource
from tests.coverage import watch
from tests.fuzz import world as fuzzed
from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import named

NET = "/network/v2.0"
CHOSEN = ("floatingip", "router_id", None)
"""Null asks for the router that the service chooses."""
FOR_OUTSIDE = {("floatingip", "dns_name"), ("floatingip", "dns_domain")}
"""For a DNS service outside: as in Neutron without one, they are taken and not kept."""
ONCE = {("network", "is_default")}
"""Of a network that is not external it is said when it is made, and never again; as in Neutron."""
BY_NAME = {resource.name: resource for resource in RESOURCES}


@dataclass
class Cloud:
    """A cloud with an object of every kind, and an administrator who asks for them."""

    here: fuzzed.World
    runner: asyncio.Runner
    asked: int = 1000
    """Numbers of bodies go on from here: lower ones, VXLAN ids above all, are those of what is there."""

    def call(self, method: str, path: str, body: Any = None) -> fuzzed.Answer:
        path = f"{NET}{path}"
        answer = self.runner.run(self.here.call(method, path, body))
        bare, _, query = path.partition("?")
        watch.heard(method, bare, query, b"" if body is None else json.dumps(body).encode(), answer.status)
        return answer

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, (path, answer.body)
        return watch.read(f"{NET}{path}", answer.body)

    def furnish(self) -> None:
        self.runner.run(fuzzed.furnish(self.here))

    def path(self, resource: Resource) -> str:
        parent = "" if resource.parent is None else self.here.ids[resource.parent.kind]
        return f"/{resource.path}".replace("{parent}", parent)

    def body(self, template: Any) -> Any:
        self.asked += 1
        return named(template, self.here.names(self.asked))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with asyncio.Runner() as runner:
        keeper = fuzzed.world(tmp_path_factory.mktemp("cloud"))
        made = Cloud(runner.run(keeper.__aenter__()), runner)
        try:
            yield made
        finally:
            runner.run(keeper.__aexit__(None, None, None))


def filters(attribute: Attribute) -> bool:
    return attribute.filter and attribute.stored and attribute.read


def sorts(attribute: Attribute) -> bool:
    return attribute.sort and attribute.stored and attribute.read


def name_of(resource: Resource, shown: Any) -> str:
    """What names one in its path."""
    return str(shown["id" if resource.parent is None else resource.parent.named_by])


@pytest.mark.parametrize("kind", BY_NAME)
def test_what_a_body_says_is_kept(cloud: Cloud, kind: str) -> None:
    resource, kept = BY_NAME[kind], 0
    for method, tail, status in (("POST", "", 201), ("PUT", "/{id}", 200)):
        for template in BODIES.get((method, f"/v2.0/{resource.path}{tail}"), ()):
            cloud.furnish()
            body = cloud.body(template)
            if resource.member_name not in body:
                continue
            path = cloud.path(resource) + tail.replace("{id}", cloud.here.ids[kind])
            answer = cloud.call(method, path, body)
            if answer.status != status:
                continue  # it is there already, or clashes with what is
            shown = watch.read(f"{NET}{path}", answer.body)[resource.member_name]
            one = f"{cloud.path(resource)}/{name_of(resource, shown)}"
            again = cloud.get(one)[resource.member_name]
            for name, said in body[resource.member_name].items():
                if name in resource.by_name and resource.by_name[name].read and (kind, name, said) != CHOSEN:
                    if (kind, name) in FOR_OUTSIDE:
                        continue
                    stored = resource.by_name[name].codec.decode(said)  # in the one way of writing it
                    found = shown[name] if (kind, name) in ONCE and name not in again else again[name]
                    assert holds(found, said) or holds(found, stored), (kind, method, name, said, found)
                    kept += 1
            if method == "POST":
                cloud.call("DELETE", one)
    assert kept > 0 or all(not (each.create or each.update) for each in resource.attributes)


@pytest.mark.parametrize("kind", BY_NAME)
def test_one_is_made_with_each_value_that_another_has(cloud: Cloud, kind: str) -> None:
    """Its description and project are its own, so that they are not what silence would have made."""
    resource, made = BY_NAME[kind], 0
    cloud.furnish()
    another = cloud.get(f"{cloud.path(resource)}/{cloud.here.ids[kind]}")[resource.member_name]
    if resource.parent is not None:
        cloud.call("DELETE", f"{cloud.path(resource)}/{name_of(resource, another)}")  # of some a parent has one at most
    values = {**another, "description": "words", "project_id": cloud.here.owners["demo project"]}
    for attribute in resource.attributes:
        if not attribute.create or values.get(attribute.name) is None:
            continue
        for template in (*BODIES["POST", f"/v2.0/{resource.path}"], fuzzed.furniture(kind)):
            body = cloud.body(template)
            if resource.member_name not in body:
                continue
            body[resource.member_name] |= {attribute.name: values[attribute.name]}
            answer = cloud.call("POST", cloud.path(resource), body)
            if answer.status != 201:
                continue  # the value is another's alone, or clashes with the rest of this body
            shown = watch.read(NET, answer.body)[resource.member_name]
            one = f"{cloud.path(resource)}/{name_of(resource, shown)}"
            again = cloud.get(one)[resource.member_name]
            changing = {"updated_at", "revision_number", "status"}  # what is built meanwhile
            assert {name: shown[name] for name in again if name not in changing} == {
                name: again[name] for name in again if name not in changing
            }
            assert not attribute.read or holds(again[attribute.name], values[attribute.name])
            cloud.call("DELETE", one)
            made += 1
            break
    assert made > 0 or not any(each.create for each in resource.attributes)


@pytest.mark.parametrize("kind", BY_NAME)
def test_one_that_is_told_again_what_it_is_stays_so(cloud: Cloud, kind: str) -> None:
    """One by one, in the words of the answer; a description is another, so that not all is said again."""
    resource, told = BY_NAME[kind], 0
    cloud.furnish()
    path = f"{cloud.path(resource)}/{cloud.here.ids[kind]}"
    for attribute in resource.attributes:
        before = cloud.get(path)[resource.member_name]
        if not attribute.update or attribute.name not in before:
            continue
        value = "other words" if attribute.name == "description" else before[attribute.name]
        answer = cloud.call("PUT", path, {resource.member_name: {attribute.name: value}})
        if answer.status != 200:
            continue  # what it is, it became by other means
        after = cloud.get(path)[resource.member_name]
        assert after[attribute.name] == value
        changing = {attribute.name, "updated_at", "revision_number", "status"}
        assert {name: after[name] for name in after if name not in changing} == {
            name: before[name] for name in before if name not in changing
        }
        told += 1
    assert told > 0 or not any(each.update for each in resource.attributes)


CHANGING = [name for name, each in BY_NAME.items() if {"revision_number", "updated_at"} <= each.by_name.keys()]


@pytest.mark.parametrize("kind", CHANGING)
def test_each_change_counts_and_is_timed(cloud: Cloud, kind: str) -> None:
    cloud.furnish()
    resource = BY_NAME[kind]
    path = f"{cloud.path(resource)}/{cloud.here.ids[kind]}"
    before = cloud.get(path)[resource.member_name]
    if resource.by_name["description"].update:
        body = {resource.member_name: {"description": f"before was {before['revision_number']}"}}
        assert cloud.call("PUT", path, body).status == 200
    else:  # it stays as it is, but for its tags
        tag = f"t{before['revision_number']}"
        assert cloud.call("PUT", f"/{resource.collection}/{before['id']}/tags/{tag}").status == 201
    after = cloud.get(path)[resource.member_name]
    assert after["revision_number"] > before["revision_number"]
    assert after["created_at"] == before["created_at"] <= before["updated_at"] <= after["updated_at"]


WITHOUT_PARENT = [name for name, each in BY_NAME.items() if each.parent is not None and each.parent.alias is not None]


@pytest.mark.parametrize("kind", WITHOUT_PARENT)
def test_a_part_is_found_without_its_parent(cloud: Cloud, kind: str) -> None:
    cloud.furnish()
    resource = BY_NAME[kind]
    assert resource.parent is not None
    path = f"/{resource.parent.alias}/{cloud.here.ids[kind]}"
    within = cloud.get(f"{cloud.path(resource)}/{cloud.here.ids[kind]}")[resource.member_name]
    assert cloud.get(path)[resource.alias_name] == within
    assert cloud.call("PUT", path, {resource.alias_name: {}}).status == 200
    assert cloud.call("DELETE", path).status == 204
    assert cloud.call("GET", path).status == 404


@pytest.mark.parametrize("kind", [name for name, resource in BY_NAME.items() if "tags" in resource.by_name])
def test_tags_come_and_go(cloud: Cloud, kind: str) -> None:
    cloud.furnish()
    resource, id = BY_NAME[kind], cloud.here.ids[kind]
    tags = f"/{resource.collection.rpartition('/')[2]}/{id}/tags"

    def there() -> list[str]:
        shown = cloud.get(f"{cloud.path(resource)}/{id}")[resource.member_name]["tags"]
        assert cloud.get(tags) == {"tags": shown}
        return sorted(shown)

    assert cloud.call("PUT", tags, {"tags": ["a", "b"]}).status == 200
    assert there() == ["a", "b"]
    assert cloud.call("POST", tags, {"tags": ["c"]}).status == 200
    assert there() == ["a", "b", "c"]
    assert cloud.call("PUT", f"{tags}/d").status == 201
    assert [cloud.call("GET", f"{tags}/{tag}").status for tag in "de"] == [204, 404]
    assert cloud.call("DELETE", f"{tags}/a").status == 204
    assert there() == ["b", "c", "d"]
    assert cloud.call("DELETE", tags).status == 204
    assert there() == []


@pytest.mark.parametrize("kind", BY_NAME)
def test_a_list_is_found_by_every_attribute_that_filters(cloud: Cloud, kind: str) -> None:
    cloud.furnish()
    resource = BY_NAME[kind]
    path, id = cloud.path(resource), cloud.here.ids[kind]
    mine = cloud.get(f"{path}/{id}")[resource.member_name]
    names = [each.name for each in resource.attributes if filters(each) and each.name in mine]
    assert names
    for name in names:
        value = mine[name]
        if isinstance(value, list | dict) or value is None:
            continue  # lists within have filters of their own; nobody asks for what is null
        found = cloud.get(f"{path}?{urlencode({name: value})}")[resource.plural]
        assert id in [name_of(resource, each) for each in found], (name, value)
        # A network of several segments is found by each, and says them in another place.
        assert {each[name] for each in found if name in each or "segments" not in each} == {value}, name


@pytest.mark.parametrize("kind", [name for name, resource in BY_NAME.items() if any(map(sorts, resource.attributes))])
def test_a_list_is_sorted_by_every_attribute_that_sorts(cloud: Cloud, kind: str) -> None:
    cloud.furnish()
    resource = BY_NAME[kind]
    path = cloud.path(resource)
    for template in BODIES.get(("POST", f"/v2.0/{resource.path}"), ()):
        cloud.call("POST", path, cloud.body(template))  # of some there is one already, and no more
    names = [each.name for each in resource.attributes if sorts(each)]
    assert len(cloud.get(path)[resource.plural]) > 0
    for name in names:
        up, down = (
            [each[name] for each in cloud.get(f"{path}?sort_key={name}&sort_dir={word}")[resource.plural]]
            for word in ("asc", "desc")
        )
        assert up == sorted(up, key=rank), name
        assert down == sorted(down, key=rank, reverse=True), name


def rank(value: Any) -> tuple[bool, Any]:
    """Null comes first, as in Neutron's databases; some numbers are shown as texts, and lists are stored as such."""
    if isinstance(value, list):
        value = json.dumps(value)
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return (value is not None, "" if value is None else value)


def holds(shown: Any, said: Any) -> bool:
    """Whether an answer has what a body said: an object may have more, and a list others too."""
    if isinstance(said, dict):
        return isinstance(shown, dict) and all(holds(shown.get(name), value) for name, value in said.items())
    if isinstance(said, list):
        return isinstance(shown, list) and all(any(holds(each, value) for each in shown) for value in said)
    return str(shown) == str(said)  # some numbers are shown as texts
