"""One-time passwords, and logging in by several methods together."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.rules.identity.factors import Insufficient, proven_before, seal
from deuteron.rules.identity.totp import PERIOD_S, codes
from tests.unit.api_identity.harness import Answer, Kit

V3 = "/identity/v3"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""`12345678901234567890` of RFC 6238, appendix B."""


class Person:
    """demo, with a secret for codes."""

    def __init__(self, kit: Kit, *rules: list[str], **options: Any) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        self.id = str(kit.login("demo", project="demo").json["token"]["user"]["id"])
        body = {"type": "totp", "blob": SECRET, "user_id": self.id}
        made = self.admin.request("POST", f"{V3}/credentials", {"credential": body})
        assert made.status == 201
        self.credential = f"{V3}/credentials/{made.json['credential']['id']}"
        if rules or options:
            self.options(**({"multi_factor_auth_rules": [*rules]} if rules else {}), **options)

    def options(self, **options: Any) -> None:
        answer = self.admin.request("PATCH", f"{V3}/users/{self.id}", {"user": {"options": options}})
        assert answer.status == 200, answer.text

    def code(self, back: int = 0) -> str:
        with self.kit.cloud.database.read() as tx:
            return codes(SECRET, tx.now.timestamp() - back * PERIOD_S, 0)[0]

    def log_in(self, *methods: str, code: str = "", receipt: str | None = None, token: str = "") -> Answer:
        user = {"name": "demo", "domain": {"id": "default"}}
        identity = {
            "methods": [*methods],
            "password": {"user": {**user, "password": "demo-secret"}},
            "totp": {"user": {**user, "passcode": code or self.code()}},
            "token": {"id": token},
        }
        identity = {name: identity[name] for name in ("methods", *methods)}
        scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
        headers = {} if receipt is None else {"openstack-auth-receipt": receipt}
        return self.kit.request(
            "POST", f"{V3}/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, headers=headers
        )


@pytest.mark.parametrize(
    ("now_s", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_the_rfc(now_s: int, code: str) -> None:
    assert codes(SECRET, now_s, 0) == [code]


def test_a_code_logs_in_in_its_half_minute_and_the_next(kit: Kit) -> None:
    person = Person(kit)
    answer = person.log_in("totp")
    assert answer.status == 201, answer.text
    assert answer.json["token"]["methods"] == ["totp"]
    previous, long_ago = person.code(1), person.code(3)
    assert person.log_in("totp", code=previous).status == 201 or previous != person.code(1), "its time is not over"
    for wrong in (long_ago, "000", "x" * 2000, "\u0661" * 6):
        assert person.log_in("totp", code=wrong).status == 401, wrong
    assert person.log_in("password", "totp").json["token"]["methods"] == ["password", "totp"]
    assert person.log_in("password", "totp", code=long_ago).status == 401, "both have to be right"
    assert person.admin.request("DELETE", person.credential).status == 204
    assert person.log_in("totp").status == 401


@pytest.mark.parametrize("blob", ["", "not base 32!", "1", "MZXW6YTB", "\u0661"])
def test_a_secret_that_is_none_lets_nobody_in(kit: Kit, blob: str) -> None:
    person = Person(kit)
    assert person.admin.request("PATCH", person.credential, {"credential": {"blob": blob}}).status in (200, 400)
    assert codes(blob, 1_800_000_000, 1) == []


@pytest.mark.parametrize(
    "given", [{}, {"user": {}}, {"user": {"name": "demo", "passcode": "1"}}, {"user": {"id": "x"}}]
)
def test_a_code_without_a_user_is_refused(kit: Kit, given: Any) -> None:
    auth = {"identity": {"methods": ["totp"], "totp": given}}
    assert kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}).status == 400


def test_who_proves_less_gets_a_receipt_and_goes_on_with_it(kit: Kit) -> None:
    person = Person(kit, ["password", "totp"], ["application_credential"])
    before = kit.login("admin").status
    less = person.log_in("password")
    assert (before, less.status) == (201, 401)
    assert "x-subject-token" not in less.headers
    body = less.json
    assert body["receipt"]["methods"] == ["password"]
    assert body["receipt"]["user"] == {"id": person.id, "name": "demo", "domain": {"id": "default", "name": "Default"}}
    assert body["required_auth_methods"] == [["password", "totp"]]
    receipt = less.headers["openstack-auth-receipt"]

    whole = person.log_in("totp", receipt=receipt)
    assert whole.status == 201, whole.text
    assert whole.json["token"]["methods"] == ["password", "totp"]
    assert person.log_in("password", "totp").status == 201
    assert person.log_in("password", receipt=receipt).status == 401, "the same again is not more"
    token = whole.headers["x-subject-token"]
    assert person.log_in("token", token=token).status == 201, "a token stands for how it was made"
    for other in ("x", token, receipt[:-4] + "AAAA"):
        assert person.log_in("totp", receipt=other).status == 404, other
    holder = Kit(kit.cloud, kit.app, receipt)
    assert holder.request("GET", "/image/v2/images").status == 401, "a receipt is no token"


def test_rules_are_looked_at_while_they_are_on(kit: Kit) -> None:
    person = Person(kit, ["password", "totp"], multi_factor_auth_enabled=False)
    assert person.log_in("password").status == 201
    person.options(multi_factor_auth_enabled=True)
    assert person.log_in("password").status == 401
    person.options(multi_factor_auth_rules=[["password", "smoke signals"]])
    assert person.log_in("password").status == 201, "a method that is not here is not asked for"
    person.options(multi_factor_auth_rules=[["smoke signals"]])
    assert person.log_in("password").status == 201
    person.options(multi_factor_auth_rules=None)
    assert person.log_in("password").status == 201


def test_a_receipt_is_one_users_and_lasts_some_minutes(kit: Kit) -> None:
    tokens = kit.cloud.tokens
    text, made = seal(tokens, Insufficient("u", ("password",), 7, []), 1000.0, 300)
    assert made.expires_s == 1300.0
    assert proven_before(tokens, text, "u", 7, 1299.0) == ("password",)
    for user, generation, now in (("v", 7, 1299.0), ("u", 8, 1299.0), ("u", 7, 1300.0)):
        with pytest.raises(Exception, match="Could not find auth receipt"):
            proven_before(tokens, text, user, generation, now)
