"""docs/api-coverage.md, "Identity v3": each thing that is said to be recorded, or not there, is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_identity.harness import Kit

V3 = "/identity/v3"
PAGE = (Path(__file__).parents[3] / "docs" / "api-coverage.md").read_text()
CHAPTER = PAGE.split("## Identity v3")[1].split("\n## ")[0]

ME = "{me}"
MISSING: dict[str, tuple[tuple[str, str, Any, int], ...]] = {
    "federation": (
        ("GET", "/OS-FEDERATION/identity_providers", None, 404),
        ("GET", "/OS-FEDERATION/mappings", None, 404),
    ),
    "OAuth": (("GET", "/OS-OAUTH1/consumers", None, 404), ("POST", "/OS-OAUTH2/token", {}, 404)),
    "policies": (("GET", "/policies", None, 404),),
    "certificates of signed tokens": (("GET", "/OS-SIMPLE-CERT/ca", None, 404),),
    "lists of revoked tokens": (("GET", "/OS-REVOKE/events", None, 404),),
}
SAID_ELSEWHERE = {"LDAP"}
"""What is no route and no parameter: settings of Keystone's that are not here."""


def not_there() -> list[str]:
    found = re.search(r"Not there: (.*?)\.\n\n", CHAPTER + "\n\n", re.DOTALL)
    assert found is not None
    text = re.sub(r"\([^)]*\)", "", found[1].replace("\n", " "))
    return [re.sub(r"\s+", " ", item).strip() for item in text.split(",")]


def test_the_page_and_the_tests_name_the_same() -> None:
    assert set(not_there()) == {*MISSING, *SAID_ELSEWHERE}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_not_there_is_refused(kit: Kit, what: str) -> None:
    admin = kit.as_user()
    token = kit.login().json["token"]
    for method, path, body, status in MISSING[what]:
        place = V3 + path.format(me=token["user"]["id"], project=token["project"]["id"])
        assert admin.request(method, place, body).status == status, f"{method} {path}"
