"""The cloud that is fuzzed: the whole API in this process, one obedient agent, and an object of every kind.

Requests go straight into the ASGI application, so that tens of thousands take a minute; what only a socket can
carry (broken request lines, slow bodies) is in `test_wire`. Everything the API logs as a defect is kept, and fails
the test that sees it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import structlog
from sqlalchemy import func, select

from deuteron.api.app import App
from deuteron.api.call import Service
from deuteron.api.main import build
from deuteron.api.parts import Parts
from deuteron.model import intent
from deuteron.model.settings import HostEntry, ImageOptions, ImageStore, Operator, Settings
from deuteron.store.database import Database
from deuteron.store.tables import metadata
from tests.stores import address_of
from tests.unit.api_hosts.agent import FakeAgent

SEED = int(os.environ.get("DEUTERON_FUZZ_SEED", "20260101"))
"""Of every choice; printed with each failure, so that a run can be repeated."""
DOMAIN = "default"
HOST = "h1"
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Request:
    method: str
    path: bytes
    """As on the wire, without the query."""
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    who: str = ""
    """Whose token it has, as `people` names them."""

    def __str__(self) -> str:
        text = f"{self.method} {self.path!r}?{self.query[:300]!r} {[*self.headers]!r}"
        return f"{text} body of {len(self.body)} bytes: {self.body[:600]!r}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class World:
    cloud: Parts
    app: App
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """Kind of object to the id of one that is there (until a request deletes it)."""
    rooms: dict[str, dict[str, str]] = field(default_factory=dict)
    """The same of what belongs to a project other than `admin`, by its name."""
    owners: dict[str, str] = field(default_factory=dict)
    """What must stay for the tokens to stay good: the administrator's own ids."""
    defects: list[str] = field(default_factory=list)
    made: int = 0
    """How many objects were made so far: part of their names."""

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that users speak to."""
        return tuple(service for service, _ in self.app._services.values() if service.prefix != "/internal")

    async def send(self, request: Request) -> Answer:
        """Raises: TimeoutError for an answer that does not come, AssertionError for one that is no HTTP."""
        scope = {
            "type": "http",
            "method": request.method,
            "path": unquote(request.path.decode("latin-1")),
            "raw_path": request.path,
            "query_string": request.query,
            "scheme": "http",
            "headers": [(name.lower(), value) for name, value in request.headers],
            "server": ("127.0.0.1", 5000),
            "client": ("127.0.0.1", 1),
        }
        waiting = [{"type": "http.request", "body": request.body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await asyncio.wait_for(self.app(scope, receive, send), TIMEOUT_S)
        assert sent and sent[0]["type"] == "http.response.start", f"no answer to {request}"
        content = b"".join(message.get("body", b"") for message in sent[1:])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
        assert not any(character in value for value in headers.values() for character in "\r\n"), headers
        return Answer(sent[0]["status"], headers, content)

    async def timed(self, request: Request) -> tuple[Answer, dict[str, float]]:
        """The answer, and for how many seconds it held others up, by place; readers hold nobody."""
        self.cloud.meter.reset()
        answer = await self.send(request)
        return answer, {
            str(place): each.seconds for place, each in self.cloud.meter.longest.items() if place != "reader"
        }

    async def call(self, method: str, path: str, body: Any = None, user: str = "admin", **headers: str) -> Answer:
        """A plain request of a person."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {"x-auth-token": self.tokens.get(user, ""), "accept": "application/json", **headers}
        path, _, query = path.partition("?")
        pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in named.items())
        return await self.send(Request(method, path.encode(), query.encode(), pairs, raw))

    async def make(self, kind: str, path: str, body: Any, **headers: str) -> str:
        """Create one object and remember its id under `kind`."""
        answer = await self.call("POST", path, body, **headers)
        assert answer.status in (200, 201, 202), (path, answer.status, answer.body)
        found = answer.json
        if len(found) > 1 and "id" not in found:
            found.pop("links", None)  # which Cinder writes beside QoS specs
        while "id" not in found and len(found) == 1:
            (found,) = found.values()
        self.ids[kind] = str(found.get("id") or found.get("name") or found["fixed_port_id"])
        if kind == "port":
            self.ids["port_address"] = str(found["fixed_ips"][0]["ip_address"])
        return self.ids[kind]

    def names(self, number: int, project: str = "admin") -> dict[str, Any]:
        """What bodies name: ids of what is there for such a project, and what no request before `number` took."""
        return {
            **self.owners,
            **self.ids,
            **self.rooms.get(project, {}),
            "unique": f"n{number}",
            "number": 1 + number % 60_000,
            "mac": f"fa:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            "uuid": f"00000000-0000-4000-8000-{number:012x}",
            "n": f"{100 + (number >> 8) % 150}.{number & 255}",
        }

    def counts(self) -> dict[str, int]:
        """Rows of every table, but for the log of changes."""
        with self.cloud.database.read() as tx:
            return {
                table.name: tx.scalar(select(func.count()).select_from(table))
                for table in metadata.sorted_tables
                if table.name not in _GROW_BY_THEMSELVES
            }


_GROW_BY_THEMSELVES = frozenset({"changes", "hosts"})


_STORES = {"fast": ImageStore(), "slow": ImageStore(filesystem_store_datadir="slow")}


@asynccontextmanager
async def world(state: Path, store: Database | None = None, *, alone: bool = False) -> AsyncIterator[World]:
    """A cloud with one agent and one object of every kind, over the store, or over a new one.

    `alone`, its agent has left, so that nothing changes but by requests.
    """
    settings = Settings(
        state_dir=str(state),
        port=5000,
        socket=str(state / "api.sock"),
        admin_password="admin-secret",
        demo_password="demo-secret",
        database=address_of(state),
        hosts={HOST: HostEntry(token="token", tunnel_ip="10.0.1.1", bridge_mappings={"physnet1": "br-eth2"})},
        operator=Operator(image=ImageOptions(stores=_STORES)),
    )
    cloud, app = build(settings, store)
    cloud.hub.start(asyncio.get_running_loop())
    here = World(cloud, app)

    def keep(logger: Any, method: str, event: dict[str, Any]) -> str:
        if method in ("error", "exception", "critical"):
            here.defects.append(str(structlog.processors.format_exc_info(logger, method, event)))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    agent = await FakeAgent(cloud, HOST, keeps=50).connect()
    agent.answers = lambda ask: intent.Answer(ask.number, _SAID.get(ask.what, f"{ask.what} of {ask.id}"))
    try:
        for user in ("admin", "demo"):
            await log_in(here, user)
        await furnish(here)
        if alone:
            await agent.leave()
        # As the server itself does: a collection of all that the tests before this made would count as a long step.
        gc.collect()
        gc.freeze()
        yield here
    finally:
        gc.unfreeze()
        if not alone:
            await agent.leave()
        await cloud.hub.stop()
        await asyncio.to_thread(app._pool.shutdown)
        cloud.database.close()
        structlog.configure(**before)


async def log_in(here: World, user: str, project: str = "") -> None:
    """Into the project of this name; into one of the user's own name unless told."""
    domain = {"id": DOMAIN}
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": domain, "password": f"{user}-secret"}},
    }
    project = project or user
    scope = {"project": {"name": project, "domain": domain}}
    answer = await here.call("POST", "/identity/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
    assert answer.status == 201, answer.body
    here.tokens[user] = answer.headers["x-subject-token"]
    token = answer.json["token"]
    here.owners[f"{user} user"] = token["user"]["id"]
    here.owners[f"{project} project"] = token["project"]["id"]


async def furnish(here: World, *, patient: bool = False) -> None:
    """One object of every kind, wherever none of ours is left, and quotas that leave room for more.

    `patient`, a kind of which none can be made because of what requests left is done without for a while.

    Raises: AssertionError
    """
    for project in ("admin project", "demo project"):
        for path, body in _QUOTAS:
            answer = await here.call("PUT", path.format(here.owners[project]), body)
            assert answer.status == 200, answer.body
    for kind, path, collection in _FOUND:
        (here.ids[kind], *_) = [item["id"] for item in (await here.call("GET", path, **LATER)).json[collection]]
    for kind, (show, path, body) in _FURNITURE.items():
        if kind in here.ids:
            answer = await here.call("GET", filled(show, here.ids).format(here.ids[kind]), **LATER)
            if answer.status == 200 and (kind != "image" or answer.json["status"] == "active"):
                await _mend(here, kind)
                continue
        here.made += 1
        names = {**here.owners, **here.ids, "made": str(here.made)}
        await prepare(here, kind, here.ids)
        try:
            await here.make(kind, filled(path, names), json.loads(filled(json.dumps(body), names)), **LATER)
        except AssertionError:
            if kind not in _FIRST and not patient:
                raise
        if kind == "image":
            await here.call(
                "PUT", f"/image/v2/images/{here.ids[kind]}/file", b"disk", content_type="application/octet-stream"
            )


async def _mend(here: World, kind: str) -> None:
    """Call what requests left in another state as it was."""
    if kind in _RESET:
        path = f"{_FURNITURE[kind][1]}/{here.ids[kind]}/action"
        await here.call("POST", path, _AVAILABLE)


async def prepare(here: World, kind: str, ids: Mapping[str, str]) -> None:
    """Do with what `ids` holds what such an object needs."""
    for method, path, body in _FIRST.get(kind, ()):
        await here.call(method, filled(path, ids), json.loads(filled(json.dumps(body), ids)))


async def renewed(here: World, template: Any, ids: Mapping[str, str], user: str = "admin") -> dict[str, str]:
    """New ones of what such a body uses up, by kind, made of what `ids` holds."""
    names, found = {**here.ids, **ids}, {}
    for kind in _USED_UP:
        if f"${kind}" in json.dumps(template):
            _, path, body = _FURNITURE[kind]
            answer = await here.call("POST", filled(path, names), json.loads(filled(json.dumps(body), names)), user)
            (made,) = answer.json.values()
            found[kind] = made["id"]
    return found


def is_furniture(kind: str) -> bool:
    """Whether `furnish` makes one, rather than finding one."""
    return kind in _FURNITURE


def shelf(kind: str) -> tuple[str, str, Any]:
    """Where such an object is shown, where it is made, and the body of which it is made."""
    return _FURNITURE[kind]


def furniture(kind: str) -> Any:
    """The body of which such an object is made, with names of what is there in it."""
    return _FURNITURE[kind][2]


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with what `$name` stands for."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(f"${name}", names[name])
    return text


_I, _N, _C, _G, _V = "/identity/v3", "/network/v2.0", "/compute/v2.1", "/image/v2", "/volume/v3"
_QUOTAS: tuple[tuple[str, Any], ...] = (
    (_N + "/quotas/{}", {"quota": dict.fromkeys(("network", "subnet", "port", "router", "floatingip", "security_group",
                                                 "security_group_rule", "rbac_policy", "subnetpool"), -1)}),
    (_C + "/os-quota-sets/{}", {"quota_set": dict.fromkeys(("instances", "cores", "ram", "key_pairs",
    "server_groups"), -1)}),
    (_V + "/os-quota-sets/{}", {"quota_set": dict.fromkeys(("volumes", "gigabytes", "snapshots", "backups",
    "backup_gigabytes", "groups"), -1)}),
)  # fmt: skip
LATER = {"openstack_api_version": "compute 2.60, volume 3.60"}
_SAID = {
    "unmanaged": "[]",
    "diagnostics": json.dumps(
        {"virt_type": "qemu", "memory_kib": 262144, "memory_used_kib": 1024, "cpu_times_ns": [1]}
    ),
}
"""What a host answers that is asked something whose answer has a form."""
_FOUND = (
    ("public", _N + "/networks?name=public", "networks"),
    ("public_subnet", _N + "/subnets?name=public-subnet", "subnets"),
    ("agent", _N + "/agents", "agents"),
    ("compute_service", _C + "/os-services", "services"),
    ("hypervisor", _C + "/os-hypervisors", "hypervisors"),
)
"""What every cloud has: its kind, and the list to look it up in."""
_FURNITURE: dict[str, tuple[str, str, Any]] = {
    "volume_type": (_V + "/types/{}", _V + "/types", {"volume_type": {"name": "fuzzed-$made"}}),
    "qos_specs": (_V + "/qos-specs/{}", _V + "/qos-specs", {"qos_specs": {"name": "fuzzed-$made"}}),
    "volume": (_V + "/volumes/{}", _V + "/volumes", {"volume": {"size": 1, "name": "fuzzed-$made"}}),
    "volume_snapshot": (_V + "/snapshots/{}", _V + "/snapshots", {"snapshot": {"volume_id": "$volume"}}),
    "backup": (_V + "/backups/{}", _V + "/backups", {"backup": {"volume_id": "$volume"}}),
    "offered_volume": (_V + "/volumes/{}", _V + "/volumes", {"volume": {"size": 1}}),
    "held_volume": (_V + "/volumes/{}", _V + "/volumes", {"volume": {"size": 1}}),
    "volume_attachment": (
        _V + "/attachments/{}", _V + "/attachments", {"attachment": {"volume_uuid": "$held_volume"}},
    ),
    "volume_transfer": (
        _V + "/os-volume-transfer/{}", _V + "/os-volume-transfer", {"transfer": {"volume_id": "$offered_volume"}},
    ),
    "project": (_I + "/projects/{}", _I + "/projects", {"project": {"name": "fuzzed-$made"}}),
    "user": (_I + "/users/{}", _I + "/users", {"user": {"name": "fuzzed-$made", "default_project_id": "$project"}}),
    "group": (_I + "/groups/{}", _I + "/groups", {"group": {"name": "fuzzed-$made"}}),
    "role": (_I + "/roles/{}", _I + "/roles", {"role": {"name": "fuzzed-$made"}}),
    "domain": (_I + "/domains/{}", _I + "/domains", {"domain": {"name": "fuzzed-$made"}}),
    "region": (_I + "/regions/{}", _I + "/regions", {"region": {"id": "fuzzed-$made"}}),
    "service": (_I + "/services/{}", _I + "/services", {"service": {"type": "x", "name": "fuzzed-$made"}}),
    "endpoint": (
        _I + "/endpoints/{}", _I + "/endpoints",
        {"endpoint": {"interface": "public", "url": "http://x", "service_id": "$service"}},
    ),
    "credential": (
        _I + "/credentials/{}", _I + "/credentials",
        {"credential": {"type": "cert", "blob": "x", "user_id": "$user"}},
    ),
    "network": (_N + "/networks/{}", _N + "/networks", {"network": {"name": "fuzzed-$made"}}),
    "pool_network": (_N + "/networks/{}", _N + "/networks", {"network": {"name": "pool-$made"}}),
    "subnet": (
        _N + "/subnets/{}", _N + "/subnets",
        {"subnet": {"network_id": "$network", "ip_version": 4, "cidr": "10.0.0.0/24"}},
    ),
    "port": (_N + "/ports/{}", _N + "/ports", {"port": {"network_id": "$network"}}),
    "subport": (_N + "/ports/{}", _N + "/ports", {"port": {"network_id": "$network"}}),
    "trunk_parent": (_N + "/ports/{}", _N + "/ports", {"port": {"network_id": "$network"}}),
    "trunk": (_N + "/trunks/{}", _N + "/trunks", {"trunk": {"port_id": "$trunk_parent"}}),
    "segment": (
        _N + "/segments/{}", _N + "/segments", {"segment": {"network_id": "$pool_network", "network_type": "vxlan"}},
    ),
    "router": (
        _N + "/routers/{}", _N + "/routers",
        {"router": {"name": "fuzzed-$made", "external_gateway_info": {"network_id": "$public"}}},
    ),
    "floatingip": (
        _N + "/floatingips/{}", _N + "/floatingips", {"floatingip": {"floating_network_id": "$public"}},
    ),
    "port_forwarding": (
        _N + "/floatingips/$floatingip/port_forwardings/{}", _N + "/floatingips/$floatingip/port_forwardings",
        {"port_forwarding": {"internal_port_id": "$port", "internal_ip_address": "$port_address", "protocol": "tcp",
                             "external_port": 2222, "internal_port": 22}},
    ),
    "conntrack_helper": (
        _N + "/routers/$router/conntrack_helpers/{}", _N + "/routers/$router/conntrack_helpers",
        {"conntrack_helper": {"protocol": "udp", "port": 6969, "helper": "tftp"}},
    ),
    "local_ip": (
        _N + "/local_ips/{}", _N + "/local_ips",
        {"local_ip": {"network_id": "$network", "name": "fuzzed-$made"}},
    ),
    "local_ip_association": (
        _N + "/local_ips/$local_ip/port_associations/{}", _N + "/local_ips/$local_ip/port_associations",
        {"port_association": {"fixed_port_id": "$subport"}},
    ),
    "six_scope": (
        _N + "/address-scopes/{}", _N + "/address-scopes", {"address_scope": {"name": "six-$made", "ip_version": 6}},
    ),
    "six_pool": (
        _N + "/subnetpools/{}", _N + "/subnetpools",
        {"subnetpool": {"name": "six-$made", "prefixes": ["fd00:6::/40"], "default_prefixlen": 64,
                        "address_scope_id": "$six_scope"}},
    ),
    "six_public": (
        _N + "/networks/{}", _N + "/networks", {"network": {"name": "six-$made", "router:external": True}},
    ),
    "six_public_subnet": (
        _N + "/subnets/{}", _N + "/subnets",
        {"subnet": {"network_id": "$six_public", "ip_version": 6, "subnetpool_id": "$six_pool"}},
    ),
    "six_network": (_N + "/networks/{}", _N + "/networks", {"network": {"name": "six-$made"}}),
    "six_subnet": (
        _N + "/subnets/{}", _N + "/subnets",
        {"subnet": {"network_id": "$six_network", "ip_version": 6, "subnetpool_id": "$six_pool"}},
    ),
    "six_port": (_N + "/ports/{}", _N + "/ports", {"port": {"network_id": "$six_network"}}),
    "six_other_port": (_N + "/ports/{}", _N + "/ports", {"port": {"network_id": "$six_network"}}),
    "six_router": (
        _N + "/routers/{}", _N + "/routers",
        {"router": {"name": "six-$made", "external_gateway_info": {"network_id": "$six_public"}}},
    ),
    "ndp_proxy": (
        _N + "/ndp_proxies/{}", _N + "/ndp_proxies",
        {"ndp_proxy": {"router_id": "$six_router", "port_id": "$six_other_port"}},
    ),
    "security_group": (
        _N + "/security-groups/{}", _N + "/security-groups", {"security_group": {"name": "fuzzed-$made"}},
    ),
    "security_group_rule": (
        _N + "/security-group-rules/{}", _N + "/security-group-rules",
        {"security_group_rule": {"security_group_id": "$security_group", "direction": "ingress", "protocol": "tcp",
                                 "port_range_min": 22, "port_range_max": 22}},
    ),
    "subnetpool": (
        _N + "/subnetpools/{}", _N + "/subnetpools",
        {"subnetpool": {"name": "fuzzed-$made", "prefixes": ["10.64.0.0/12"], "default_prefixlen": 24}},
    ),
    "address_scope": (
        _N + "/address-scopes/{}", _N + "/address-scopes", {"address_scope": {"name": "fuzzed-$made", "ip_version": 4}},
    ),
    "address_group": (
        _N + "/address-groups/{}", _N + "/address-groups", {"address_group": {"name": "fuzzed-$made"}},
    ),
    "rbac_policy": (
        _N + "/rbac-policies/{}", _N + "/rbac-policies",
        {"rbac_policy": {"object_type": "network", "object_id": "$network", "action": "access_as_shared",
                         "target_tenant": "$demo project"}},
    ),
    "qos_policy": (_N + "/qos/policies/{}", _N + "/qos/policies", {"policy": {"name": "fuzzed-$made"}}),
    "bandwidth_limit_rule": (
        _N + "/qos/alias_bandwidth_limit_rules/{}", _N + "/qos/policies/$qos_policy/bandwidth_limit_rules",
        {"bandwidth_limit_rule": {"max_kbps": 1000}},
    ),
    "dscp_marking_rule": (
        _N + "/qos/alias_dscp_marking_rules/{}", _N + "/qos/policies/$qos_policy/dscp_marking_rules",
        {"dscp_marking_rule": {"dscp_mark": 26}},
    ),
    "packet_rate_limit_rule": (
        _N + "/qos/policies/$qos_policy/packet_rate_limit_rules/{}",
        _N + "/qos/policies/$qos_policy/packet_rate_limit_rules",
        {"packet_rate_limit_rule": {"max_kpps": 10}},
    ),
    "minimum_bandwidth_rule": (
        _N + "/qos/alias_minimum_bandwidth_rules/{}", _N + "/qos/policies/$qos_policy/minimum_bandwidth_rules",
        {"minimum_bandwidth_rule": {"min_kbps": 10}},
    ),
    "minimum_packet_rate_rule": (
        _N + "/qos/alias_minimum_packet_rate_rules/{}", _N + "/qos/policies/$qos_policy/minimum_packet_rate_rules",
        {"minimum_packet_rate_rule": {"min_kpps": 10}},
    ),
    "metering_label": (
        _N + "/metering/metering-labels/{}", _N + "/metering/metering-labels",
        {"metering_label": {"name": "fuzzed-$made"}},
    ),
    "metering_label_rule": (
        _N + "/metering/metering-label-rules/{}", _N + "/metering/metering-label-rules",
        {"metering_label_rule": {"metering_label_id": "$metering_label", "direction": "egress",
                                 "source_ip_prefix": "10.0.0.0/8"}},
    ),
    "log": (
        _N + "/log/logs/{}", _N + "/log/logs", {"log": {"resource_type": "security_group", "name": "fuzzed-$made"}},
    ),
    "default_security_group_rule": (
        _N + "/default-security-group-rules/{}", _N + "/default-security-group-rules",
        {"default_security_group_rule": {"direction": "egress", "protocol": "udp", "used_in_default_sg": False,
                                         "used_in_non_default_sg": False}},
    ),
    "security_groups_default_statefulness": (
        _N + "/security-groups-default-statefulness/{}", _N + "/security-groups-default-statefulness",
        {"security_groups_default_statefulness": {"project_id": "fuzzed-$made"}},
    ),
    "network_flavor": (
        _N + "/flavors/{}", _N + "/flavors", {"flavor": {"service_type": "L3_ROUTER_NAT", "name": "fuzzed-$made"}},
    ),
    "service_profile": (
        _N + "/service_profiles/{}", _N + "/service_profiles", {"service_profile": {"metainfo": "fuzzed-$made"}},
    ),
    "flavor": (
        _C + "/flavors/{}", _C + "/flavors",
        {"flavor": {"name": "fuzzed-$made", "ram": 64, "vcpus": 1, "disk": 1, "id": "fuzzed-$made"}},
    ),
    "keypair": (_C + "/os-keypairs/{}", _C + "/os-keypairs", {"keypair": {"name": "fuzzed-$made"}}),
    "aggregate": (_C + "/os-aggregates/{}", _C + "/os-aggregates", {"aggregate": {"name": "fuzzed-$made"}}),
    "server_group": (
        _C + "/os-server-groups/{}", _C + "/os-server-groups",
        {"server_group": {"name": "fuzzed-$made", "policies": ["affinity"]}},
    ),
    "image": (
        _G + "/images/{}", _G + "/images",
        {"name": "fuzzed-$made", "disk_format": "raw", "container_format": "bare", "tags": ["t"]},
    ),
    "server": (
        _C + "/servers/{}", _C + "/servers",
        {"server": {"name": "fuzzed-$made", "flavorRef": "42", "imageRef": "$image",
        "networks": [{"uuid": "$network"}]}},
    ),
}  # fmt: skip
"""Kind: where one is shown, where it is made, and of what."""
_USED_UP = ("trunk_parent",)
"""Kinds of which each is for one other object alone."""
_RESET = frozenset({"volume", "volume_snapshot"})
_AVAILABLE = {"os-reset_status": {"status": "available"}}
_FIRST: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "volume_snapshot": (("POST", _V + "/volumes/$volume/action", _AVAILABLE),),
    "volume_attachment": (("POST", _V + "/volumes/$held_volume/action", _AVAILABLE),),
    "backup": (("POST", _V + "/volumes/$volume/action", _AVAILABLE),),
    "volume_transfer": (("POST", _V + "/volumes/$offered_volume/action", _AVAILABLE),),
    "port_forwarding": (
        ("PUT", _N + "/routers/$router", {"router": {"external_gateway_info": {"network_id": "$public"}}}),
        ("PUT", _N + "/routers/$router/add_router_interface", {"subnet_id": "$subnet"}),
        ("PUT", _N + "/floatingips/$floatingip", {"floatingip": {"port_id": None}}),
    ),
    "ndp_proxy": (
        ("PUT", _N + "/routers/$six_router", {"router": {"external_gateway_info": {"network_id": "$six_public"}}}),
        ("PUT", _N + "/routers/$six_router", {"router": {"enable_ndp_proxy": True}}),
        ("PUT", _N + "/routers/$six_router/add_router_interface", {"subnet_id": "$six_subnet"}),
    ),
}  # fmt: skip
"""Kind: what is asked before one is made, which may be so already.

What was put to another use is left so: then there is none of the kind for a while."""
