"""Options of domains are kept and shown, whole, by group and one by one; secrets among them are not shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_identity.harness import Kit

V3 = "/identity/v3"
OPTIONS = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://h", "password": "secret"}}
SHOWN = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://h"}}


class Domain:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        made = self.admin.request("POST", f"{V3}/domains", {"domain": {"name": "d", "enabled": False}})
        self.id = made.json["domain"]["id"]

    def ask(self, method: str, path: str = "", config: Any = None) -> tuple[int, Any]:
        """Status, and the configuration or the message."""
        body = None if config is None else {"config": config}
        answer = self.admin.request(method, f"{V3}/domains/{self.id}/config{path}", body)
        if answer.status == 204:
            return 204, None
        return answer.status, answer.json["config"] if answer.status < 300 else answer.json["error"]["message"]


@pytest.fixture
def domain(kit: Kit) -> Domain:
    return Domain(kit)


def test_options_of_a_domain_are_kept_without_telling_its_secrets(domain: Domain) -> None:
    assert domain.ask("GET")[0] == 404
    assert domain.ask("PUT", config=OPTIONS) == (201, SHOWN)
    assert domain.ask("PUT", config=OPTIONS) == (200, SHOWN), "in place of what was there"
    assert domain.ask("GET") == (200, SHOWN)
    assert domain.ask("GET", "/ldap") == (200, {"ldap": {"url": "ldap://h"}})
    assert domain.ask("GET", "/ldap/url") == (200, {"url": "ldap://h"})
    assert domain.ask("GET", "/ldap/password")[0] == 404
    assert domain.ask("DELETE") == (204, None)
    assert domain.ask("GET")[0] == 404
    assert domain.ask("DELETE") == (204, None)


def test_options_are_changed_by_group_and_one_by_one(domain: Domain) -> None:
    assert domain.ask("PATCH", "/ldap", {"ldap": {"url": "ldap://i"}})[0] == 404, "there is none to change"
    domain.ask("PUT", config=OPTIONS)
    both = {"driver": "ldap", "list_limit": 9}
    assert domain.ask("PATCH", "/identity", {"identity": {"list_limit": 9}}) == (200, {**SHOWN, "identity": both})
    assert domain.ask("PATCH", "/ldap/url", {"url": "ldap://i"})[1]["ldap"] == {"url": "ldap://i"}
    assert domain.ask("PATCH", "/ldap/suffix", {"suffix": "dc=h"})[0] == 404
    assert domain.ask("PATCH", config={"ldap": {"suffix": "dc=h"}})[1]["ldap"] == {"url": "ldap://i", "suffix": "dc=h"}
    assert domain.ask("DELETE", "/identity/driver") == (204, None)
    assert domain.ask("GET", "/identity") == (200, {"identity": {"list_limit": 9}})
    assert domain.ask("DELETE", "/identity/driver")[0] == domain.ask("GET", "/identity/driver")[0] == 404
    assert domain.ask("DELETE", "/identity") == (204, None)
    assert domain.ask("DELETE", "/identity")[0] == domain.ask("GET", "/identity")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "config"),
    [
        ("PUT", "", {}),
        ("PUT", "", [1]),
        ("PUT", "", {"identity": {}}),
        ("PUT", "", {"identity": "sql"}),
        ("PUT", "", {"catalog": {"driver": "sql"}}),
        ("PUT", "", {"identity": {"colour": "red"}}),
        ("GET", "/catalog", None),
        ("GET", "/ldap/colour", None),
        ("PATCH", "/ldap", {"identity": {"driver": "sql"}}),
        ("PATCH", "/ldap", SHOWN),
        ("PATCH", "/ldap/url", {"suffix": "dc=h"}),
        ("PATCH", "/ldap/url", "ldap://i"),
        ("DELETE", "/catalog", None),
    ],
)
def test_what_keystone_does_not_keep_is_refused(domain: Domain, method: str, path: str, config: Any) -> None:
    domain.ask("PUT", config=OPTIONS)
    code, words = domain.ask(method, path, config)
    assert code == 403 and words.startswith("Invalid domain specific configuration: ")
    assert domain.ask("GET") == (200, SHOWN)


def test_everybody_with_the_right_reads_what_holds_where_nothing_is_set(domain: Domain) -> None:
    found = domain.admin.request("GET", f"{V3}/domains/config/default").json["config"]
    assert found["identity"] == {"driver": "sql", "list_limit": None} and found["ldap"]["url"] == "ldap://localhost"
    assert "password" not in found["ldap"]
    one = domain.admin.request("GET", f"{V3}/domains/config/ldap/use_pool/default")
    assert one.json["config"] == {"use_pool": True}
    assert domain.admin.request("GET", f"{V3}/domains/config/ldap/password/default").status == 403
    demo = domain.kit.as_user("demo", "demo")
    for path in (f"domains/{domain.id}/config", "domains/config/default", "domains/config/ldap/default"):
        assert demo.request("GET", f"{V3}/{path}").status == 403


def test_everybody_reads_what_passwords_have_to_match(domain: Domain) -> None:
    demo = domain.kit.as_user("demo", "demo")
    rules = f"{V3}/domains/default/config/security_compliance"
    found = demo.request("GET", rules).json["config"]["security_compliance"]
    assert found == {"password_regex": None, "password_regex_description": ""}
    assert demo.request("GET", f"{rules}/password_regex").json["config"] == {"password_regex": None}
    assert demo.request("GET", f"{rules}/lockout_duration").status == 403
    assert demo.request("GET", f"{V3}/domains/{domain.id}/config/security_compliance").status == 403


def test_options_go_with_their_domain(domain: Domain) -> None:
    domain.ask("PUT", config=OPTIONS)
    assert domain.admin.request("DELETE", f"{V3}/domains/{domain.id}").status == 204
    assert domain.ask("GET")[0] == domain.ask("PUT", config=OPTIONS)[0] == 404
