"""What somebody with an account can write by hand: each request is answered at once, means what it says, and no more.

In the test's own process, so that what the application logs, and how long each step of it took, can be looked at.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deuteron.api.app import MAX_QUERY_PAIRS
from deuteron.api.compute import versions
from deuteron.api.meter import LONG_STEP_S
from tests.fuzz.judge import complaint
from tests.fuzz.world import Answer, Request, World, world

NET, COMPUTE, IDENTITY, IMAGE = "/network/v2.0", "/compute/v2.1", "/identity/v3", "/image/v2"
LISTS = (f"{NET}/networks", f"{NET}/ports", f"{COMPUTE}/servers", f"{IDENTITY}/projects", f"{IMAGE}/images")
MAKES = {
    f"{NET}/networks": {"network": {"name": "$"}},
    f"{NET}/security-groups": {"security_group": {"name": "x", "description": "$"}},
    f"{COMPUTE}/os-server-groups": {"server_group": {"name": "$", "policies": ["affinity"]}},
    f"{IDENTITY}/credentials": {"credential": {"type": "cert", "blob": "$", "user_id": "$user"}},
    f"{IMAGE}/images": {"name": "$"},
}
"""Bodies with a text in them."""


@dataclass
class Attack:
    here: World
    runner: asyncio.Runner

    def send(self, method: str, path: str, raw: bytes = b"", who: str = "demo", *headers: tuple[str, str]) -> Answer:
        """The answer, of which nothing is wrong and for which nobody waited."""
        path, _, query = path.partition("?")
        named = [(b"x-auth-token", self.here.tokens[who].encode()), (b"host", b"cloud.test")]
        named += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        if not any(name == b"content-type" for name, _ in named):
            named.append((b"content-type", b"application/json"))
        request = Request(method, path.encode(), query.encode(), tuple(named), raw)
        answer, held = self.runner.run(self.here.timed(request))
        for _ in range(2):
            # A machine that is shared may have been busy elsewhere: what is slow is slow each time.
            if max(held.values(), default=0.0) > LONG_STEP_S:
                _, held = self.runner.run(self.here.timed(request))
        problem = complaint(request, answer)
        assert problem is None, f"{request}: {problem}"
        assert not self.here.defects, self.here.defects
        assert max(held.values(), default=0.0) <= LONG_STEP_S, f"{request}: {held}"
        return answer

    def ask(self, method: str, path: str, body: Any = None, who: str = "demo", *headers: tuple[str, str]) -> Answer:
        return self.send(method, path, b"" if body is None else json.dumps(body).encode(), who, *headers)

    def make(self, path: str, body: Any) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status in (200, 201), answer.body
        found = answer.json
        return next(iter(found.values())) if len(found) == 1 else found

    def body(self, path: str, text: str) -> Any:
        """A good body for what is made there, with this text."""
        return json.loads(
            json.dumps(MAKES[path]).replace('"$"', json.dumps(text)).replace("$user", self.here.owners["demo user"])
        )


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    with asyncio.Runner() as runner:
        keeper = world(tmp_path_factory.mktemp("cloud"), alone=True)
        here = runner.run(keeper.__aenter__())
        try:
            yield Attack(here, runner)
        finally:
            runner.run(keeper.__aexit__(None, None, None))


# --- texts -----------------------------------------------------------------------------------------------------------

KEPT = {
    "right to left": "\u202egnp.exe\u202c",
    "zero width": "a\u200b\u200d\u2060b",
    "of 4 bytes": "\U0001f600\U0010ffff",
    "decomposed": "e\u0301\u0323",
    "of other digits": "\u0661\u0662\uff13",
    "no characters": "\ufffe\uffff",
    "byte order mark": "\ufeffx",
    "of SQL": "'; DROP TABLE networks; --",
    "of patterns": "%_*[a-z]\\",
    "of templates": "{{7*7}} ${x} %(name)s {0.__class__}",
    "of HTML": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("what", KEPT)
@pytest.mark.parametrize("path", MAKES)
def test_a_text_is_kept_as_it_was_written_and_found_by_it(attack: Attack, path: str, what: str) -> None:
    text = KEPT[what]
    if "server-groups" in path and not text.isprintable():
        assert attack.ask("POST", path, attack.body(path, text)).status == 400  # Nova's names are printable
        return
    made = attack.make(path, attack.body(path, text))
    shown = attack.ask("GET", f"{path}/{made['id']}").json
    shown = shown if "id" in shown else next(iter(shown.values()))
    (name,) = (name for name in ("blob", "description", "name") if text in (shown.get(name),))
    assert shown[name] == text
    assert attack.ask("DELETE", f"{path}/{made['id']}").status in (200, 204)


NOT_KEPT = {
    "a lone surrogate": b'"\\ud800"',
    "surrogates the wrong way": b'"\\udc00\\ud800"',
    "half a pair": b'"\\ud83dx"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "too long UTF-8": b'"\xc0\x80"',
    "UTF-8 beyond the end": b'"\xf4\x90\x80\x80"',
    "UTF-8 cut off": b'"\xe2\x82"',
    "a control letter": b'"a\x01b"',
    "an unknown escape": b'"\\x41"',
    "a number beyond numbers": b"1e99999",
    "a number of 100,000 digits": b"9" * 100_000,
    "a number that is none": b"NaN",
    "a literal in capitals": b"True",
}


@pytest.mark.parametrize("what", NOT_KEPT)
@pytest.mark.parametrize("path", MAKES)
def test_what_is_no_text_is_refused_and_leaves_nothing(attack: Attack, path: str, what: str) -> None:
    before = attack.here.counts()
    raw = json.dumps(attack.body(path, "HERE")).encode().replace(b'"HERE"', NOT_KEPT[what])
    assert attack.send("POST", path, raw).status == 400
    assert attack.here.counts() == before


@pytest.mark.parametrize("path", MAKES)
def test_a_text_with_nul_is_refused(attack: Attack, path: str) -> None:
    """PostgreSQL has no text with NUL."""
    assert attack.ask("POST", path, attack.body(path, "a\0b")).status == 400


DEEP = {
    "lists": b"[" * 50_000,
    "closed lists": b"[" * 50_000 + b"]" * 50_000,
    "objects": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "just too deep": b"[" * 1025 + b"]" * 1025,
    "of 400": b"[" * 400 + b"]" * 400,
    "many empty ones": b"[" + b"[]," * 30_000 + b"[]]",
    "many names": b"{" + b",".join(b'"%d":1' % n for n in range(9_000)) + b"}",
    "one name many times": b"{" + b",".join([b'"a":1'] * 15_000) + b"}",
    "white space": b" " * 100_000 + b"{}",
}


@pytest.mark.parametrize("what", DEEP)
@pytest.mark.parametrize("path", MAKES)
def test_a_deep_or_wide_body_is_refused_at_once(attack: Attack, path: str, what: str) -> None:
    for raw in (DEEP[what], json.dumps(attack.body(path, "HERE")).encode().replace(b'"HERE"', DEEP[what])):
        if what == "white space" and raw == DEEP[what] and path == f"{IMAGE}/images":
            continue  # an image needs nothing
        assert attack.send("POST", path, raw).status in (400, 413)


# --- queries ---------------------------------------------------------------------------------------------------------

QUERIES = {
    "a NUL": "name=%00",
    "a broken escape": "name=%zz",
    "half an escape": "name=%",
    "semicolons": "name=a;limit=1",
    "an empty one": "&&&===&",
    "escaped signs": "%6eame%3dx=1%26limit=5",
    "an array of PHP": "name[]=x&name[$ne]=1",
    "an operator": "name=neq:x",
    "very many": "&".join(["name=x"] * (MAX_QUERY_PAIRS - 1)),
    "very long": "name=" + "%F0%9F%98%80" * 4000,
    "twice escaped": "name=%2561",
    "plus and blank": "name=a+b%20c%2B",
    "a wildcard": "name=%25",
    "a pattern": "name=(((((((((((((((((((((a",
    "a long pattern": "name=" + "(" * 5000,
    "a repetition beyond numbers": "name=a%7B99999999999%7D",
    "words": "tags=" + "a," * 5000,
    "foreign digits": "limit=%EF%BC%91",
    "a signed number": "limit=%2B1",
    "an underscore": "limit=1_0",
    "a number of 5,000 digits": "limit=" + "9" * 5000,
    "a fraction": "limit=1.0",
    "several limits": "limit=1&limit=-1&limit=x",
    "several markers": "limit=1&marker=a&marker=b&marker=",
    "a marker of 30,000 letters": "limit=1&marker=" + "a" * 30_000,
    "a marker with NUL": "limit=1&marker=%00",
    "sort keys without end": "&".join(["sort_key=name&sort_dir=asc"] * 300),
    "a sort key of SQL": "sort_key=name;drop%20table%20x&sort_dir=asc",
    "a private sort key": "sort_key=password_hash&sort_dir=asc",
    "fields without end": "&".join(f"fields=f{n}" for n in range(900)),
    "a method": "_method=DELETE",
}


@pytest.mark.parametrize("what", QUERIES)
@pytest.mark.parametrize("path", LISTS)
def test_an_odd_query_finds_something_or_is_refused(attack: Attack, path: str, what: str) -> None:
    answer = attack.ask("GET", f"{path}?{QUERIES[what]}")
    assert answer.status in (200, 400, 403, 404), answer.body


@pytest.mark.parametrize("path", LISTS)
def test_too_many_parameters_are_refused(attack: Attack, path: str) -> None:
    assert attack.ask("GET", f"{path}?" + "&".join(["a=b"] * (MAX_QUERY_PAIRS + 1))).status == 400


@pytest.mark.parametrize("wildcard", ["%25", "_", "*", ".", "%5B0-9%5D", "%5C"])
def test_a_filter_by_a_part_of_a_text_has_no_wildcards(attack: Attack, wildcard: str) -> None:
    for path, name in (
        (f"{NET}/ports?fixed_ips=ip_address_substr%3D{wildcard}0.0", "ports"),
        (f"{IDENTITY}/projects?name__contains=em{wildcard}", "projects"),
    ):
        if wildcard == "." and name == "ports":
            continue  # is a part of addresses
        assert attack.ask("GET", path, who="admin").json[name] == [], path


# --- heads -----------------------------------------------------------------------------------------------------------

OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method")


@pytest.mark.parametrize("header", OVERRIDES)
def test_no_header_makes_another_method_of_a_request(attack: Attack, header: str) -> None:
    made = attack.make(f"{NET}/networks", {"network": {"name": "stays"}})["id"]
    path = f"{NET}/networks/{made}"
    assert attack.ask("GET", f"{path}?_method=DELETE", None, "demo", (header, "DELETE")).status in (200, 400)
    assert attack.ask("POST", path, {}, "demo", (header, "DELETE")).status == 405
    assert attack.ask("GET", path).status == 200


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Script-Name"])
def test_no_header_makes_another_path_of_a_request(attack: Attack, header: str) -> None:
    plain = attack.ask("GET", f"{NET}/networks").json
    assert attack.ask("GET", f"{NET}/networks", None, "demo", (header, "/internal/hosts/h1")).json == plain


CLAIMS = {
    "X-Roles": "admin",
    "X-Role": "admin",
    "X-Is-Admin-Project": "True",
    "X-User-Id": "$admin user",
    "X-Project-Id": "$admin project",
    "X-Tenant-Id": "$admin project",
    "X-Identity-Status": "Confirmed",
    "X-Service-Roles": "admin,service",
    "X-Service-Token": "x",
    "OpenStack-System-Scope": "all",
    "X-Forwarded-For": "127.0.0.1",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_client_says_of_itself_gives_it_nothing(attack: Attack, claim: str) -> None:
    """Behind Keystone's middleware services believe these headers; here nobody does."""
    value = CLAIMS[claim]
    value = attack.here.owners[value[1:]] if value.startswith("$") else value
    for path in (
        f"{NET}/networks/{attack.here.ids['pool_network']}",
        f"{IDENTITY}/users",
        f"{COMPUTE}/os-services",
        "/usage",
    ):
        assert attack.ask("GET", path, None, "demo", (claim, value)).status in (403, 404), path


@pytest.mark.parametrize(
    "value",
    ["*", '"1"', "revision_number=", "revision_number=-1", "revision_number=1, revision_number=2",
     "revision_number=0x1", "revision_number=" + "9" * 5000, "revision_number=\xb2", "REVISION_NUMBER=1", "", "\t"],
)  # fmt: skip
def test_a_revision_that_is_none_changes_nothing(attack: Attack, value: str) -> None:
    made = attack.make(f"{NET}/networks", {"network": {"name": "stays"}})
    path = f"{NET}/networks/{made['id']}"
    for method, body in (("PUT", {"network": {"name": "gone"}}), ("DELETE", None)):
        assert attack.ask(method, path, body, "demo", ("If-Match", value)).status in (400, 412)
    assert attack.ask("GET", path).json["network"]["name"] == "stays"


@pytest.mark.parametrize(
    "value",
    ["compute 2.\xb2", "compute 2.1e1", "compute 02.1", "compute 2.-1", "compute 2", "compute", "compute  2.1 2.2",
     "compute 2." + "1" * 5000, "compute 3.0", f"compute 2.{versions.MAXIMUM + 1}",
     "compute 2.1," * 2000 + "compute 9.9", "compute 2.1.1"],
)  # fmt: skip
def test_a_microversion_that_is_none_is_refused(attack: Attack, value: str) -> None:
    for header in (("OpenStack-API-Version", value), ("X-OpenStack-Nova-API-Version", value.removeprefix("compute "))):
        if header == ("X-OpenStack-Nova-API-Version", "compute") or "," in header[1][:12]:
            continue
        assert attack.ask("GET", f"{COMPUTE}/servers", None, "demo", header).status in (400, 406)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("application/xml", b"<network><name>x</name></network>"),
        ("text/xml", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
        ("application/x-www-form-urlencoded", b"network[name]=x"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="network"\r\n\r\nx\r\n--x--'),
        ("application/x-yaml", b"!!python/object/apply:os.system ['id']"),
        ("application/x-python-pickle", b"cos\nsystem\n(S'id'\ntR."),
        ("application/json; charset=utf-16", '{"network": {}}'.encode("utf-16")),
        ("application/json; charset=utf-7", b"+AHsAfQ-"),
    ],
)
def test_a_body_of_another_kind_is_not_read(attack: Attack, kind: str, raw: bytes) -> None:
    before = attack.here.counts()
    for path in MAKES:
        assert attack.send("POST", path, raw, "demo", ("Content-Type", kind)).status in (400, 415), path
    assert attack.here.counts() == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_a_packed_body_is_not_unpacked(attack: Attack, encoding: str) -> None:
    """A few kilobytes could become gigabytes."""
    raw = gzip.compress(b" " * 10_000_000 + b"{}")
    for path in MAKES:
        assert attack.send("POST", path, raw, "demo", ("Content-Encoding", encoding)).status in (400, 415), path


def test_a_stranger_who_asks_for_the_description_of_the_api_costs_little(attack: Attack) -> None:
    """It is half a megabyte, made from all declarations, and no token is asked for."""
    seconds = []
    for number in range(5):
        host = ("Host", f"cloud{number}.test")
        answer = attack.ask("GET", "/openapi.json", None, "demo", host)
        assert answer.json["servers"] == [{"url": f"http://cloud{number}.test"}]
        assert f"{NET}/networks" in answer.json["paths"]
        seconds.append(attack.here.cloud.meter.longest["reader"].seconds)
    assert min(seconds) < 0.005, seconds


def test_a_flood_of_headers_is_one_request(attack: Attack) -> None:
    many = [(f"X-{number}", "a") for number in range(5000)]
    assert attack.ask("GET", f"{NET}/networks", None, "demo", *many).status == 200
    again = [("X-Auth-Token", "x")] * 2000
    assert attack.ask("GET", f"{NET}/networks", None, "demo", *again).status == 401


# --- paths -----------------------------------------------------------------------------------------------------------

PATHS = (
    "{id}%00", "{id}%0d%0aX-Evil:1", "{id}/", "{id}//", "{id}/.", "{id}/..", "{id}%2f", "{id}.json", "{id}.xml",
    "{id};a=b", "%7Bid%7D", "{upper}", "%2e%2e%2f{id}", "{id}%20", "%20{id}", "{id}%ED%A0%80", "{id}%C0%80", "{bare}",
    "*", "%25", "{id},{id}", "{id}|{id}", "'%20or%201=1--", "\uff0e\uff0e", "-1", "0", "null", "undefined", "NaN",
    "true", "%F0%9F%98%80" * 300,
)  # fmt: skip


_SHOWN = {
    f"{NET}/networks": "network", f"{NET}/ports": "port", f"{COMPUTE}/servers": "server",
    f"{COMPUTE}/flavors": "flavor", f"{IDENTITY}/users": "user", f"{IMAGE}/images": "image",
}  # fmt: skip


@pytest.mark.parametrize("odd", PATHS)
def test_an_odd_id_is_of_nothing_or_of_the_one_it_says(attack: Attack, odd: str) -> None:
    ids = attack.here.ids
    for path, kind in _SHOWN.items():
        id = ids[kind]
        place = odd.format(id=id, upper=id.upper(), bare=id.replace("-", "")) if odd != "%7Bid%7D" else odd
        answer = attack.send("GET", f"{path}/{place}", b"", "admin")
        if answer.status == 200 and kind != "flavor":
            assert id in answer.body.decode(), (path, place)
        else:
            assert answer.status in (200, 400, 404), (path, place, answer.status)


def test_a_tag_is_any_word_and_only_a_word(attack: Attack) -> None:
    made = attack.make(f"{NET}/networks", {"network": {"name": "tagged"}})["id"]
    path = f"{NET}/networks/{made}/tags"
    longest = "\U0001f600" * 255
    assert attack.ask("PUT", path, {"tags": [longest, "\u202e", "a b", '"]', "%"]}).status == 200
    assert sorted(attack.ask("GET", path).json["tags"]) == sorted([longest, "\u202e", "a b", '"]', "%"])
    for word, found in (("%22%5D", 1), ("%25", 1), ("%5D", 0), ("a", 0)):
        listed = attack.ask("GET", f"{NET}/networks?tags={word}").json["networks"]
        assert len(listed) == found, word
    for tags in (
        ["x" * 256],
        ["a"] * 51,
        [["a"]],
        [{}],
        [None],
        [1],
        "a",
        {"a": 1},
        ["\0"],
        [f"{n}" for n in range(51)],
    ):
        assert attack.ask("PUT", path, {"tags": tags}).status == 400, str(tags)[:80]
    assert attack.ask("PUT", f"{path}/a%2Fb").status in (400, 404)
