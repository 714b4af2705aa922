"""Requests that nobody would make: each made from a good one by a few random changes.

`request(number)` depends on the seed, the number and what is there, so that one request can be made again without those
before it. Half of the changes are to the bytes, half to the structure of the JSON: random bytes rarely pass the
JSON reader, and what is behind it is to be reached too. A part stays good, for the others to find something made.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deuteron.api.call import Route, Service
from tests.fuzz.bodies import path_of
from tests.fuzz.people import HOMES, plain, somebody, token_of
from tests.fuzz.placements import QUERIES
from tests.fuzz.world import SEED, Answer, Request, World

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308, -0.0, "", " ",
    "x" * 256, "x" * 70_000, "\0", "a\0b", "é", "日本", "\u202e", "\ud83d\ude00", "\ufeff", "\x7f\x80", "null", "None",
    "true", "1e5",
    "../../../../etc/passwd", "%00", "%s%n", "{}", "'; DROP TABLE x; --", "<script>", "1.2.3.4", "1.2.3.4/33", "::1",
    "10.0.0.0/0", "fe80::/10", "::/0", "255.255.255.255", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "default",
    "00000000-0000-0000-0000-000000000000", "0" * 32, [], {}, [[]], [None], [{}], {"": None}, {"id": 1}, ["a", "a"],
    [1, "a", None], {"a": {"b": {"c": {}}}}, "2026-13-45T99:99:99Z", "9999-12-31T23:59:59.999999Z", "1,2", "a b", "-",
)  # fmt: skip
_QUERIES = (
    b"limit=-1", b"limit=abc", b"limit=99999999999999999999", b"limit=0", b"marker=nope", b"marker=", b"sort_key=nope",
    b"sort_key=id&sort_dir=up", b"sort=name:sideways", b"sort=", b"fields=nope", b"fields=id&fields=id", b"name=%ff",
    b"name=%", b"name=%zz", b"%00=%00", b"a=b&a=b&a=c", b"&&&==", b"=", b"name=" + b"x" * 5000, b"page_reverse=maybe",
    b"all_tenants=perhaps", b"status=", b"changes-since=nope", b"created_at=gt:nope", b"created_at=in:", b"tags=,,,",
    b"not-tags-any=%2C", b"id=", b"id=in:%22", b"name=in:%22a%22,b", b"size_min=x", b"visibility=none", b"enabled=x",
    b"ip_version=x", b"mtu=9999999999999999999999", b"shared=x", b"fixed_ips=ip_address%3D", b"fixed_ips=x",
    b"name__contains=x", b"name__nope=x", b"project_id=1&project_id=2", b"ip=(", b"name=(", b"reservation_id=x",
    b"scope.project.id=x", b"effective=&include_names=", b"revision_number=x", b"start=x&end=y", b"detailed=9",
    b"start=2026-01-01&end=2025-01-01", b"flavor=(", b"host=%00", b"minDisk=x", b"is_public=x", b"member_status=x",
)  # fmt: skip
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b""), (b"content-type", b"application/xml"), (b"content-type", b"text/plain; charset=\xff"),
    (b"content-type", b"application/openstack-images-v2.1-json-patch"), (b"content-type", b"application/octet-stream"),
    (b"accept", b""), (b"accept", b"\xff/\xff"), (b"accept", b"text/html"), (b"accept", b"*/*;q=x"), (b"accept", b","),
    (b"openstack-api-version", b"compute 2.999"), (b"openstack-api-version", b"compute latest"),
    (b"openstack-api-version", b"compute \xff"), (b"openstack-api-version", b"compute"),
    (b"openstack-api-version", b"compute 2.1, compute 2.5"), (b"openstack-api-version", b"compute 2." + b"9" * 5000),
    (b"x-openstack-nova-api-version", b"x"), (b"x-openstack-nova-api-version", b"2.96"), (b"if-match", b"x"),
    (b"if-match", b"revision_number=x"), (b"if-match", b"revision_number=" + b"9" * 5000), (b"range", b"bytes=9-1"),
    (b"range", b"bytes=" + b"9" * 5000 + b"-"), (b"range", b"bits=1"), (b"content-range", b"bytes 1-2/3"),
    (b"x-subject-token", b""), (b"x-subject-token", b"\xff\xfe"), (b"x-subject-token", b"gAAAAA" + b"A" * 300),
    (b"host", b""), (b"host", b"\xff"), (b"host", b"a" * 2000), (b"host", b"evil.example/path?x#y"),
    (b"content-length", b"-5"), (b"content-length", b"9" * 40), (b"content-length", b"abc"), (b"x-forwarded-for",
    b"\xff"),
    (b"expect", b"100-continue"), (b"transfer-encoding", b"chunked"), (b"x-auth-token", b"\xe9"), (b"x-roles",
    b"admin"),
    (b"x-image-meta-size", b"-1"), (b"x-openstack-image-size", b"x"), (b"accept-language", b"\xff"),
    (b"openstack-system-scope", b"all"),
    (b"x-identity-status", b"Confirmed"), (b"x-project-id", b"x"), (b"upgrade", b"websocket"),
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "\u00e9")
_ID_KINDS = (
    ("networks", "network"), ("subnetpools", "subnetpool"), ("subnets", "subnet"), ("ports", "port"),
    ("routers", "router"), ("floatingips", "floatingip"), ("security-groups", "security_group"),
    ("security-group-rules", "security_group_rule"), ("address-scopes", "address_scope"),
    ("rbac-policies", "rbac_policy"), ("servers", "server"), ("flavors", "flavor"), ("os-keypairs", "keypair"),
    ("os-server-groups", "server_group"), ("images", "image"), ("users", "user"), ("groups", "group"),
    ("projects", "project"), ("domains", "domain"), ("roles", "role"), ("regions", "region"), ("services", "service"),
    ("endpoints", "endpoint"), ("agents", "agent"), ("os-services", "compute_service"),
    ("os-aggregates", "aggregate"),
    ("os-hypervisors", "hypervisor"), ("credentials", "credential"), ("os-interface", "port"), ("quotas", "project"),
    ("os-quota-sets", "project"), ("members", "project"), ("application_credentials", "credential"), ("implies",
    "role"), ("policies", "qos_policy"),
    ("address-groups", "address_group"), ("bandwidth_limit_rules", "bandwidth_limit_rule"),
    ("dscp_marking_rules", "dscp_marking_rule"), ("alias_bandwidth_limit_rules", "bandwidth_limit_rule"),
    ("alias_dscp_marking_rules", "dscp_marking_rule"), ("packet_rate_limit_rules", "packet_rate_limit_rule"),
    *((f"{way}minimum_{what}_rules", f"minimum_{what}_rule") for what in ("bandwidth", "packet_rate")
      for way in ("", "alias_")),
    ("metering-labels", "metering_label"),
    ("metering-label-rules", "metering_label_rule"),
    ("default-security-group-rules", "default_security_group_rule"),
    ("security-groups-default-statefulness", "security_groups_default_statefulness"),
    ("metering-label-rules", "metering_label_rule"), ("service_profiles", "service_profile"),
    ("port_forwardings", "port_forwarding"), ("conntrack_helpers", "conntrack_helper"),
    ("ndp_proxies", "ndp_proxy"), ("local_ips", "local_ip"), ("port_associations", "local_ip_association"),
    ("metering-label-rules", "metering_label_rule"), ("trunks", "trunk"), ("logs", "log"), ("segments", "segment"),
    ("volumes", "volume"), ("snapshots", "volume_snapshot"), ("backups", "backup"), ("group_types", "group_type"),
    ("groups", "volume_group"), ("types", "volume_type"),
    ("qos-specs", "qos_specs"),
    ("os-volume-transfer", "volume_transfer"), ("volume-transfers", "volume_transfer"),
    ("os-quota-class-sets", "project"), ("default-types", "project"),
    ("attachments", "volume_attachment"), ("os-volume_attachments", "volume"),
)  # fmt: skip
KIND_OF = dict(_ID_KINDS)
"""A collection in a path to the kind of object that follows it."""
MOST_KEPT = 64


class Mutator:
    """Makes requests to the routes of `services` in a furnished world."""

    def __init__(self, world: World, services: Sequence[Service], bodies: dict[tuple[str, str], Any]) -> None:
        self._world = world
        self._bodies = bodies
        self._routes: list[tuple[Service, Route]] = [
            (service, route) for service in services for route in service.routes() if service.prefix != "/internal"
        ]
        self._makers = [(service, route) for service, route in self._routes if self._templates(service, route)]
        self._made: dict[tuple[str, str], deque[str]] = {}
        """Project and kind to the ids of what requests made last."""

    def learn(self, request: Request, answer: Answer) -> None:
        """Keep the ids of what was made, for later requests to name."""
        kind = KIND_OF.get(request.path.rpartition(b"/")[2].decode("latin-1"))
        if request.method != "POST" or answer.status not in (200, 201, 202) or kind is None:
            return
        found = answer.json
        while isinstance(found, dict) and "id" not in found and len(found) == 1:
            (found,) = found.values()
        kept = self._made.setdefault((HOMES.get(request.who, ""), kind), deque(maxlen=MOST_KEPT))
        for item in found if isinstance(found, list) else (found,):
            if isinstance(item, dict) and (id := item.get("id") or item.get("name")):
                kept.append(str(id))

    def request(self, number: int, again: int = 0) -> Request:
        """One of them; the same with new names, `again`."""
        rng = random.Random(f"{SEED}:{number}")
        who = somebody(rng)
        is_good = rng.random() < 0.3
        """Nothing is changed, so that there is something to be changed, listed and deleted."""
        service, route = rng.choice(self._makers if rng.random() < 0.25 else self._routes)
        if route.method == "DELETE" and rng.random() < 0.7:
            # Deletions leave little to fuzz.
            service, route = rng.choice(self._routes)
        if route.path.endswith(("/auth/tokens", "/password")) and rng.random() < 0.6:
            # A password takes longer to check than a hundred other requests.
            service, route = rng.choice(self._routes)
        names = self._world.names(number + again * 10_000_000, HOMES.get(who, "admin"))
        path = self._path(rng, service.prefix, route.path, who, names, 0.95 if is_good else 0.7)
        body = self._body(rng, service, route, who, names, is_good)
        headers: list[tuple[bytes, bytes]] = [(b"host", b"cloud.test:5000")]
        if token := token_of(rng, self._world, who, damage):
            headers.append((b"x-auth-token", token))
        if rng.random() < 0.7:
            headers.append((b"accept", b"application/json"))
        if service.name == "compute" and rng.random() < 0.6:
            headers.append((b"openstack-api-version", b"compute 2.%d" % rng.randint(1, 96)))
        if service.name == "volume" and rng.random() < 0.6:
            headers.append((b"openstack-api-version", b"volume 3.%d" % rng.randint(0, 71)))
        if service.name == "placement" and rng.random() < 0.9:
            headers.append((b"openstack-api-version", b"placement 1.%d" % rng.randint(0, 39)))
        if route.method == "PATCH" and service.name == "image" and rng.random() < 0.9:
            headers.append((b"content-type", b"application/openstack-images-v2.1-json-patch"))
        elif route.path.endswith("/file") and rng.random() < 0.8:
            headers.append((b"content-type", b"application/octet-stream"))
        elif body:
            headers.append((b"content-type", b"application/json"))
        method, query = route.method, b""
        if method == "GET" and (good := QUERIES.get(path_of(service, route))):
            query = rng.choice(good).encode()
            query = query if is_good else damage(rng, query)
        if is_good:
            return Request(method, path, query, tuple(headers), body, who)
        if rng.random() < 0.25:
            query = b"&".join(rng.choice(_QUERIES) for _ in range(rng.randint(1, 3)))
        if rng.random() < 0.03:
            query = bytes(rng.randrange(256) for _ in range(rng.randint(1, 60)))
        if rng.random() < 0.2:
            headers += [rng.choice(_HEADERS) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.03:
            method = rng.choice(_METHODS)
        if rng.random() < 0.08:
            path = _bend(rng, path)
        if body and rng.random() < 0.2:
            body = damage(rng, body)
        return Request(method, path, query.replace(b"#", b""), tuple(headers), body, who)

    def _path(
        self, rng: random.Random, prefix: str, template: str, who: str, names: Mapping[str, str], known_share: float
    ) -> bytes:
        segments = [part for part in template.split("/") if part]
        made: list[str] = [prefix.strip("/")] if prefix else []
        for place, segment in enumerate(segments):
            if not segment.startswith("{"):
                made.append(segment)
                continue
            known = known_id(self._world, segments, place, names)
            if segment == "{project_id}" and prefix == "/volume":
                known = self._world.owners.get(f"{HOMES.get(who, 'admin')} project", "")
            others = self._made.get((HOMES.get(who, ""), KIND_OF.get(segments[place - 1], "")))
            if known and rng.random() < known_share:
                made.append(rng.choice(others) if others and rng.random() < 0.4 else known)
            else:
                strange = _strange(rng)
                text = strange if isinstance(strange, str) else json.dumps(strange)
                if segments[place - 1] == "domains" and text == "default":
                    text = "defaults"  # disabling the domain of all users would end the run
                made.append(quote(text[:3000].encode("utf-8", "surrogatepass"), safe="" if rng.random() < 0.7 else "/"))
        return ("/" + "/".join(made) + "/" * (rng.random() < 0.03)).encode()

    def _templates(self, service: Service, route: Route) -> list[Any]:
        """Good bodies of such a request."""
        return self._bodies.get((route.method, path_of(service, route))) or []

    def _body(
        self, rng: random.Random, service: Service, route: Route, who: str, names: dict[str, Any], is_good: bool
    ) -> bytes:
        if route.method in ("GET", "DELETE", "HEAD") and (is_good or rng.random() < 0.95):
            return b""
        if route.path.endswith("/file"):
            return bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 40, 3000))))
        templates = self._templates(service, route)
        if not templates:
            name = _wrapper(route.path)
            templates = [{name: {}}, {name: {"name": "x"}}, [], {}, None]
        value = json.loads(json.dumps(rng.choice(templates)))
        if HOMES.get(who) != "admin" and rng.random() < 0.7:
            value = plain(value)
        value = named(value, names)
        if is_good:
            return json.dumps(value).encode()
        for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
            value = _change(rng, value)
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.04:
            text = text.replace("null", rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "tru", "undefined")))
        if rng.random() < 0.01:
            depth = rng.choice((50, 500, 20_000))
            text = rng.choice(("[", '{"a":')) * depth + "1" + "]" * depth
        return text.encode("utf-8", "surrogatepass")


def known_id(world: World, segments: Sequence[str], place: int, ids: Mapping[str, str] | None = None) -> str:
    """The id of an object that is there, of the kind that a path names before `place`; empty for other kinds."""
    if "application_credentials" in segments and segments[place - 1] == "users":
        return world.owners["admin user"]  # nobody else may make them
    return (world.ids if ids is None else ids).get(KIND_OF.get(segments[place - 1], ""), "")


def _wrapper(path: str) -> str:
    words = [part for part in path.split("/") if part and not part.startswith("{")]
    return words[-1].rstrip("s").replace("-", "_") if words else "x"


def named(value: Any, names: dict[str, Any]) -> Any:
    """The value with `$name` replaced by what it stands for, and `$n` also inside a text."""
    if isinstance(value, str):
        return names.get(value[1:], value) if value.startswith("$") else value.replace("$n", names["n"])
    if isinstance(value, dict):
        return {key: named(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, names) for item in value]
    return value


def _strange(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(STRANGE))


def _change(rng: random.Random, value: Any) -> Any:
    """The JSON value with one place changed."""
    places: list[tuple[Any, Any]] = []

    def walk(found: Any) -> None:
        items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
        for key, item in items:
            places.append((found, key))
            walk(item)

    walk(value)
    if not places or rng.random() < 0.03:
        return _strange(rng)
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.6:
        holder[key] = _strange(rng)
    elif kind < 0.7:
        del holder[key]
    elif kind < 0.8:
        holder[key] = [copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 2, 30)))]
    elif kind < 0.9 and isinstance(holder, dict):
        holder[rng.choice(("id", "tenant_id", "x" * 300, "", "\0", "name", "é", "status", "$ref", "0"))] = _strange(rng)
    else:
        holder[key] = {str(key): holder[key]}
    return value


def damage(rng: random.Random, raw: bytes) -> bytes:
    """The bytes with a few of them changed, lost, doubled or cut off."""
    data = bytearray(raw[:100_000])
    for _ in range(rng.randint(1, 4)):
        if not data:
            return bytes([rng.randrange(256)])
        at = rng.randrange(len(data))
        how = rng.randrange(5)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            del data[at : at + rng.randint(1, 8)]
        elif how == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif how == 3:
            data = data[:at]
        else:
            data[at:at] = data[at : at + 40]
    # What no HTTP server lets through in a header is not worth sending there.
    return bytes(data)


_BENDS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    lambda rng, path: path + b"/",
    lambda rng, path: path.replace(b"/", b"//"),
    lambda rng, path: (
        path + rng.choice((b".json", b"/..", b"/../..", b"/.", b"%2f", b"%00", b"%", b"%ff%fe", b";x=y", b"\\"))
    ),
    lambda rng, path: b"/" + path[1:].upper(),
    lambda rng, path: path[: rng.randrange(1, len(path) + 1)],
    lambda rng, path: re.sub(rb"/v[0-9.]+", rng.choice((b"/v9", b"/v", b"", b"/v2.0.0", b"/v1")), path),
    lambda rng, path: path + b"/" + b"a" * rng.choice((10, 4000)),
    lambda rng, path: path.replace(b"/", b"/x/", 1),
    lambda rng, path: path + b"/x" * 300,
    lambda rng, path: path.replace(b"e", b"%65").replace(b"s", b"%73"),
)


def _bend(rng: random.Random, path: bytes) -> bytes:
    return rng.choice(_BENDS)(rng, path)
