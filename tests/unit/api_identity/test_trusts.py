"""Trusts: who acts for whom, with which roles, how often and how long."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_identity.harness import Answer, Clock, Kit, make_kit

V3 = "/identity/v3"
TRUSTS = f"{V3}/OS-TRUST/trusts"


class People:
    """demo, who trusts; and others, who are trusted and have nothing of their own."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        self.demo = kit.as_user("demo", "demo")
        token = kit.login("demo", project="demo").json["token"]
        self.id, self.project = str(token["user"]["id"]), str(token["project"]["id"])
        self.roles = {role["name"]: role["id"] for role in self.admin.request("GET", f"{V3}/roles").json["roles"]}

    def friend(self, name: str = "friend") -> str:
        body = {"user": {"name": name, "password": f"{name}-secret"}}
        return str(self.admin.request("POST", f"{V3}/users", body).json["user"]["id"])

    def trust(self, trustee: str, by: Kit | None = None, **values: Any) -> Answer:
        body = {"trustor_user_id": self.id, "trustee_user_id": trustee, "project_id": self.project,
                "impersonation": False, "roles": [{"name": "member"}], **values}  # fmt: skip
        return (by or self.demo).request("POST", TRUSTS, {"trust": body})

    def made(self, trustee: str, by: Kit | None = None, **values: Any) -> Any:
        answer = self.trust(trustee, by, **values)
        assert answer.status == 201, answer.text
        return answer.json["trust"]

    def login(self, trust: Any, name: str = "friend") -> Answer:
        return self.kit.login(name, scope={"OS-TRUST:trust": {"id": trust["id"]}})

    def acting(self, trust: Any, name: str = "friend") -> Kit:
        answer = self.login(trust, name)
        assert answer.status == 201, answer.text
        return Kit(self.kit.cloud, self.kit.app, answer.headers["x-subject-token"])


@pytest.fixture
def people(kit: Kit) -> People:
    return People(kit)


def is_good(kit: Kit) -> bool:
    return kit.request("GET", "/image/v2/images").status == 200


@pytest.mark.parametrize("impersonation", [True, False])
def test_a_trustee_acts_with_the_roles_that_it_was_given(people: People, impersonation: bool) -> None:
    friend = people.friend()
    trust = people.made(friend, impersonation=impersonation)
    answer = people.login(trust)

    token = answer.json["token"]
    assert token["user"]["id"] == (people.id if impersonation else friend)
    assert token["user"]["name"] == ("demo" if impersonation else "friend")
    assert token["project"]["id"] == people.project
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["OS-TRUST:trust"] == {
        "id": trust["id"], "trustor_user": {"id": people.id}, "trustee_user": {"id": friend},
        "impersonation": impersonation,
    }  # fmt: skip
    assert token["catalog"]
    made = people.acting(trust).request("POST", "/image/v2/images", {"name": "x"})
    assert (made.status, made.json["owner"]) == (201, people.project)
    assert people.kit.login("friend", project="demo").status == 401, "without the trust there is nothing"


def test_a_trust_is_shown_with_its_roles_to_both_and_to_nobody_else(people: People) -> None:
    friend = people.friend()
    trust = people.made(friend, remaining_uses=3)
    other = people.friend("other")
    assert {name: trust[name] for name in trust if name not in ("id", "links", "roles", "roles_links")} == {
        "trustor_user_id": people.id, "trustee_user_id": friend, "project_id": people.project, "impersonation": False,
        "remaining_uses": 3, "expires_at": None, "deleted_at": None, "redelegation_count": 0,
        "redelegated_trust_id": None,
    }  # fmt: skip
    base = f"{TRUSTS}/{trust['id']}"
    assert trust["links"]["self"].endswith(base) and trust["roles_links"]["self"].endswith(f"{base}/roles")
    member = people.roles["member"]
    people.made(other)
    for who in (people.demo, people.acting(trust)):
        shown = who.request("GET", base).json["trust"]
        assert [role["id"] for role in shown["roles"]] == [member]
        assert [role["name"] for role in who.request("GET", f"{base}/roles").json["roles"]] == ["member"]
        assert who.request("GET", f"{base}/roles/{member}").json["role"]["name"] == "member"
        assert who.request("GET", f"{base}/roles/{people.roles['reader']}").status == 404
    stranger = people.acting(people.made(other), "other")
    assert stranger.request("GET", base).status == stranger.request("DELETE", base).status == 403
    assert stranger.request("GET", f"{base}/roles").status == 403
    assert stranger.request("GET", f"{TRUSTS}/{people.id}").status == 404
    assert stranger.request("GET", f"{TRUSTS}?trustor_user_id={people.id}").status == 403
    assert stranger.request("GET", TRUSTS).status == 403
    (listed,) = people.admin.request("GET", f"{TRUSTS}?trustee_user_id={friend}").json["trusts"]
    assert listed["id"] == trust["id"] and "roles" not in listed
    assert len(people.demo.request("GET", f"{TRUSTS}?trustor_user_id={people.id}").json["trusts"]) == 3


def test_a_trust_gives_so_many_tokens(people: People) -> None:
    trust = people.made(people.friend(), remaining_uses=2)
    first, second = people.acting(trust), people.acting(trust)
    assert people.login(trust).status == 401
    assert people.demo.request("GET", f"{TRUSTS}/{trust['id']}").status == 404
    assert is_good(first) and is_good(second), "what was given stays good"


def test_with_a_trust_end_its_tokens(tmp_path: Path) -> None:
    clock = Clock(datetime.now(UTC).timestamp())
    people = People(make_kit(tmp_path, clock))
    end = datetime.fromtimestamp(clock.now_s + 600, UTC).isoformat()
    trust = people.made(people.friend(), expires_at=end)
    answer = people.login(trust)
    assert datetime.fromisoformat(answer.json["token"]["expires_at"]).timestamp() <= clock.now_s + 600
    acting = people.acting(trust)
    assert is_good(acting)
    clock.now_s += 601
    assert not is_good(acting)
    for text in ("2020-01-01T00:00:00Z", "soon"):
        assert people.trust(people.id, expires_at=text).status == 400
    people.kit.cloud.database.close()


def test_a_trust_lasts_as_long_as_all_it_stands_on(people: People) -> None:
    friend = people.friend()
    member = f"{V3}/projects/{people.project}/users/{people.id}/roles/{people.roles['member']}"

    def without(method: str, path: str, body: Any = None, *, back: tuple[str, str, Any] | None = None) -> None:
        trust = people.made(friend, people.kit.as_user("demo", "demo"))
        acting = people.acting(trust)
        assert is_good(acting)
        assert people.admin.request(method, path, body).status < 300
        assert not is_good(acting), path
        assert people.login(trust).status in (401, 403), path
        if back is not None:
            assert people.admin.request(*back).status < 300

    def enabled(user: str, value: bool) -> tuple[str, str, Any]:
        return ("PATCH", f"{V3}/users/{user}", {"user": {"enabled": value}})

    without("DELETE", member, back=("PUT", member, None))
    without(*enabled(people.id, False), back=enabled(people.id, True))
    without(*enabled(friend, False), back=enabled(friend, True))
    trust = people.made(friend, people.kit.as_user("demo", "demo"))
    acting = people.acting(trust)
    assert people.kit.as_user("demo", "demo").request("DELETE", f"{TRUSTS}/{trust['id']}").status == 204
    assert not is_good(acting) and people.login(trust).status == 401
    without("DELETE", f"{V3}/users/{people.id}")


def test_another_password_of_the_trustors_ends_the_tokens_and_not_the_trust(people: People) -> None:
    trust = people.made(people.friend())
    acting = people.acting(trust)
    change = {"user": {"original_password": "demo-secret", "password": "new"}}
    assert people.kit.request("POST", f"{V3}/users/{people.id}/password", change).status == 204
    assert not is_good(acting)
    assert is_good(people.acting(trust))


def test_what_a_trust_may_not_be(people: People) -> None:
    friend = people.friend()
    for values, status in (
        ({"roles": []}, 403),
        ({"roles": [{"name": "admin"}]}, 404),
        ({"roles": [{"name": "nope"}]}, 404),
        ({"roles": [{"id": "x", "name": "member"}]}, 400),
        ({"trustor_user_id": friend}, 403),
        ({"trustee_user_id": "x"}, 404),
        ({"project_id": None}, 400),
        ({"impersonation": "yes"}, 400),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, 400),
        ({"expires_at": "9999-12-31T23:59:59"}, 201),
        ({"remaining_uses": 0}, 400),
        ({"remaining_uses": True}, 400),
        ({"allow_redelegation": True, "remaining_uses": 1}, 400),
        ({"allow_redelegation": True, "redelegation_count": 4}, 403),
    ):
        assert people.trust(friend, **values).status == status, values
    end = "2035-01-01T00:00:00Z"
    people.made(friend, expires_at=end)
    assert people.trust(friend, expires_at=end).status == 409
    assert people.login(people.made(people.friend("other"))).status == 403, "it is another's"
    assert people.login({"id": "x"}).status == 401


def test_a_token_of_a_trust_makes_no_credentials_and_no_other_token(people: People) -> None:
    acting = people.acting(people.made(people.friend(), impersonation=True))
    own = f"{V3}/users/{people.id}"
    cert = {"type": "cert", "blob": "x"}
    kept = people.demo.request("POST", f"{V3}/credentials", {"credential": cert}).json["credential"]["id"]
    for method, path, body in (
        ("POST", f"{own}/application_credentials", {"application_credential": {"name": "x"}}),
        ("GET", f"{own}/application_credentials", None),
        ("GET", f"{own}/access_rules", None),
        ("POST", f"{V3}/credentials", {"credential": cert}),
        ("GET", f"{V3}/credentials/{kept}", None),
        ("DELETE", f"{V3}/credentials/{kept}", None),
    ):
        assert acting.request(method, path, body).status == 403, (method, path)
    assert acting.request("GET", f"{V3}/credentials").json["credentials"] == []
    auth = {"identity": {"methods": ["token"], "token": {"id": acting.token}}}
    assert people.kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}).status == 403


def test_a_trust_is_handed_on_as_often_as_it_says(people: People) -> None:
    first, second, third = (people.friend(name) for name in ("first", "second", "third"))
    roles = [{"name": "member"}, {"name": "reader"}]
    trust = people.made(first, allow_redelegation=True, redelegation_count=1, impersonation=True, roles=roles)
    assert trust["redelegation_count"] == 1
    acting = people.acting(trust, "first")
    for values in ({"remaining_uses": 1}, {"allow_redelegation": True, "redelegation_count": 2},
                   {"roles": [{"name": "manager"}]}):  # fmt: skip
        assert people.trust(second, acting, **values).status in (403, 404), values
    child = people.made(second, acting, impersonation=True)
    assert (child["redelegated_trust_id"], child["redelegation_count"]) == (trust["id"], 0)
    handed = people.acting(child, "second")
    assert is_good(handed)
    assert people.trust(third, handed).status == 403, "it ends here"

    assert people.demo.request("DELETE", f"{TRUSTS}/{trust['id']}").status == 204
    assert not is_good(handed)
    assert people.demo.request("GET", f"{TRUSTS}/{child['id']}").status == 404


def test_what_is_handed_on_is_not_more(people: People) -> None:
    first, second = people.friend("first"), people.friend("second")
    end = "2035-01-01T00:00:00Z"
    trust = people.made(first, allow_redelegation=True, expires_at=end, roles=[{"name": "reader"}])
    acting = people.acting(trust, "first")
    mine = {"trustor_user_id": first, "roles": [{"name": "reader"}]}
    for values in ({"impersonation": True}, {"expires_at": "2036-01-01T00:00:00Z"}, {"roles": [{"name": "member"}]},
                   {"trustor_user_id": people.id}):  # fmt: skip
        assert people.trust(second, acting, **{**mine, **values}).status == 403, values
    child = people.made(second, acting, **mine)
    assert child["expires_at"] == "2035-01-01T00:00:00.000000Z"
    handed = people.acting(child, "second")
    assert is_good(handed)
    off = {"user": {"enabled": False}}
    assert people.admin.request("PATCH", f"{V3}/users/{first}", off).status == 200
    assert not is_good(handed), "who handed it on is gone"
