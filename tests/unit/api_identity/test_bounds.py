"""What one user may store in identity: so many credentials, each of so many bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deuteron.api.settings import BadOperatorFile, read_operator
from deuteron.model.identity import MAX_TEXT
from deuteron.model.settings import IdentityOptions
from tests.unit.api_identity.harness import Kit, make_kit

CREDENTIALS = "/identity/v3/credentials"
LIMITS = "[identity]\ncredential_user_limit = {0}\napplication_credential_user_limit = {0}\n"


def limited(folder: Path, most: int) -> Kit:
    """A cloud whose operator lets a user have so many credentials of each kind."""
    (folder / "operator.toml").write_text(LIMITS.format(most))
    return make_kit(folder, operator=read_operator(folder))


def make(kit: Kit, number: int, **values: Any) -> tuple[int, dict[str, Any]]:
    body = {"credential": {"type": "cert", "blob": f"b{number}", **values}}
    sent = json.dumps(body, ensure_ascii=False).encode()  # escaped, it would be too long for any body
    answer = kit.request("POST", CREDENTIALS, sent, headers={"content-type": "application/json"})
    return answer.status, answer.json


def test_a_user_has_so_many_credentials_whoever_makes_them(tmp_path: Path) -> None:
    kit = limited(tmp_path, 2)
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    me = kit.login("demo", project="demo").json["token"]["user"]["id"]
    made = [make(demo, number) for number in range(2)]
    assert [status for status, _ in made] == [201, 201]

    for status, body in (make(demo, 3), make(admin, 3, user_id=me)):
        assert (status, body["error"]["title"]) == (403, "Forbidden")
        assert body["error"]["message"] == (
            "Unable to create additional credentials, maximum of 2 already exceeded for user."
        )
    status, own = make(admin, 4)
    assert status == 201, "another user has their own"
    moved = admin.request("PATCH", f"{CREDENTIALS}/{own['credential']['id']}", {"credential": {"user_id": me}})
    assert moved.status == 403, "nor are they given to who has enough"
    kept = demo.request("PATCH", f"{CREDENTIALS}/{made[0][1]['credential']['id']}", {"credential": {"user_id": me}})
    assert kept.status == 200
    assert demo.request("DELETE", f"{CREDENTIALS}/{made[0][1]['credential']['id']}").status == 204
    assert make(demo, 5)[0] == 201


def test_a_user_has_so_many_application_credentials(tmp_path: Path) -> None:
    kit = limited(tmp_path, 2)
    demo = kit.as_user("demo", "demo")
    me = kit.login("demo", project="demo").json["token"]["user"]["id"]
    base = f"/identity/v3/users/{me}/application_credentials"
    answers = [demo.request("POST", base, {"application_credential": {"name": f"c{n}"}}) for n in range(3)]

    assert [answer.status for answer in answers] == [201, 201, 403]
    assert answers[2].json["error"]["message"] == (
        "Unable to create additional application credentials, maximum of 2 already exceeded for user."
    )
    first = answers[0].json["application_credential"]["id"]
    assert demo.request("DELETE", f"{base}/{first}").status == 204
    assert demo.request("POST", base, {"application_credential": {"name": "c3"}}).status == 201


def test_a_limit_of_minus_one_is_none(tmp_path: Path) -> None:
    demo = limited(tmp_path, -1).as_user("demo", "demo")
    assert {make(demo, number)[0] for number in range(5)} == {201}


def test_unless_told_a_user_has_200_of_each(tmp_path: Path) -> None:
    assert read_operator(tmp_path).identity == IdentityOptions(200, 200)
    (tmp_path / "operator.toml").write_text("[identity]\ncredential_user_limit = -2\n")
    with pytest.raises(BadOperatorFile, match=r"identity\.credential_user_limit"):
        read_operator(tmp_path)


@pytest.mark.parametrize(
    ("blob", "status"),
    [
        ("x" * MAX_TEXT, 201),
        ("x" * (MAX_TEXT + 1), 400),
        ("é" * (MAX_TEXT // 2), 201),
        ("é" * (MAX_TEXT // 2 + 1), 400),
        ("\U0001f600" * 20_000, 400),
    ],
    ids=["most", "one more", "most of two bytes", "one more of two bytes", "of four bytes"],
)
def test_a_credential_takes_at_most_the_bytes_of_keystones_column(kit: Kit, blob: str, status: int) -> None:
    assert make(kit.as_user(), 0, blob=blob)[0] == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("projects", {"project": {"name": "p", "description": "d" * (MAX_TEXT + 1)}}),
        ("projects", {"project": {"name": "p", "mine": "e" * MAX_TEXT}}),
        ("projects", {"project": {"name": "p", **{f"k{n}": n for n in range(201)}}}),
        ("users", {"user": {"name": "u", "mine": ["e"] * 20_000}}),
        ("credentials", {"credential": {"type": "ec2", "blob": "b", "mine": "e" * MAX_TEXT}}),
    ],
    ids=["description", "attribute", "attributes", "list", "attribute of a credential"],
)
def test_descriptions_and_attributes_that_nobody_knows_are_bounded(kit: Kit, path: str, body: dict[str, Any]) -> None:
    answer = kit.as_user().request("POST", f"/identity/v3/{path}", body)
    assert answer.status == 400, answer.text
    assert len(answer.text) < 1000
