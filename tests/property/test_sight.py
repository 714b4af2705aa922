"""What a caller may not see changes no answer to it, and nothing that it asks changes what it may not change.

Some people of one project, and a stranger, ask the same requests twice: while another project has an object of every
kind, and when these are gone. The requests name the other project's objects wherever a path, a query or a body can
name one, and each answer has to be the same both times: so nobody sees them, counts them, finds them by what they hold,
has its lists ordered by them, or is told that there is such an id. Kinds, routes and attributes are those of the
declarations.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from deuteron.api.network.service import NetworkService
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource
from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import KIND_OF, named
from tests.fuzz.world import Answer, World, furniture, prepare, renewed, world
from tests.property.test_rejected import rows

NET = "/network/v2.0"
ROUTES = [
    (route.method, route.path.removeprefix("/v2.0")) for route in NetworkService().routes() if "/v2.0/" in route.path
]
NETWORK_KINDS = {resource.name for resource in RESOURCES}
ROLES = ("manager", "member", "reader")
STRANGER = "stranger"
PEOPLE = (*ROLES, STRANGER)
Asked = tuple[str, str, str]
"""Method, path with its query, and body as text."""


@dataclass
class Cloud:
    here: World
    runner: asyncio.Runner
    own: dict[str, str] = field(default_factory=dict)
    """Kind to the id of one that the project has."""
    hidden: dict[str, str] = field(default_factory=dict)
    """Kind to the id of one that another project has."""
    made: list[str] = field(default_factory=list)
    """Paths of what is hidden, in the order in which it was made."""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What an administrator sees of what is hidden, by kind."""

    def call(self, method: str, path: str, body: Any = None, user: str = "admin") -> Answer:
        answer = self.runner.run(self.here.call(method, path, body, user))
        assert not self.here.defects, self.here.defects
        return answer

    def make(self, resource: Resource, ids: dict[str, str], number: int, user: str) -> str | None:
        """The path of a new object of the kind, from the first good body that is taken; it names what `ids` holds."""
        self.runner.run(prepare(self.here, resource.name, {**self.here.ids, **ids}))
        templates = (*BODIES.get(("POST", f"/v2.0/{resource.path}"), ()), furniture(resource.name))
        for count, template in enumerate(templates):
            new = self.runner.run(renewed(self.here, template, ids, user))
            if user == "admin":
                self.made += [f"{NET}/ports/{id}" for id in new.values()]
            names = {**self.here.names(number + 100 * count), **ids, **new, "made": str(number)}
            names["demo project"] = "f" * 32
            parent = "" if resource.parent is None else ids.get(resource.parent.kind, "none")
            path = f"{NET}/{resource.path}".replace("{parent}", parent)
            answer = self.call("POST", path, named(template, names), user)
            if answer.status == 201 and resource.member_name in answer.json:
                id: str = answer.json[resource.member_name][_named_by(resource)]
                ids[resource.name] = id
                if resource.name == "port":
                    ids["port_address"] = answer.json["port"]["fixed_ips"][0]["ip_address"]
                return f"{path}/{id}"
        return None


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with an object of every kind of another project, and of the people's own as far as they may."""
    with asyncio.Runner() as runner:
        keeper = world(tmp_path_factory.mktemp("cloud"), alone=True)
        made = Cloud(runner.run(keeper.__aenter__()), runner)
        try:
            people(made)
            for user in PEOPLE:  # a project has its default group from the first look on
                made.call("GET", f"{NET}/security-groups", user=user)
            for number, resource in enumerate(RESOURCES):
                made.make(resource, made.own, 1000 + number, "manager")
            made.hidden = {name: made.here.ids[name] for name in ("public", "public_subnet")}
            for number, resource in enumerate(RESOURCES):
                path = made.make(resource, made.hidden, 20_000 + number, "admin")
                assert path is not None, f"no body of tests/fuzz makes a {resource.name}"
                if "tags" in resource.by_name:
                    tagged = resource.collection.rpartition("/")[2]
                    made.call("PUT", f"{NET}/{tagged}/{made.hidden[resource.name]}/tags", {"tags": ["hidden"]})
                if not is_of_the_cloud(resource):
                    made.made.append(path)
                made.shown[resource.name] = made.call("GET", path).json[resource.member_name]
            yield made
        finally:
            runner.run(keeper.__aexit__(None, None, None))


def is_of_the_cloud(resource: Resource) -> bool:
    """Whether it is no project's: who may see one, or may not, sees each or none."""
    return re.fullmatch(r"role:\w+|rule:admin_only", resource.rules["get"]) is not None


def people(cloud: Cloud) -> None:
    """A user of each role in the project `demo`, and one in a project that has nothing."""
    identity = "/identity/v3"
    project = cloud.call("POST", f"{identity}/projects", {"project": {"name": STRANGER}}).json["project"]["id"]
    roles = {each["name"]: each["id"] for each in cloud.call("GET", f"{identity}/roles").json["roles"]}
    for name in PEOPLE:
        user = {"name": name, "password": f"{name}-secret"}
        id = cloud.call("POST", f"{identity}/users", {"user": user}).json["user"]["id"]
        where = project if name == STRANGER else cloud.here.owners["demo project"]
        role = roles["member" if name == STRANGER else name]
        assert cloud.call("PUT", f"{identity}/projects/{where}/users/{id}/roles/{role}").status == 204
        proof = {"methods": ["password"], "password": {"user": {"id": id, "password": f"{name}-secret"}}}
        auth = {"auth": {"identity": proof, "scope": {"project": {"id": where}}}}
        cloud.here.tokens[name] = cloud.call("POST", f"{identity}/auth/tokens", auth).headers["x-subject-token"]


def paths(cloud: Cloud, template: str) -> Iterator[str]:
    """A path with its variables filled: with what is hidden, and one after the other with what is the project's own."""
    parts = template.split("/")
    places = [at for at, part in enumerate(parts) if part.startswith("{")]
    for owned in range(len(places) + 1):
        filled = list(parts)
        for order, at in enumerate(places):
            kind = KIND_OF.get(parts[at - 1], "")
            ids = cloud.own if order < owned else cloud.hidden
            fallback = cloud.here.owners["admin project"] if order >= owned else cloud.here.owners["demo project"]
            known = ids.get(kind, cloud.hidden.get(kind))
            filled[at] = known or (fallback if "project" in parts[at] or "quotas" in parts else "hidden")
        yield NET + "/".join(filled)


def _named_by(resource: Resource) -> str:
    """The attribute by which paths and markers name its objects."""
    return "id" if resource.parent is None else resource.parent.named_by


def reads(cloud: Cloud) -> Iterator[Asked]:
    """Every GET that there is; of lists with every filter that would find what is hidden, and in every order."""
    for method, template in ROUTES:
        if method == "GET":
            yield from (("GET", path, "") for path in dict.fromkeys(paths(cloud, template)))
    for resource in RESOURCES:
        seen = cloud.shown[resource.name]
        for path in dict.fromkeys(paths(cloud, f"/{resource.path}")):
            asked = [{name: value} for name, value in seen.items() if isinstance(value, str | int | bool)]
            asked += [{"sort_key": name, "sort_dir": way} for name in resource.by_name for way in ("asc", "desc")]
            asked += [
                {"marker": seen[_named_by(resource)], "limit": 1},
                {"limit": 1},
                {"limit": 1, "page_reverse": True},
            ]
            asked += [{name: "hidden"} for name in ("tags", "tags-any", "not-tags", "not-tags-any")]
            asked += [{"fields": "id", "project_id": cloud.here.owners["admin project"]}]
            yield from (("GET", f"{path}?{urlencode(each)}", "") for each in asked)


def writes(cloud: Cloud) -> Iterator[Asked]:
    """Every change of what is hidden, and every change of one's own that names something hidden."""
    for method, template in ROUTES:
        if method == "GET":
            continue
        bodies = [json.dumps(each) for each in BODIES.get((method, f"/v2.0{template}"), ({},))]
        for path in dict.fromkeys(paths(cloud, template)):
            for body in bodies:
                kinds = sorted(set(re.findall(r'"\$([a-z_]+)"', body)) & NETWORK_KINDS)
                chosen = [kind for kind in kinds if kind in cloud.hidden]
                if any(id in path for id in cloud.hidden.values()):
                    yield method, path, filled(cloud, body, frozenset())
                yield from ((method, path, filled(cloud, body, frozenset((kind,)))) for kind in chosen)


def filled(cloud: Cloud, body: str, hidden: frozenset[str]) -> str:
    """A body that names one's own, and of these kinds what is hidden."""
    theirs = {kind: id for kind, id in cloud.hidden.items() if kind in hidden}
    names = {**cloud.here.names(40_000), **cloud.own, **theirs, "made": "x", "uuid": "f" * 32}
    return json.dumps(named(json.loads(body), names))


def ask(cloud: Cloud, user: str, request: Asked) -> Answer:
    method, path, body = request
    return cloud.call(method, path, body.encode() if body else None, user)


def test_what_is_hidden_is_seen_in_no_answer_and_changed_by_nobody(cloud: Cloud, patience: int) -> None:
    """Everybody changes, and reads in turn, or with patience each reads all."""
    reading, writing = list(dict.fromkeys(reads(cloud))), list(dict.fromkeys(writes(cloud)))
    assert len(reading) > 500 and len(writing) > 100
    with_it: dict[tuple[str, Asked], Answer] = {}
    for number, user in enumerate(PEOPLE):
        before = rows(cloud.here)
        for request in reading if patience > 1 else reading[number :: len(PEOPLE)]:
            with_it[user, request] = ask(cloud, user, request)
        for request in writing:
            answer = with_it[user, request] = ask(cloud, user, request)
            assert answer.status >= 400, (user, request, answer.body)
        after = rows(cloud.here)
        assert {name for name in after if after[name] != before[name]} == set(), user
    take_away(cloud)
    told = []
    for (user, request), was in with_it.items():
        now = ask(cloud, user, request)
        if (was.status, was.body) != (now.status, now.body):
            told.append(f"{user}: {request}: {was.status} {was.body[:300]!r}; without: {now.status} {now.body[:300]!r}")
    assert not told, f"{len(told)} of {len(with_it)}:\n" + "\n".join(told[:20])


def take_away(cloud: Cloud) -> None:
    leave = f"{NET}/routers/{cloud.hidden['router']}/remove_router_interface"
    left = dict.fromkeys(reversed(cloud.made), b"")
    for _ in range(4):
        cloud.call("PUT", leave, {"subnet_id": cloud.hidden["subnet"]})  # once no floating IP needs it
        answers = {path: cloud.call("DELETE", path) for path in left}
        left = {path: answer.body for path, answer in answers.items() if answer.status not in (204, 404)}
    assert not left, left


def test_what_is_hidden_of_ones_own_is_not_told_by_filters_or_order_either(cloud: Cloud) -> None:
    tried = 0
    for resource in RESOURCES:
        if resource.name not in cloud.own:
            continue
        parent = "" if resource.parent is None else cloud.own[resource.parent.kind]
        path = f"{NET}/{resource.path}".replace("{parent}", parent)
        one = f"{path}/{cloud.own[resource.name]}"
        whole = cloud.call("GET", one).json[resource.member_name]
        # A kind may be hidden whole: a log is for managers.
        seen = cloud.call("GET", one, user="member").json.get(resource.member_name, {})
        for name in whole.keys() - seen.keys():
            right = whole[name]
            if not isinstance(right, str | int | bool):
                continue
            wrong = not right if isinstance(right, bool) else right + 1 if isinstance(right, int) else f"{right}x"
            by_value = [
                cloud.call("GET", f"{path}?{urlencode({name: each})}", user="member") for each in (right, wrong)
            ]
            in_order = [
                cloud.call("GET", f"{path}?sort_key={name}&sort_dir={way}", user="member") for way in ("asc", "desc")
            ]
            for first, second in (by_value, in_order):
                told = {answer.body.replace(str(right).encode(), b"").replace(str(wrong).encode(), b"")
                        for answer in (first, second)}  # fmt: skip
                assert first.status == second.status and len(told) == 1, (resource.name, name, first.body, second.body)
            tried += 1
    assert tried > 3
