"""A login that meets a change of what its token will stand on: whichever is first, no token outlives the change.

Two places to meet: between the comparison of the secret and the issue of the token (`Between` makes the change
there), and in the transaction that issues, which reads what a change that has begun will commit a moment later
(`Held` keeps that change from committing until the login was answered).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import pytest

from deuteron.api import identity
from deuteron.api.app import App
from deuteron.api.parts import Parts
from deuteron.rules.identity.passwords import Workers
from deuteron.store import query
from deuteron.store.database import Database, Tx
from deuteron.store.identity_tables import tokens_may_change, users
from tests.unit.api_identity.harness import Answer, Kit

T = TypeVar("T")
DEADLINE_S = 20.0


class Between(Workers):
    """Runs `change` once, after the first function: when the secrets are compared and nothing is issued."""

    def __init__(self, change: Callable[[], Any]) -> None:
        super().__init__(1)
        self._change: Callable[[], Any] | None = change

    async def run(self, function: Callable[[], T]) -> T:
        result = await super().run(function)
        change, self._change = self._change, None
        if change is not None:
            await super().run(change)
        return result


@dataclass
class Held:
    """A database whose writes are done and not yet committed until `free` is set."""

    inner: Database
    done: threading.Event
    free: threading.Event

    @property
    def is_embedded(self) -> bool:
        return self.inner.is_embedded

    def read(self) -> Any:
        return self.inner.read()

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        def held(tx: Tx) -> T:
            result = function(tx)
            self.done.set()
            assert self.free.wait(DEADLINE_S), "the login was not answered while the change was under way"
            return result

        return self.inner.submit(held)


@dataclass(frozen=True)
class World:
    kit: Kit
    admin: Kit
    user: str
    project: str
    domain: str
    roles: dict[str, str]
    credential: dict[str, Any]
    first: str
    """A token of the user in the project."""

    def change(self, name: str) -> Answer:
        method, path, body = CHANGES[name]
        names = {"user": self.user, "project": self.project, "domain": self.domain, **self.roles}
        place = "/identity/v3" + path.format(**names, credential=self.credential["id"])
        # One who changes its own password needs no token, and has none that the change could end.
        answer = self.admin.request(method, place, body, headers={"x-subject-token": self.first})
        assert answer.status in (200, 204), answer.text
        return answer

    def auth(self, method: str) -> dict[str, Any]:
        if method == "password":
            scope = {"project": {"id": self.project}}
            secret = {"user": {"id": self.user, "password": "secret"}}
            return {"identity": {"methods": ["password"], "password": secret}, "scope": scope}
        if method == "application_credential":
            given = {"id": self.credential["id"], "secret": self.credential["secret"]}
            return {"identity": {"methods": [method], method: given}}
        scope = {"project": {"id": self.project}}
        return {"identity": {"methods": ["token"], "token": {"id": self.first}}, "scope": scope}


CHANGES: dict[str, tuple[str, str, Any]] = {
    "password set": ("PATCH", "/users/{user}", {"user": {"password": "new"}}),
    "password changed": (
        "POST",
        "/users/{user}/password",
        {"user": {"original_password": "secret", "password": "new"}},
    ),
    "user disabled": ("PATCH", "/users/{user}", {"user": {"enabled": False}}),
    "user deleted": ("DELETE", "/users/{user}", None),
    "project disabled": ("PATCH", "/projects/{project}", {"project": {"enabled": False}}),
    "project deleted": ("DELETE", "/projects/{project}", None),
    "domain disabled": ("PATCH", "/domains/{domain}", {"domain": {"enabled": False}}),
    "role taken": ("DELETE", "/projects/{project}/users/{user}/roles/{member}", None),
    "role deleted": ("DELETE", "/roles/{member}", None),
    "credential deleted": ("DELETE", "/users/{user}/application_credentials/{credential}", None),
    "parent revoked": ("DELETE", "/auth/tokens", None),
}
METHODS = ("password", "application_credential", "token")
ONLY = {"credential deleted": ("application_credential",), "parent revoked": ("token",)}
CASES = [(method, change) for change in CHANGES for method in METHODS if method in ONLY.get(change, METHODS)]


@pytest.fixture
def world(kit: Kit) -> World:
    admin = kit.as_user()

    def make(collection: str, kind: str, **values: Any) -> str:
        answer = admin.request("POST", f"/identity/v3/{collection}", {kind: values})
        assert answer.status == 201, answer.text
        return str(answer.json[kind]["id"])

    domain = make("domains", "domain", name="d")
    project = make("projects", "project", name="p", domain_id=domain)
    user = make("users", "user", name="u", domain_id=domain, password="secret")
    roles = {role["name"]: role["id"] for role in admin.request("GET", "/identity/v3/roles").json["roles"]}
    admin.request("PUT", f"/identity/v3/projects/{project}/users/{user}/roles/{roles['member']}")
    made = World(kit, admin, user, project, domain, roles, {}, "")
    first = login(kit, made.auth("password")).headers["x-subject-token"]
    path = f"/identity/v3/users/{user}/application_credentials"
    credential = kit.request("POST", path, {"application_credential": {"name": "c", "unrestricted": True}}, token=first)
    return replace(made, credential=credential.json["application_credential"], first=first)


def login(kit: Kit, auth: dict[str, Any]) -> Answer:
    return kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth}, token="")


def opens(kit: Kit, answer: Answer) -> bool:
    token = answer.headers.get("x-subject-token")
    return token is not None and kit.request("GET", "/identity/v3/auth/projects", token=token).status == 200


@pytest.mark.parametrize(
    ("method", "change"),
    # An application credential has a secret of its own, and outlives a password, as in Keystone.
    [(method, change) for method, change in CASES if (method, change[:8]) != ("application_credential", "password")],
)
def test_a_change_between_comparing_and_issuing_is_seen_by_the_issue(world: World, method: str, change: str) -> None:
    workers = Between(lambda: world.change(change))
    meeting = Kit(world.kit.cloud, App(world.kit.cloud, (identity.SERVICE(workers),)))

    answer = login(meeting, world.auth(method))

    assert answer.status in (401, 404), answer.text
    assert not opens(world.kit, answer)


@pytest.mark.parametrize(("method", "change"), CASES)
def test_no_token_outlives_a_change_that_was_under_way_when_it_was_issued(
    world: World, method: str, change: str
) -> None:
    held = Held(world.kit.cloud.database, threading.Event(), threading.Event())
    cloud: Parts = replace(world.kit.cloud, database=cast(Database, held))
    slow = replace(world, admin=Kit(cloud, App(cloud, (identity.SERVICE(),)), world.admin.token))
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(slow.change, change)
        assert held.done.wait(DEADLINE_S), "the change did not begin"
        answer = login(world.kit, world.auth(method))
        held.free.set()
        changing.result(DEADLINE_S)

    assert answer.status == 201, "the change was not committed: this login came first"
    if change == "parent revoked":
        return  # as in Keystone, the tokens that were made of a token outlive its revocation
    assert not opens(world.kit, answer)


@pytest.mark.parametrize("change", ["password set", "user disabled"])
def test_tokens_end_also_when_the_clock_goes_back(world: World, change: str) -> None:
    future = 4_000_000_000_000_000
    world.kit.write(lambda tx: query.change(tx, users, world.user, {"tokens_valid_after_us": future}))
    world.kit.write(tokens_may_change)
    answer = login(world.kit, world.auth("password"))
    assert opens(world.kit, answer), "a token is good however late its user's last change was"

    world.change(change)

    assert not opens(world.kit, answer)
