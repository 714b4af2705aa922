"""EC2 credentials, and tokens for what was signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keystoneclient.contrib.ec2.utils import Ec2Signer

from tests.unit.api_identity.harness import Answer, Kit

V3 = "/identity/v3"


def make(kit: Kit) -> tuple[Kit, str, Any]:
    token = kit.login("demo", project="demo").json["token"]
    demo, base = kit.as_user("demo", "demo"), f"{V3}/users/{token['user']['id']}/credentials/OS-EC2"
    answer = demo.request("POST", base, {"tenant_id": token["project"]["id"]})
    assert answer.status == 201, answer.text
    return demo, base, answer.json["credential"]


def stamp(ago: timedelta = timedelta()) -> datetime:
    return datetime.now(UTC) - ago


def request(version: str, key: Any, ago: timedelta = timedelta(), *, in_query: bool = False) -> dict[str, Any]:
    """A request as a service would hand it on, without its signature."""
    when = stamp(ago)
    short, iso = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y-%m-%dT%H:%M:%SZ")
    params: dict[str, Any] = {"Action": "DescribeInstances", "Limit": "7", "Filter": "a b/c~d"}
    headers = {"Host": "cloud:8788", "User-Agent": "Boto/2.9.2"}
    if version == "4":
        scope = f"{key['access']}/{when:%Y%m%d}/RegionOne/ec2/aws4_request"
        if in_query:
            params |= {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": scope, "X-Amz-Date": short,
                       "X-Amz-SignedHeaders": "host"}  # fmt: skip
        else:
            signed = "SignedHeaders=host;x-amz-date"
            headers |= {
                "X-Amz-Date": short,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={scope},{signed},Signature=x",
            }
    else:
        params |= {"SignatureVersion": version, "Timestamp": iso, "AWSAccessKeyId": key["access"]}
    return {"access": key["access"], "host": "cloud:8788", "verb": "GET", "path": "/services/Cloud", "params": params,
            "headers": headers, "body_hash": hashlib.sha256(b"").hexdigest()}  # fmt: skip


def signed(given: dict[str, Any], secret: str) -> dict[str, Any]:
    """With the signature that OpenStack's own client makes, which changes what it signs."""
    copy = {**given, "params": dict(given["params"]), "headers": dict(given["headers"])}
    return {**given, "signature": Ec2Signer(secret).generate(copy)}


def ask(kit: Kit, given: Any, path: str = "ec2tokens", name: str = "credentials") -> Answer:
    return kit.as_user().request("POST", f"{V3}/{path}", {name: given})


VERSIONS = [("0", False), ("1", False), ("2", False), ("4", False), ("4", True)]


@pytest.mark.parametrize(("version", "in_query"), VERSIONS)
def test_what_the_client_signs_is_a_token(kit: Kit, version: str, in_query: bool) -> None:
    _, _, key = make(kit)
    given = signed(request(version, key, in_query=in_query), key["secret"])

    answer = kit.as_user().request("POST", "/identity/v3/ec2tokens", {"credentials": given})

    assert answer.status == 200, answer.text
    token = answer.json["token"]
    assert (token["user"]["name"], token["project"]["name"], token["methods"]) == ("demo", "demo", ["ec2credential"])
    assert {role["name"] for role in token["roles"]} == {"member", "reader"} and token["catalog"]
    holder = Kit(kit.cloud, kit.app, answer.headers["x-subject-token"])
    assert holder.request("GET", "/image/v2/images").status == 200
    for path in ("/credentials", f"/users/{key['user_id']}/application_credentials",
                 f"/OS-TRUST/trusts?trustor_user_id={key['user_id']}"):  # fmt: skip
        refused = holder.request("GET", V3 + path)
        assert refused.status == 403 or refused.json["credentials"] == [], path
    auth = {"identity": {"methods": ["token"], "token": {"id": holder.token}}}
    assert kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}).status == 403
    for part, other in (("host", "elsewhere"), ("path", "/else"), ("signature", "x"), ("verb", "PUT")):
        forged = ask(kit, {**given, part: other})
        if part == "signature" or version == "2" or (version == "4" and part != "host"):
            assert (forged.status, forged.json["error"]["message"]) == (401, "Invalid EC2 signature."), part
    assert ask(kit, {**given, "params": {**given["params"], "Action": "Terminate"}}).status == 401


def test_a_host_may_be_signed_without_its_port(kit: Kit) -> None:
    _, _, key = make(kit)
    given = signed({**request("2", key), "host": "cloud"}, key["secret"])
    assert ask(kit, {**given, "host": "cloud:8788"}).status == 200
    for name in ("credential", "ec2Credentials"):
        assert ask(kit, given, name=name).status == 200


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_signature_is_good_for_a_quarter_of_an_hour(kit: Kit, version: str) -> None:
    _, _, key = make(kit)
    assert ask(kit, signed(request(version, key, timedelta(minutes=14)), key["secret"])).status == 200
    old = ask(kit, signed(request(version, key, timedelta(minutes=16)), key["secret"]))
    assert (old.status, old.json["error"]["message"]) == (401, "Credential is expired")


def test_what_is_signed_is_looked_at_for_services_and_administrators(kit: Kit) -> None:
    demo, _, key = make(kit)
    given = signed(request("2", key), key["secret"])
    assert demo.request("POST", f"{V3}/ec2tokens", {"credentials": given}).status == 403
    assert kit.request("POST", f"{V3}/ec2tokens", {"credentials": given}).status == 401


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"access": "none"}, 404),
        ({"access": None}, 401),
        ({"access": 7}, 401),
        ({"signature": None}, 401),
        ({"signature": ["x"]}, 401),
        ({"params": {"SignatureVersion": "3"}}, 401),
        ({"params": {}}, 401),
        ({"params": "x"}, 401),
        ({"params": {"SignatureVersion": "1", "a": {"b": 1}}}, 401),
        ({"headers": {"Authorization": "AWS4-HMAC-SHA256"}, "params": {}}, 401),
        ({"headers": {"Authorization": "AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=x"}, "params": {}}, 401),
        ({"params": {"SignatureVersion": "2", "Timestamp": "soon"}}, 401),
    ],
)
def test_what_is_no_signature_is_refused(kit: Kit, changed: Any, status: int) -> None:
    _, _, key = make(kit)
    assert ask(kit, {**signed(request("2", key), key["secret"]), **changed}).status == status


def test_who_may_not_log_in_does_not_with_a_key_either(kit: Kit) -> None:
    _, _, key = make(kit)
    admin, user = kit.as_user(), f"{V3}/users/{key['user_id']}"
    given = signed(request("2", key), key["secret"])
    assert admin.request("PATCH", user, {"user": {"enabled": False}}).status == 200
    assert ask(kit, given).status == 401
    assert admin.request("PATCH", user, {"user": {"enabled": True}}).status == 200
    assert ask(kit, given).status == 200
    roles = admin.request("GET", f"{V3}/roles?name=member").json["roles"]
    grant = f"{V3}/projects/{key['tenant_id']}/users/{key['user_id']}/roles/{roles[0]['id']}"
    assert admin.request("DELETE", grant).status == 204
    assert ask(kit, given).status == 401


def test_what_is_signed_for_s3_is_a_token(kit: Kit) -> None:
    _, _, key = make(kit)
    text = b"GET\n\n\nSun, 22 Nov 2026 08:00:00 GMT\n/bucket"
    first = base64.b64encode(hmac.new(key["secret"].encode(), text, hashlib.sha1).digest()).decode()
    newer = f"AWS4-HMAC-SHA256\n{stamp():%Y%m%dT%H%M%SZ}\n20261122/r/s3/aws4_request\nhash".encode()
    made = b"AWS4" + key["secret"].encode()
    for part in (b"20261122", b"r", b"s3", b"aws4_request"):
        made = hmac.new(made, part, hashlib.sha256).digest()
    second = hmac.new(made, newer, hashlib.sha256).hexdigest()
    for data, signature in ((text, first), (newer, second)):
        given = {"access": key["access"], "token": base64.urlsafe_b64encode(data).decode(), "signature": signature}
        answer = ask(kit, given, "s3tokens")
        assert (answer.status, answer.json["token"]["user"]["name"]) == (200, "demo")
        assert ask(kit, {**given, "signature": signature[::-1]}, "s3tokens").status == 401
        assert ask(kit, {**given, "token": "=!"}, "s3tokens").status == 401
    other = base64.urlsafe_b64encode(newer.replace(b"/s3/", b"/ec2/")).decode()
    assert ask(kit, {"access": key["access"], "token": other, "signature": second}, "s3tokens").status == 401


def test_keys_are_made_shown_listed_and_deleted(kit: Kit) -> None:
    demo, base, key = make(kit)
    assert key["trust_id"] is None and key["links"]["self"].endswith(f"/OS-EC2/{key['access']}")
    assert demo.request("GET", f"{base}/{key['access']}").json["credential"] == key
    assert demo.request("GET", base).json["credentials"] == [key]
    (kept,) = demo.request("GET", f"{V3}/credentials?type=ec2").json["credentials"]
    assert kept["id"] == hashlib.sha256(key["access"].encode()).hexdigest()
    admin = kit.as_user()
    assert admin.request("GET", f"{base}/{key['access']}").status == 200
    other = kit.login().json["token"]["user"]["id"]
    assert admin.request("GET", f"{V3}/users/{other}/credentials/OS-EC2/{key['access']}").json["credential"] == key
    assert admin.request("GET", f"{V3}/users/none/credentials/OS-EC2/{key['access']}").status == 404
    assert demo.request("GET", f"{V3}/users/{other}/credentials/OS-EC2").status == 403
    theirs = f"{V3}/users/{other}/credentials/OS-EC2"
    made = admin.request("POST", theirs, {"tenant_id": key["tenant_id"]}).json["credential"]["access"]
    for method in ("GET", "DELETE"):
        assert demo.request(method, f"{theirs}/{made}").status == 403
        assert demo.request(method, f"{base}/{made}").status == 403, "it is another's below whatever path"
        assert demo.request(method, f"{theirs}/none").status == 404
    assert demo.request("POST", base, {"tenant_id": "x"}).status == 404
    assert demo.request("POST", base, {}).status == 400
    assert demo.request("DELETE", f"{base}/{key['access']}").status == 204
    assert demo.request("GET", f"{base}/{key['access']}").status == 404


def test_a_credential_of_ones_own_words_is_a_key_too(kit: Kit) -> None:
    demo, _, key = make(kit)
    body = {"type": "ec2", "blob": '{"access": "mine", "secret": "s"}', "project_id": key["tenant_id"]}
    made = demo.request("POST", f"{V3}/credentials", {"credential": body})
    assert (made.status, made.json["credential"]["id"]) == (201, hashlib.sha256(b"mine").hexdigest())
    assert demo.request("POST", f"{V3}/credentials", {"credential": body}).status == 409
    assert ask(kit, signed(request("2", {"access": "mine"}), "s")).status == 200
    one = f"{V3}/credentials/{made.json['credential']['id']}"
    for blob, status in (
        ('{"access": "mine", "secret": "t"}', 200),
        ('{"access": "mine", "trust_id": "x"}', 400),
        ("x", 400),
    ):
        assert demo.request("PATCH", one, {"credential": {"blob": blob}}).status == status, blob
    changed = {"credential": {"blob": '{"access": "other", "secret": "new"}'}}
    shown = demo.request("PATCH", one, changed).json["credential"]
    assert (shown["id"], shown["blob"]) == (made.json["credential"]["id"], changed["credential"]["blob"])
    assert ask(kit, signed(request("2", {"access": "mine"}), "new")).status == 200, (
        "found by the key that it was made with"
    )
    assert ask(kit, signed(request("2", {"access": "other"}), "new")).status == 404
    for blob in ("x", "[]", "{}", '{"access": 7}', '{"access": "x", "app_cred_id": "y"}'):
        assert demo.request("POST", f"{V3}/credentials", {"credential": {**body, "blob": blob}}).status == 400, blob


def test_a_credential_of_type_ec2_says_which_project_it_is_for(kit: Kit) -> None:
    demo, _, key = make(kit)
    body = {"type": "ec2", "blob": '{"access": "mine", "secret": "s"}'}
    refused = demo.request("POST", f"{V3}/credentials", {"credential": body})
    assert (refused.status, "'project_id' is a required property" in refused.text) == (400, True)
    assert demo.request("POST", f"{V3}/credentials", {"credential": {**body, "type": "cert"}}).status == 201
    body["project_id"] = key["tenant_id"]
    assert demo.request("POST", f"{V3}/credentials", {"credential": body}).status == 201
