"""Tokens: what proves a caller, and when it stops doing so."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.caller import Caller
from deuteron.model.errors import NotFound, Unauthorized
from deuteron.rules.identity import keys
from deuteron.rules.identity.tokens import Scope, Tokens
from tests.unit.api_identity.harness import Clock, Kit, make_kit


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Iterator[Kit]:
    """A cloud whose tokens live by the test's clock, for one hour."""
    made = make_kit(tmp_path, clock)
    yield made
    made.cloud.database.close()


def prove(kit: Kit, token: str) -> Caller:
    with kit.cloud.database.read() as tx:
        return kit.cloud.tokens.caller(tx, token)


def test_a_token_proves_user_project_and_roles_with_implied_ones(kit: Kit) -> None:
    caller = prove(kit, kit.login("demo", project="demo").headers["x-subject-token"])

    assert (caller.user_name, caller.project_name) == ("demo", "demo")
    assert caller.roles == {"member", "reader"}
    assert not caller.is_admin


def test_admin_implies_manager_member_and_reader(kit: Kit) -> None:
    caller = prove(kit, kit.login().headers["x-subject-token"])

    assert caller.roles == {"admin", "manager", "member", "reader"}


def test_a_token_is_short_enough_for_a_header(kit: Kit) -> None:
    assert len(kit.login().headers["x-subject-token"]) < 255


def test_an_expired_token_proves_nothing_even_if_it_was_proven_before(timed: Kit, clock: Clock) -> None:
    token = timed.login().headers["x-subject-token"]
    prove(timed, token)

    clock.now_s += 3601

    with pytest.raises(Unauthorized):
        prove(timed, token)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "long", "not ascii", "nul"])
def test_a_damaged_token_proves_nothing(kit: Kit, damage: str) -> None:
    token = kit.login().headers["x-subject-token"]
    middle = len(token) // 2
    damaged = {
        "truncated": token[:-7],
        "flipped": token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :],
        "empty": "",
        "foreign": "gAAAAABnAAAA" + "A" * 150,
        "long": token * 20,
        "not ascii": "é" * 180,
        "nul": "\0" * 180,
    }[damage]

    with pytest.raises(Unauthorized):
        prove(kit, damaged)


def test_a_revoked_token_proves_nothing_from_the_next_request_on(kit: Kit) -> None:
    admin = kit.as_user()
    assert admin.request("GET", "/identity/v3/users").status == 200

    gone = admin.request("DELETE", "/identity/v3/auth/tokens", headers={"x-subject-token": admin.token or ""})

    assert gone.status == 204
    assert admin.request("GET", "/identity/v3/users").status == 401


def test_revoking_one_token_leaves_the_others(kit: Kit) -> None:
    first, second = kit.as_user(), kit.as_user()

    first.request("DELETE", "/identity/v3/auth/tokens", headers={"x-subject-token": first.token or ""})

    assert second.request("GET", "/identity/v3/users").status == 200


def test_tokens_of_older_keys_are_valid_until_the_keys_are_purged(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    tokens = Tokens(folder)
    text, _ = tokens.issue("a" * 32, ("password",), Scope())

    seen = []
    for _ in range(keys.MAX_ACTIVE):
        keys.rotate_keys(folder)
        try:
            Tokens(folder)._decode(text)
            seen.append(True)
        except NotFound:
            seen.append(False)

    assert seen == [True, False, False]
    assert len(keys.key_numbers(folder)) == keys.MAX_ACTIVE
    assert keys.key_numbers(folder)[0] == 0


def test_a_running_server_accepts_tokens_of_a_key_that_another_made(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    here = Tokens(folder)
    keys.rotate_keys(folder)
    keys.rotate_keys(folder)
    text, payload = Tokens(folder).issue("a" * 32, ("password",), Scope())

    assert here._decode(text) == payload


def test_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "keys"

    Tokens(folder)

    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("0", "1")] == [0o600, 0o600]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_keys_rotate_when_the_primary_is_older_than_a_token_lives(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "keys"
    tokens = Tokens(folder, 3600, clock)
    before = keys.key_numbers(folder)

    clock.now_s = (folder / "1").stat().st_mtime + 3601
    tokens.issue("a" * 32, ("password",), Scope())

    assert keys.key_numbers(folder) == [*before, before[-1] + 1]


CHANGES: dict[str, Any] = {
    "user disabled": ("PATCH", "/identity/v3/users/{user}", {"user": {"enabled": False}}),
    "user deleted": ("DELETE", "/identity/v3/users/{user}", None),
    "password set": ("PATCH", "/identity/v3/users/{user}", {"user": {"password": "another"}}),
    "project disabled": ("PATCH", "/identity/v3/projects/{project}", {"project": {"enabled": False}}),
    "project deleted": ("DELETE", "/identity/v3/projects/{project}", None),
    "role removed": ("DELETE", "/identity/v3/projects/{project}/users/{user}/roles/{role}", None),
    "role deleted": ("DELETE", "/identity/v3/roles/{role}", None),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_of_what_a_token_stands_for_counts_at_once(kit: Kit, change: str) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    assert demo.request("GET", "/identity/v3/auth/projects").status == 200
    caller = prove(kit, demo.token or "")
    found = admin.request("GET", "/identity/v3/roles?name=member").json["roles"][0]
    method, path, body = CHANGES[change]

    answer = admin.request(method, path.format(user=caller.user_id, project=caller.project_id, role=found["id"]), body)

    assert answer.status in (200, 204), answer.text
    assert demo.request("GET", "/identity/v3/auth/projects").status == 401


def test_a_role_that_is_added_counts_in_tokens_that_exist(kit: Kit) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    caller = prove(kit, demo.token or "")
    role = admin.request("GET", "/identity/v3/roles?name=admin").json["roles"][0]["id"]

    admin.request("PUT", f"/identity/v3/projects/{caller.project_id}/users/{caller.user_id}/roles/{role}")

    assert prove(kit, demo.token or "").is_admin


def test_enabling_a_user_again_does_not_bring_old_tokens_back(kit: Kit) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    path = f"/identity/v3/users/{prove(kit, demo.token or '').user_id}"

    admin.request("PATCH", path, {"user": {"enabled": False}})
    admin.request("PATCH", path, {"user": {"enabled": True}})

    assert demo.request("GET", "/identity/v3/auth/projects").status == 401
    assert kit.login("demo", project="demo").status == 201


def test_making_a_user_does_not_make_the_cloud_forget_who_is_proven(kit: Kit) -> None:
    admin = kit.as_user()
    before = prove(kit, admin.token or "")

    admin.request("POST", "/identity/v3/users", {"user": {"name": "x", "password": "y"}})

    assert prove(kit, admin.token or "") is before
