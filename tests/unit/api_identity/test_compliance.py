"""What an operator asks of passwords and accounts, and the options that exempt a user from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from deuteron.api.settings import BadOperatorFile, read_operator
from deuteron.store.identity_tables import users
from tests.unit.api_identity.harness import Answer, Kit, make_kit

V3 = "/identity/v3"
Make = Callable[[str], "User"]


class User:
    """A user of a cloud whose operator asks for something."""

    def __init__(self, kit: Kit, **values: Any) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        answer = self.admin.request("POST", f"{V3}/users", {"user": {"name": "u", "password": "first", **values}})
        assert answer.status == 201, answer.text
        self.shown = answer.json["user"]
        self.path = f"{V3}/users/{self.shown['id']}"

    def login(self, password: str = "first") -> Answer:
        return self.kit.login("u", password, project=None)

    def change(self, original: str, password: str) -> Answer:
        body = {"user": {"original_password": original, "password": password}}
        return self.kit.request("POST", f"{self.path}/password", body)

    def patch(self, **values: Any) -> Any:
        answer = self.admin.request("PATCH", self.path, {"user": values})
        assert answer.status == 200, answer.text
        return answer.json["user"]

    def row(self, **values: Any) -> None:
        """As if time had gone by."""
        where = users.c.id == self.shown["id"]
        self.kit.write(lambda tx: tx.execute(update(users).where(where).values(**values)))


@pytest.fixture
def asking(tmp_path: Path) -> Any:
    kits: list[Kit] = []

    def make(text: str) -> Kit:
        (tmp_path / "operator.toml").write_text(f"[security_compliance]\n{text}\n")
        kits.append(make_kit(tmp_path, operator=read_operator(tmp_path)))
        return kits[-1]

    yield make
    for kit in kits:
        kit.cloud.database.close()


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def test_so_many_wrong_passwords_lock_a_user_out_for_a_while(asking: Callable[[str], Kit]) -> None:
    user = User(asking("lockout_failure_attempts = 3\nlockout_duration = 60"))
    assert [user.login("wrong").status for _ in range(2)] == [401, 401]
    assert user.login().status == 201
    assert [user.login("wrong").status for _ in range(3)] == [401] * 3, "a right one in between begins anew"
    locked = user.login()
    assert (locked.status, locked.json) == (401, user.login("wrong").json), "nobody learns that it was right"
    assert user.change("first", "second").status == 401
    user.row(failed_at_s=int(ago(seconds=61).timestamp()))
    assert user.login("wrong").status == 401
    assert user.login().status == 201, "one more is not enough again"
    assert [user.change("wrong", "x").status for _ in range(3)] == [401] * 3
    assert user.login().status == 401, "they count there too"
    user.patch(enabled=True)
    assert user.login().status == 201


def test_a_user_may_be_exempt_from_being_locked_out(asking: Callable[[str], Kit]) -> None:
    user = User(asking("lockout_failure_attempts = 1"), options={"ignore_lockout_failure_attempts": True})
    assert [user.login("wrong").status for _ in range(3)] == [401] * 3
    assert user.login().status == 201


def test_a_password_ends(asking: Callable[[str], Kit]) -> None:
    user = User(asking("password_expires_days = 30"))
    end = datetime.fromisoformat(user.shown["password_expires_at"]).replace(tzinfo=UTC)
    assert timedelta(days=29) < end - datetime.now(UTC) <= timedelta(days=30)
    token = user.login().json["token"]
    assert token["user"]["password_expires_at"] == user.shown["password_expires_at"]
    user.row(password_expires_at=ago(days=1).strftime("%Y-%m-%dT%H:%M:%S.%f"))
    told = user.login()
    assert told.status == 401
    assert told.json["error"]["message"] == (
        f"The password is expired and needs to be changed for user: {user.shown['id']}."
    )
    assert "expired" not in user.login("wrong").text
    assert user.change("first", "second").status == 204, "it may still be changed"
    assert user.login("second").status == 201
    user.row(password_expires_at=ago(days=1).strftime("%Y-%m-%dT%H:%M:%S.%f"))
    user.patch(options={"ignore_password_expiry": True})
    assert user.login("second").status == 201
    assert user.patch(password="third")["password_expires_at"] is None


def test_users_are_found_by_when_their_passwords_end(asking: Callable[[str], Kit]) -> None:
    user = User(asking("password_expires_days = 30"))
    user.row(password_expires_at="2026-03-01T12:00:00.000000")
    for query, found in (
        ("lt:2026-03-01T12:00:01Z", True), ("lt:2026-03-01T12:00:00Z", False), ("lte:2026-03-01T12:00:00Z", True),
        ("gt:2026-03-01T11:59:59Z", True), ("gte:2026-03-01T12:00:01Z", False), ("eq:2026-03-01T12:00:00Z", True),
        ("neq:2026-03-01T12:00:00Z", False), ("neq:2025-03-01T12:00:00Z", True),
    ):  # fmt: skip
        rows = user.admin.request("GET", f"{V3}/users?password_expires_at={query}").json["users"]
        assert [row["name"] for row in rows] == (["u"] if found else []), query
    assert user.admin.request("GET", f"{V3}/users?password_expires_at=soon").status == 400


def test_a_password_that_was_given_is_changed_first(asking: Callable[[str], Kit]) -> None:
    kit = asking("change_password_upon_first_use = true")
    user = User(kit)
    assert user.login().status == 401
    assert user.change("first", "second").status == 204
    assert user.login("second").status == 201
    user.patch(password="third")
    assert user.login("third").status == 401
    user.patch(options={"ignore_change_password_upon_first_use": True}, password="fourth")
    assert user.login("fourth").status == 201
    assert kit.login().status == 201, "the first administrator is not shut out"


def test_the_last_passwords_are_not_taken_again(asking: Callable[[str], Kit]) -> None:
    user = User(asking("unique_last_password_count = 2"))
    refused = user.change("first", "first")
    assert refused.status == 400 and "must be unique is 2" in refused.json["error"]["message"]
    assert user.change("first", "second").status == 204
    assert user.change("second", "first").status == 400
    assert user.change("second", "third").status == 204
    assert user.change("third", "second").status == 400
    assert user.change("third", "first").status == 204, "it is long ago"
    user.patch(password="first")
    assert user.login("first").status == 201, "an administrator may"


def test_a_password_is_kept_for_a_while(asking: Callable[[str], Kit]) -> None:
    user = User(asking("minimum_password_age = 2"))
    assert user.change("first", "second").status == 204, "it was not the user that chose the first"
    refused = user.change("second", "third")
    assert refused.status == 400 and "used for 2 day(s)" in refused.json["error"]["message"]
    user.row(password_set_s=int(ago(days=2, seconds=1).timestamp()))
    assert user.change("second", "third").status == 204
    user.patch(password="fourth")


def test_a_password_matches_what_the_operator_wants(asking: Callable[[str], Kit]) -> None:
    kit = asking("password_regex = '^(?=.*\\d).{5,}$'\npassword_regex_description = 'five characters, one a digit'")
    admin = kit.as_user()
    body = {"user": {"name": "weak", "password": "weak"}}
    refused = admin.request("POST", f"{V3}/users", body)
    assert refused.status == 400
    assert refused.json["error"]["message"] == (
        "The password does not match the requirements: five characters, one a digit."
    )
    user = User(kit, password="first1")
    assert user.admin.request("PATCH", user.path, {"user": {"password": "weak"}}).status == 400
    assert user.change("first1", "weak").status == 400
    assert user.change("first1", "strong1").status == 204


def test_who_is_away_for_long_is_disabled(asking: Callable[[str], Kit]) -> None:
    user = User(asking("disable_user_account_days_inactive = 10"))
    own = user.login().headers["x-subject-token"]
    user.row(active_day=ago(days=9).date().isoformat())
    assert user.login().status == 201
    user.row(active_day=ago(days=10).date().isoformat())
    assert user.login().status == 401
    assert user.change("first", "second").status == 401
    auth = {"identity": {"methods": ["token"], "token": {"id": own}}}
    assert user.kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}).status == 401
    assert user.admin.request("GET", user.path).json["user"]["enabled"] is False
    listed = {each["name"]: each["enabled"] for each in user.admin.request("GET", f"{V3}/users").json["users"]}
    assert listed == {"admin": True, "demo": True, "u": False}
    user.patch(options={"ignore_user_inactivity": True})
    assert user.login().status == 201
    user.patch(options={"ignore_user_inactivity": None})
    user.row(active_day=ago(days=10).date().isoformat())
    user.patch(enabled=True)
    assert user.login().status == 201


def test_a_user_may_be_kept_from_changing_its_password(kit: Kit) -> None:
    user = User(kit, options={"lock_password": True})
    refused = user.change("first", "second")
    assert refused.status == 400 and "disallowing password changes" in refused.json["error"]["message"]
    assert user.patch(options={"lock_password": None})["options"] == {}
    assert user.change("first", "second").status == 204


def test_nothing_of_it_holds_unless_it_is_asked_for(kit: Kit) -> None:
    user = User(kit)
    assert user.shown["password_expires_at"] is None
    assert {user.login("wrong").status for _ in range(5)} == {401}
    assert user.login().status == 201
    assert user.change("first", "x").status == 204 and user.change("x", "first").status == 204


@pytest.mark.parametrize(
    "options",
    [
        {"lock_password": "yes"},
        {"lock_password": 1},
        {"unknown": True},
        {"multi_factor_auth_rules": "password"},
        {"multi_factor_auth_rules": [[]]},
        {"multi_factor_auth_rules": [["password", "password"]]},
        {"multi_factor_auth_rules": [["password"], ["password"]]},
        {"multi_factor_auth_rules": [[7]]},
    ],
)
def test_an_option_that_means_nothing_is_refused(kit: Kit, options: Any) -> None:
    body = {"user": {"name": "u", "options": options}}
    assert kit.as_user().request("POST", f"{V3}/users", body).status == 400


@pytest.mark.parametrize("text", ["lockout_failure_attempts = 0", "password_regex = '('", "unknown = 1"])
def test_a_setting_that_means_nothing_keeps_the_api_from_starting(tmp_path: Path, text: str) -> None:
    (tmp_path / "operator.toml").write_text(f"[security_compliance]\n{text}\n")
    with pytest.raises(BadOperatorFile):
        read_operator(tmp_path)
