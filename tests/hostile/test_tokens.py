"""A token is worth what its maker, its scope and its roles are worth now, and nothing can be made out of nothing."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.hostile.client import Answer, Person, by_password, by_token, in_project, login
from tests.hostile.conftest import PASSWORD, World

DOORS = ("/identity/v3/auth/tokens", "/network/v2.0/networks", "/compute/v2.1/servers", "/image/v2/images")


def doors(port: int, token: str) -> dict[str, int]:
    """What each service answers to a token."""
    person = Person(port, token)
    return {path: person.call("GET", path, headers={"x-subject-token": token}).status for path in DOORS}


def is_shut(port: int, token: str) -> bool:
    return set(doors(port, token).values()) == {401}


def test_a_good_token_opens_every_door(world: World) -> None:
    assert set(doors(world.port, world.alice.token).values()) == {200}


def test_damaged_tokens_open_nothing(world: World) -> None:
    good = world.alice.token
    bad = {
        "cut off": good[:-10], "cut at its head": good[10:], "half": good[: len(good) // 2], "one letter": good[0],
        "another letter": good[:40] + ("A" if good[40] != "A" else "B") + good[41:], "twice": good + good,
        "with more": good + "AAAA", "upside down": good[::-1], "capitals": good.upper(), "zeros": "0" * len(good),
        "very long": "A" * 8000, "spaces": "   ", "json": '{"user":"admin"}', "sql": "' or 1=1 --", "percent": "%00%00",
        "signed by another cloud": Fernet(Fernet.generate_key()).encrypt(base64.b64decode("AA==")).decode(),
        "empty and signed by nobody": base64.urlsafe_b64encode(b"\x80" + bytes(80)).decode(),
    }  # fmt: skip
    assert {name: doors(world.port, token) for name, token in bad.items() if not is_shut(world.port, token)} == {}


def test_a_token_of_the_same_words_signed_with_another_key_opens_nothing(world: World) -> None:
    raw = (world.state / "api" / "fernet-keys").iterdir()
    keys = [Fernet(path.read_bytes().strip()) for path in raw]
    padded = world.admin.token + "=" * (-len(world.admin.token) % 4)
    words = next(payload for key in keys if (payload := _decrypted(key, padded)) is not None)
    forged = Fernet(Fernet.generate_key()).encrypt(words).decode().rstrip("=")
    assert is_shut(world.port, forged)


def _decrypted(key: Fernet, token: str) -> bytes | None:
    try:
        return key.decrypt(token.encode())
    except Exception:
        return None


def test_a_revoked_token_opens_nothing_and_others_of_the_user_stay(world: World) -> None:
    person = world.user("rev", world.project("rev"))
    other = world.login("rev", person.project)
    person.expect("DELETE", "/identity/v3/auth/tokens", headers={"x-subject-token": person.token})
    assert is_shut(world.port, person.token)
    assert not is_shut(world.port, other.token)


def test_only_the_owner_or_an_administrator_looks_at_and_revokes_a_token(world: World) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        headers = {"x-subject-token": world.alice.token}
        answer = world.mallory.call(method, "/identity/v3/auth/tokens", headers=headers)
        assert answer.status in (403, 404), method
    assert not is_shut(world.port, world.alice.token)


@pytest.mark.parametrize("what", ["user deleted", "user disabled", "project deleted", "project disabled", "role taken",
                                  "password changed"])  # fmt: skip
def test_a_token_ends_with_what_it_stands_on(world: World, what: str) -> None:
    name = what.replace(" ", "-")
    project = world.project(name)
    person = world.user(name, project)
    assert not is_shut(world.port, person.token)
    (member,) = world.admin.get("/identity/v3/roles?name=member")["roles"]
    if what == "user deleted":
        world.admin.expect("DELETE", f"/identity/v3/users/{person.user}")
    elif what == "user disabled":
        world.admin.expect("PATCH", f"/identity/v3/users/{person.user}", {"user": {"enabled": False}})
    elif what == "project deleted":
        world.admin.expect("DELETE", f"/identity/v3/projects/{project}")
    elif what == "project disabled":
        world.admin.expect("PATCH", f"/identity/v3/projects/{project}", {"project": {"enabled": False}})
    elif what == "role taken":
        world.admin.expect("DELETE", f"/identity/v3/projects/{project}/users/{person.user}/roles/{member['id']}")
    else:
        change = {"user": {"original_password": PASSWORD, "password": "another one"}}
        person.expect("POST", f"/identity/v3/users/{person.user}/password", change)
    assert is_shut(world.port, person.token)


def test_a_lesser_role_counts_at_once(world: World) -> None:
    project = world.project("lesser")
    person = world.user("lesser", project)
    roles = {role["name"]: role["id"] for role in world.admin.get("/identity/v3/roles")["roles"]}
    base = f"/identity/v3/projects/{project}/users/{person.user}/roles"
    world.admin.expect("PUT", f"{base}/{roles['reader']}")
    world.admin.expect("DELETE", f"{base}/{roles['member']}")
    assert person.call("GET", "/network/v2.0/networks").status == 200
    assert person.call("POST", "/network/v2.0/networks", {"network": {}}).status == 403


def test_a_rescoped_token_lives_no_longer_and_reaches_no_further(world: World) -> None:
    second = world.project("second")
    person = world.user("scope", world.project("first"))
    answer, other = login(world.port, by_token(person.token), in_project(second))
    assert answer.status == 401, "there is no role in that project"
    (member,) = world.admin.get("/identity/v3/roles?name=member")["roles"]
    world.admin.expect("PUT", f"/identity/v3/projects/{second}/users/{person.user}/roles/{member['id']}")
    # Any change of roles may end tokens; a fresh one is what is rescoped here.
    person = world.login("scope", person.project)
    before = _shown(person)
    time.sleep(1.1)
    answer, other = login(world.port, by_token(person.token), in_project(second))
    assert answer.status == 201
    assert answer.body["token"]["expires_at"] == before["expires_at"]
    assert answer.body["token"]["audit_ids"][-1] == before["audit_ids"][-1]
    for scope in ({"system": {"all": True}}, {"domain": {"id": "default"}}, in_project(world.admin.project),
                  in_project(world.alice.project), in_project("0" * 32)):  # fmt: skip
        for token in (person.token, other.token):
            assert login(world.port, by_token(token), scope)[0].status == 401, scope
    # A network of the first project is not there for the token of the second.
    made = person.create("/network/v2.0/networks", "network", name="x")["id"]
    assert other.call("GET", f"/network/v2.0/networks/{made}").status == 404


def _shown(person: Person) -> Any:
    answer = person.call("GET", "/identity/v3/auth/tokens", headers={"x-subject-token": person.token})
    return answer.body["token"]


def test_a_token_without_a_scope_opens_no_service(world: World) -> None:
    answer, person = login(world.port, by_password("mallory", PASSWORD), "unscoped")
    assert answer.status == 201
    for path in DOORS[1:]:
        answer = person.call("GET", path)
        assert answer.status in (200, 401, 403)
        if answer.status == 200:
            seen = [item for items in answer.body.values() if isinstance(items, list) for item in items]
            belongs_to_all = ("shared", "router:external")
            assert all(
                any(item.get(name) for name in belongs_to_all) or item.get("visibility") == "public" for item in seen
            )
    for path, body in (
        ("/network/v2.0/networks", {"network": {}}), ("/image/v2/images", {"name": "x"}),
        ("/network/v2.0/networks", {"network": {"project_id": world.alice.project}}),
        ("/compute/v2.1/os-server-groups", {"server_group": {"name": "x", "policy": "affinity"}}),
    ):  # fmt: skip
        assert person.call("POST", path, body).status in (400, 401, 403), path


def test_all_refusals_of_a_login_are_one(world: World) -> None:
    """An answer must not tell a wrong password from an unknown user or a project that is not there."""
    right = by_password("mallory", PASSWORD)
    tries = (
        (by_password("mallory", "wrong"), None), (by_password("nobody at all", PASSWORD), None),
        (right, in_project(world.alice.project)), (right, in_project("0" * 32)),
        ({"methods": ["password"], "password": {"user": {"id": "0" * 32, "password": PASSWORD}}}, None),
        ({"methods": ["application_credential"], "application_credential": {"id": "0" * 32, "secret": "x"}}, None),
        ({"methods": ["external"], "external": {}}, None),
        ({"methods": ["totp"], "totp": {"user": {"id": "0" * 32, "passcode": "123456"}}}, None),
        ({"methods": ["totp"], "totp": {"user": {"id": world.mallory.user, "passcode": "123456"}}}, None),
    )  # fmt: skip
    seen = {_words(login(world.port, identity, scope)[0]) for identity, scope in tries}
    assert len(seen) == 1 and next(iter(seen))[0] == 401, seen


def _words(answer: Answer) -> tuple[int, str]:
    return answer.status, json.dumps(answer.body, sort_keys=True)


# --- application credentials ----------------------------------------------------------------------------------------


def credential_of(person: Person, **values: Any) -> dict[str, Any]:
    path = f"/identity/v3/users/{person.user}/application_credentials"
    made: dict[str, Any] = person.create(path, "application_credential", name=f"c{time.monotonic_ns()}", **values)
    return made


def by_credential(made: dict[str, Any], secret: str | None = None) -> dict[str, Any]:
    named = {"id": made["id"], "secret": secret or made["secret"]}
    return {"methods": ["application_credential"], "application_credential": named}


def test_an_application_credential_is_for_its_project_its_roles_and_its_time(world: World) -> None:
    person = world.user("app", world.project("app"))
    soon = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    brief = credential_of(person, expires_at=soon)
    answer, by_brief = login(world.port, by_credential(brief))
    assert answer.status == 201
    reader = credential_of(person, roles=[{"name": "reader"}])
    _, by_reader = login(world.port, by_credential(reader))
    assert by_reader.call("POST", "/network/v2.0/networks", {"network": {}}).status == 403
    for scope in (in_project(world.alice.project), in_project(person.project), {"system": {"all": True}}):
        assert login(world.port, by_credential(reader), scope)[0].status == 401
    assert login(world.port, by_credential(reader, "wrong"))[0].status == 401
    for roles in ([{"name": "admin"}], [{"id": "0" * 32}]):
        path = f"/identity/v3/users/{person.user}/application_credentials"
        wanted = {"application_credential": {"name": "more", "roles": roles}}
        assert person.call("POST", path, wanted).status == 400
    until = time.monotonic() + 20
    while not is_shut(world.port, by_brief.token):
        assert time.monotonic() < until, "the token outlives its credential"
        time.sleep(0.1)
    assert login(world.port, by_credential(brief))[0].status == 401


def test_a_restricted_credential_neither_makes_nor_removes_credentials(world: World) -> None:
    person = world.user("app2", world.project("app2"))
    first, second = credential_of(person), credential_of(person)
    _, holder = login(world.port, by_credential(first))
    assert login(world.port, by_token(holder.token))[0].status == 403, "another token would hide what it came from"
    path = f"/identity/v3/users/{person.user}/application_credentials"
    body = {"application_credential": {"name": "child"}}
    assert holder.call("POST", path, body).status == 403
    assert holder.call("DELETE", f"{path}/{second['id']}").status == 403
    secret = {"credential": {"type": "ec2", "blob": '{"access":"a","secret":"b"}', "user_id": person.user}}
    assert holder.call("POST", "/identity/v3/credentials", secret).status == 403
    person.expect("DELETE", f"{path}/{first['id']}")
    assert is_shut(world.port, holder.token)


def test_access_rules_hold_at_every_service(world: World) -> None:
    """However the path is written, and whatever else the token could do."""
    person = world.user("ruled", world.project("ruled"))
    rules = [{"path": "/v2.1/servers/*", "method": "GET", "service": "compute"}]
    _, holder = login(world.port, by_credential(credential_of(person, access_rules=rules)))
    assert holder.call("GET", "/compute/v2.1/servers/detail").status == 200
    for path in (
        "/compute/v2.1/servers", "/compute/v2.1/flavors", "/compute/v2.1/servers/detail/../../flavors",
        "/compute/v2.1/servers/%2e%2e/flavors", "/compute/v2.1/servers/x%2Fos-interface", "/compute/v2/servers/detail",
        "/network/v2.1/servers/detail", "/network/v2.0/networks", "/image/v2/images", "/volume/v3/volumes/detail",
        "/identity/v3/auth/catalog", "/usage",
    ):  # fmt: skip
        assert holder.call("GET", path).status in (401, 404), path
    assert holder.call("GET", "/network/v2.0/networks").status == 401
    assert holder.call("POST", "/compute/v2.1/servers", {}).status == 401
    assert holder.call("GET", "/network/v2.0/networks", None, {"x-service-token": "x"}).status == 401


def test_what_a_user_loses_its_credentials_lose(world: World) -> None:
    project = world.project("app3")
    person = world.user("app3", project)
    made = credential_of(person)
    _, holder = login(world.port, by_credential(made))
    (member,) = world.admin.get("/identity/v3/roles?name=member")["roles"]
    world.admin.expect("DELETE", f"/identity/v3/projects/{project}/users/{person.user}/roles/{member['id']}")
    assert is_shut(world.port, holder.token)
    assert login(world.port, by_credential(made))[0].status == 401


def test_a_user_cannot_make_itself_more_than_it_is(world: World) -> None:
    person = world.user("climb", world.project("climb"))
    roles = {role["name"]: role["id"] for role in world.admin.get("/identity/v3/roles")["roles"]}
    for method, path, body in (
        ("PUT", f"/identity/v3/projects/{person.project}/users/{person.user}/roles/{roles['admin']}", None),
        ("PUT", f"/identity/v3/system/users/{person.user}/roles/{roles['admin']}", None),
        ("PUT", f"/identity/v3/domains/default/users/{person.user}/roles/{roles['admin']}", None),
        ("PUT", f"/identity/v3/roles/{roles['member']}/implies/{roles['admin']}", None),
        ("PATCH", f"/identity/v3/users/{person.user}", {"user": {"default_project_id": world.admin.project}}),
        ("PATCH", f"/identity/v3/roles/{roles['member']}", {"role": {"name": "admin2"}}),
        ("POST", "/identity/v3/roles", {"role": {"name": "admin"}}),
        ("POST", "/identity/v3/groups", {"group": {"name": "g", "domain_id": "default"}}),
    ):
        assert person.call(method, path, body).status == 403, path
