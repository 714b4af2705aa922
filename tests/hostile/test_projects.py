"""Nobody reads, counts, changes, deletes or guesses what belongs to another project, on any route there is.

The attacks are taken from the route tables, so that a route that is added without an attack fails the first test.
Each is a request that its owner could make: after the attacks, the owners make them, and are not refused.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from deuteron.api import compute, identity, image, network, placement, volume
from tests.hostile.client import Answer, Person
from tests.hostile.conftest import World
from tests.hostile.guests import until

SAME = ("/v2/servers", "/v3/{project_id}/", "/v2.1/os-volumes_boot", "/v2/os-volumes_boot")
"""Other paths of what is attacked under its own."""
SERVICES = {
    service.prefix: tuple(route for route in service.routes() if not route.path.startswith(SAME))
    for service in (
        identity.SERVICE(),
        network.SERVICE(),
        image.SERVICE(),
        volume.SERVICE(),
        compute.SERVICE(),
        placement.SERVICE(),
    )
}

OPEN_TO_ALL = re.compile(
    r"""
    /network/v2.0/extensions | /network/v2.0/availability_zones | /network/v2.0/service-providers
    | /network/v2.0/flavors | GET\ /network/v2.0/default-security-group-rules
    | /compute/v2(.1)?/(extensions|flavors|os-availability-zone|limits) | /identity/v3/regions
    | GET\ /identity/v3/(registered_limits|limits/model)
    | /image/v2/(schemas|info)
    | GET\ /volume/v3/(types/\{id\}/extra_specs|extensions|os-availability-zone|resource_filters) | /volume/v3/limits
    | GET\ /volume/v3/group_types/\{id\}$
    """,
    re.VERBOSE,
)
"""What describes the cloud and belongs to nobody: every user may read it."""

ADMINS_ONLY = re.compile(
    r"""
    /network/v2.0/(agents|quotas|network-ip-availabilities|qos/rule-types) | /network/v2.0/networks/\{id\}/dhcp-agents
    | /network/v2.0/routers/\{id\}/l3-agents | /network/v2.0/service_profiles
    | DELETE\ /network/v2.0/default-security-group-rules
    | /network/v2.0/ports/\{id\}/bindings
    | /compute/v2.1/(os-services|os-hosts|os-hypervisors|os-aggregates|os-migrations|os-quota-class-sets)
    | /compute/v2.1/os-console-auth-tokens
    | /compute/v2.1/(os-instance_usage_audit_log|os-server-external-events|servers/\{id\}/(diagnostics|migrations))
    | /compute/v2.1/flavors/\{id\}/(os-flavor-access|action) | /image/v2/tasks
    | /identity/v3/(OS-EP-FILTER|registered_limits)
    | /identity/v3/(domains|roles|role_inferences|services|endpoints|groups|system|OS-INHERIT)
    | /identity/v3/projects/\{target_id\} | /identity/v3/role_assignments
    | /placement/(resource_providers|resource_classes|traits|allocation|reshaper) | /placement/(usages)?$
    | /volume/v3/(os-(volume|snapshot)-manage|manageable_(volumes|snapshots))
    | /volume/v3/(os-hosts|clusters|workers|types/\{id\}/encryption)
    | /volume/v3/(os-services|scheduler-stats|capabilities|qos-specs|os-quota-class-sets|default-types)
    | /volume/v3/group_types/\{id\}/group_specs | (PUT|DELETE)\ /volume/v3/group_types/\{id\}
    | (PUT|POST|DELETE)\ /volume/v3/types/\{id\} | /volume/v3/types/\{id\}/os-volume-type-access
    """,
    re.VERBOSE,
)


TOLD_BY_KEYSTONE = ("/identity/v3/OS-TRUST/trusts/{id}", "/identity/v3/users/{user_id}/credentials/OS-EC2/{access}")
"""Of others' trusts and EC2 credentials Keystone says 403, and of none 404; their ids are random and long."""
CHANGES_TOLD_BY_KEYSTONE = ("/identity/v3/limits/{id}",)
"""The same of requests that would change one: Keystone looks for it before it asks who may."""

PROXIES = re.compile(
    r"/compute/v2(\.1)?/(images|os-networks|os-tenant-networks|os-security-group|os-volumes(?!_boot)|os-snapshots|os-floating)"
)
"""What Nova passes on to other services, for clients of old microversions only."""


@dataclass
class Attack:
    """`method` on `path` (with the names of a route's variables in `at`), and the status that defends it."""

    method: str
    path: str
    body: Any = None
    at: dict[str, str] = field(default_factory=dict)
    refused: tuple[int, ...] = (404, 403)
    media_type: str = ""

    @property
    def target(self) -> str:
        return re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda found: self.at[found[1]], self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def by(self, person: Person) -> Answer:
        headers = {"content-type": self.media_type} if self.media_type else {}
        if PROXIES.search(self.path):
            headers["openstack-api-version"] = "compute 2.1"
        elif "/shares" in self.path:
            headers["openstack-api-version"] = "compute 2.97"
        return person.call(self.method, self.target, self.body, headers)


@dataclass(frozen=True)
class Belongings:
    """One object of every kind that belongs to Alice's project, or to her."""

    ids: dict[str, str]
    attacks: tuple[Attack, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """What must not be seen in any answer to another project."""
        return tuple(self.ids.values())


VOLUME = "/volume/v3"
FORWARDED = "10.77.0.200"
QOS_RULES = {
    "bandwidth_limit_rule": {"max_kbps": 1000}, "dscp_marking_rule": {"dscp_mark": 10},
    "packet_rate_limit_rule": {"max_kpps": 10}, "minimum_bandwidth_rule": {"min_kbps": 10},
    "minimum_packet_rate_rule": {"min_kpps": 10},
}  # fmt: skip
WITHOUT_ALIAS = ("packet_rate_limit_rule",)
TAGGED = ("networks", "subnets", "ports", "routers", "floatingips", "security-groups", "security-group-rules",
          "subnetpools", "trunks")  # fmt: skip


def _forwarding(ids: dict[str, str], port: int) -> dict[str, Any]:
    inside = {"internal_port_id": ids["target"], "internal_ip_address": FORWARDED, "protocol": "tcp"}
    return {"port_forwarding": {**inside, "external_port": port, "internal_port": port}}


def _answered(world: World, owner: Person, ids: dict[str, str]) -> dict[str, str]:
    """A router and a port that it may answer for outside."""
    scope = world.admin.create("/network/v2.0/address-scopes", "address_scope", name="six", ip_version=6, shared=True)
    pool = {"prefixes": ["fd00:5::/48"], "default_prefixlen": 64, "address_scope_id": scope["id"], "shared": True}
    six = world.admin.create("/network/v2.0/subnetpools", "subnetpool", name="six", **pool)["id"]
    of_pool = {"ip_version": 6, "subnetpool_id": six}
    external = {"router:external": True, "name": "six"}
    outside = world.admin.create("/network/v2.0/networks", "network", **external)["id"]
    world.admin.create("/network/v2.0/subnets", "subnet", network_id=outside, **of_pool)
    inside = owner.create("/network/v2.0/networks", "network", name="secret-six")["id"]
    subnet = owner.create("/network/v2.0/subnets", "subnet", network_id=inside, **of_pool)["id"]
    gateway = {"external_gateway_info": {"network_id": outside}, "enable_ndp_proxy": True}
    router = owner.create("/network/v2.0/routers", "router", name="secret-six", **gateway)["id"]
    owner.expect("PUT", f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    ids["answering"] = router
    ids["answered"] = owner.create("/network/v2.0/ports", "port", network_id=inside, name="secret-six")["id"]
    return {"router_id": router, "port_id": ids["answered"], "name": "secret-proxy"}


def possess(world: World, owner: Person) -> dict[str, str]:
    """Make one object of each kind for the owner."""
    ids: dict[str, str] = {"project": owner.project, "user": owner.user}
    (public,) = world.admin.get("/network/v2.0/networks?name=public")["networks"]

    def make(collection: str, kind: str, /, **values: Any) -> str:
        ids[collection] = owner.create(f"/network/v2.0/{collection}", kind, **values)["id"]
        return ids[collection]

    net = make("networks", "network", name="secret-net")
    subnet = make("subnets", "subnet", network_id=net, ip_version=4, cidr="10.77.0.0/24")
    port = make("ports", "port", network_id=net, name="secret-port")
    gateway = {"network_id": public["id"]}
    router = make("routers", "router", name="secret-router", external_gateway_info=gateway)
    ids["parent"], ids["subport"] = (
        owner.create("/network/v2.0/ports", "port", network_id=net, name=f"secret-{name}")["id"]
        for name in ("parent", "subport")
    )
    subport = {"port_id": ids["subport"], "segmentation_type": "vlan", "segmentation_id": 5}
    make("trunks", "trunk", name="secret-trunk", port_id=ids["parent"], sub_ports=[subport])
    owner.expect("PUT", f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    make("floatingips", "floatingip", floating_network_id=public["id"], port_id=port)
    target = {"name": "secret-target", "fixed_ips": [{"ip_address": FORWARDED}]}
    ids["target"] = owner.create("/network/v2.0/ports", "port", network_id=net, **target)["id"]
    addresses = "/network/v2.0/floatingips"
    ids["forwards"] = owner.create(addresses, "floatingip", floating_network_id=public["id"])["id"]
    forwarding = _forwarding(ids, 80)["port_forwarding"]
    made = owner.create(f"{addresses}/{ids['forwards']}/port_forwardings", "port_forwarding", **forwarding)
    ids["forwarding"] = made["id"]
    ids["proxy"] = owner.create("/network/v2.0/ndp_proxies", "ndp_proxy", **_answered(world, owner, ids))["id"]
    ids["led_port"] = owner.create("/network/v2.0/ports", "port", network_id=ids["networks"], name="secret-led")["id"]
    local = owner.create("/network/v2.0/local_ips", "local_ip", network_id=ids["networks"], name="secret-local")
    ids["local_ip"], ids["local_port"] = local["id"], local["local_port_id"]
    led = {"fixed_port_id": ids["led_port"]}
    owner.create(f"/network/v2.0/local_ips/{ids['local_ip']}/port_associations", "port_association", **led)
    helper = {"protocol": "udp", "port": 69, "helper": "tftp"}
    helpers = f"/network/v2.0/routers/{router}/conntrack_helpers"
    ids["conntrack_helper"] = owner.create(helpers, "conntrack_helper", **helper)["id"]
    group = make("security-groups", "security_group", name="secret-group")
    make("security-group-rules", "security_group_rule", security_group_id=group, direction="ingress")
    make("subnetpools", "subnetpool", name="secret-pool", prefixes=["10.88.0.0/16"], min_prefixlen=24)
    make("address-scopes", "address_scope", name="secret-scope", ip_version=4)
    shared = {"object_type": "security_group", "object_id": group, "action": "access_as_shared"}
    make("rbac-policies", "rbac_policy", target_tenant=uuid.uuid4().hex, **shared)
    make("address-groups", "address_group", name="secret-addresses", addresses=["10.99.0.0/16"])
    qos = world.admin.create("/network/v2.0/qos/policies", "policy", name="secret-qos", project_id=owner.project)["id"]
    ids["qos/policies"] = qos
    world.admin.expect("PUT", f"/network/v2.0/policies/{qos}/tags/t")
    for kind, values in QOS_RULES.items():
        ids[kind] = world.admin.create(f"/network/v2.0/qos/policies/{qos}/{kind}s", kind, **values)["id"]
    of_net = {"network_id": net, "network_type": "vxlan", "name": "secret-segment"}
    ids["segment"] = world.admin.create("/network/v2.0/segments", "segment", **of_net)["id"]
    label = {"name": "secret-label", "project_id": owner.project}
    ids["label"] = world.admin.create("/network/v2.0/metering/metering-labels", "metering_label", **label)["id"]
    counted = {"metering_label_id": ids["label"], "direction": "ingress", "remote_ip_prefix": "10.77.0.0/24"}
    counted_at = "/network/v2.0/metering/metering-label-rules"
    ids["label-rule"] = world.admin.create(counted_at, "metering_label_rule", **counted)["id"]
    log = {"resource_type": "security_group", "project_id": owner.project, "name": "secret-log"}
    ids["log"] = world.admin.create("/network/v2.0/log/logs", "log", **log)["id"]
    kind = "security_groups_default_statefulness"
    ids["statefulness"] = world.admin.create(
        "/network/v2.0/security-groups-default-statefulness", kind, project_id=owner.project
    )["id"]
    for collection in TAGGED:
        owner.expect("PUT", f"/network/v2.0/{collection}/{ids[collection]}/tags/t")
    ids["words"] = f"words-{uuid.uuid4().hex}"
    words = {"objects": [{"name": "m"}], "tags": [{"name": "m"}], "resource_type_associations": [{"name": "m"}]}
    own = {"owner": owner.project, "properties": {"m": {"title": "secret", "type": "string"}}}
    world.admin.post("/image/v2/metadefs/namespaces", {"namespace": ids["words"], **own, **words})
    ids["images"] = owner.image(b"secret data" * 1000, name="secret-image", visibility="shared")
    owner.post(f"/image/v2/images/{ids['images']}/members", {"member": "f" * 32})
    ids["keypair"] = f"secret-key-{owner.name}"
    owner.create("/compute/v2.1/os-keypairs", "keypair", name=ids["keypair"])
    group_id = owner.create("/compute/v2.1/os-server-groups", "server_group", name="secret-sg", policy="affinity")["id"]
    ids["server-group"] = group_id
    # No host has such a disk: the server is in ERROR and takes no processor time.
    flavor = world.admin.create(
        "/compute/v2.1/flavors", "flavor", name=f"huge-{owner.name}", ram=64, vcpus=1, disk=2**24, id=uuid.uuid4().hex
    )
    ids["server"] = owner.create(
        "/compute/v2.1/servers",
        "server",
        name="secret-server",
        imageRef=ids["images"],
        flavorRef=flavor["id"],
        networks=[{"uuid": net}],
        metadata={"k": "secret"},
        tags=["t"],
    )["id"]
    _keep(world, owner, ids)
    ids["credential"] = owner.create(
        "/identity/v3/credentials", "credential", user_id=owner.user, project_id=owner.project, type="ec2",
        blob=json.dumps({"access": owner.user, "secret": "b"}),
    )["id"]  # fmt: skip
    made = owner.create(
        f"/identity/v3/users/{owner.user}/application_credentials", "application_credential", name="secret-cred",
        access_rules=[{"service": "compute", "method": "GET", "path": "/secret/**"}],
    )  # fmt: skip
    ids["application-credential"], ids["access-rule"] = made["id"], made["access_rules"][0]["id"]
    (service,) = world.admin.get("/identity/v3/services?type=image")["services"]
    limited = {"service_id": service["id"], "resource_name": f"thing-{owner.name}"}
    world.admin.post("/identity/v3/registered_limits", {"registered_limits": [{**limited, "default_limit": 5}]})
    told = {"limits": [{**limited, "resource_limit": 7, "project_id": owner.project, "description": "secret"}]}
    ids["limit"] = world.admin.post("/identity/v3/limits", told)["limits"][0]["id"]
    keys = owner.post(f"/identity/v3/users/{owner.user}/credentials/OS-EC2", {"tenant_id": owner.project})
    ids["ec2-key"] = keys["credential"]["access"]
    ids["trust"] = owner.create(
        "/identity/v3/OS-TRUST/trusts", "trust", trustor_user_id=owner.user, trustee_user_id=owner.user,
        impersonation=True, project_id=owner.project, roles=[{"name": "member"}],
    )["id"]  # fmt: skip
    return ids


def _keep(world: World, owner: Person, ids: dict[str, str]) -> None:
    """Volumes and what belongs to them, as soon as their host has made them."""
    closed = {"name": f"secret-type-{owner.name}", "os-volume-type-access:is_public": False}
    ids["types"] = world.admin.create(f"{VOLUME}/types", "volume_type", **closed)["id"]
    granted = {"addProjectAccess": {"project": owner.project}}
    assert world.admin.call("POST", f"{VOLUME}/types/{ids['types']}/action", granted).status == 202
    metadata = {"k": "secret"}
    volume = {"size": 1, "name": "secret-volume", "metadata": metadata}
    ids["volumes"] = owner.create(f"{VOLUME}/volumes", "volume", volume_type=ids["types"], **volume)["id"]
    for name in ("offered", "held"):
        ids[name] = owner.create(f"{VOLUME}/volumes", "volume", **volume)["id"]
    for name in ("volumes", "offered", "held"):
        _await_available(owner, f"{VOLUME}/volumes/{ids[name]}", "volume")
    snapshot = {"volume_id": ids["volumes"], "name": "secret-snapshot", "metadata": metadata}
    ids["snapshots"] = owner.create(f"{VOLUME}/snapshots", "snapshot", **snapshot)["id"]
    _await_available(owner, f"{VOLUME}/snapshots/{ids['snapshots']}", "snapshot")
    of = world.admin.create(f"{VOLUME}/group_types", "group_type", name=f"group-{owner.name}")["id"]
    group = {"group_type": of, "volume_types": [ids["types"]], "name": "secret-group"}
    ids["groups"] = owner.create(f"{VOLUME}/groups", "group", **group)["id"]
    inside = {"size": 1, "volume_type": ids["types"], "group_id": ids["groups"]}
    _await_available(owner, f"{VOLUME}/volumes/{owner.create(f'{VOLUME}/volumes', 'volume', **inside)['id']}", "volume")
    whole = {"group_id": ids["groups"], "name": "secret-group-snapshot"}
    ids["group_snapshots"] = owner.create(f"{VOLUME}/group_snapshots", "group_snapshot", **whole)["id"]
    _await_available(owner, f"{VOLUME}/group_snapshots/{ids['group_snapshots']}", "group_snapshot")
    saved = {"volume_id": ids["volumes"], "name": "secret-backup"}
    ids["backups"] = owner.create(f"{VOLUME}/backups", "backup", **saved)["id"]
    _await_available(owner, f"{VOLUME}/backups/{ids['backups']}", "backup")
    _await_available(owner, f"{VOLUME}/volumes/{ids['volumes']}", "volume")
    offer = {"volume_id": ids["offered"], "name": "secret-transfer"}
    transfer = owner.create(f"{VOLUME}/volume-transfers", "transfer", **offer)
    ids["volume-transfers"], ids["auth_key"] = transfer["id"], transfer["auth_key"]
    attachment = owner.create(f"{VOLUME}/attachments", "attachment", volume_uuid=ids["held"])
    ids["attachments"] = attachment["id"]
    # Of a type that no host is, so that its project is told.
    demands = {"name": f"nowhere-{owner.name}", "extra_specs": {"volume_backend_name": "nowhere"}}
    nowhere = world.admin.create(f"{VOLUME}/types", "volume_type", **demands)["id"]
    lost = owner.create(f"{VOLUME}/volumes", "volume", volume_type=nowhere, **volume)["id"]
    (told,) = owner.get(f"{VOLUME}/messages")["messages"]
    assert told["resource_uuid"] == lost
    ids["messages"] = told["id"]


def _await_available(owner: Person, path: str, kind: str) -> None:
    until(f"{path} is available", lambda: owner.get(path)[kind]["status"] == "available")


def _await_settled(owner: Person, collection: str, object_id: str) -> None:
    """Until the host did what was asked last."""

    def is_settled() -> bool:
        answer = owner.call("GET", f"{VOLUME}/{collection}/{object_id}")
        return answer.status == 404 or not next(iter(answer.body.values()))["status"].endswith("ing")

    until(f"{collection} {object_id} is settled", is_settled)


CHANGES: dict[str, Any] = {
    "networks": {"network": {"name": "mine"}},
    "subnets": {"subnet": {"name": "mine"}},
    "ports": {"port": {"name": "mine"}},
    "routers": {"router": {"name": "mine"}},
    "floatingips": {"floatingip": {"description": "mine"}},
    "security-groups": {"security_group": {"name": "mine"}},
    "subnetpools": {"subnetpool": {"name": "mine"}},
    "address-scopes": {"address_scope": {"name": "mine"}},
    "address-groups": {"address_group": {"name": "mine"}},
    "rbac-policies": {"rbac_policy": {"target_tenant": "e" * 32}},
    "qos/policies": {"policy": {"name": "mine"}},
    "trunks": {"trunk": {"name": "mine"}},
}
OBJECTS = (*CHANGES, "security-group-rules")
ACTIONS: tuple[dict[str, Any], ...] = (
    {"os-stop": None}, {"os-start": None}, {"reboot": {"type": "HARD"}}, {"pause": None}, {"unpause": None},
    {"suspend": None}, {"resume": None}, {"lock": None}, {"unlock": None},
    {"os-getConsoleOutput": {}}, {"addSecurityGroup": {"name": "default"}},
    {"removeSecurityGroup": {"name": "default"}},
    {"os-resetState": {"state": "active"}}, {"injectNetworkInfo": None}, {"createImage": {"name": "mine"}},
    {"createBackup": {"name": "mine", "backup_type": "daily", "rotation": 1}}, {"resize": {"flavorRef": "1"}},
    {"confirmResize": None}, {"revertResize": None}, {"rescue": None}, {"unrescue": None},
    {"evacuate": {}}, {"migrate": None},
    {"os-migrateLive": {"host": None, "block_migration": "auto"}},
    {"shelve": None}, {"shelveOffload": None}, {"unshelve": None}, {"trigger_crash_dump": None},
    {"changePassword": {"adminPass": "mine"}},
)  # fmt: skip


def _attacks_on_words(namespace: str) -> Iterator[Attack]:
    """A namespace of metadata definitions, which administrators make for a project."""
    at = {"namespace": namespace, "name": "m"}
    one = "/image/v2/metadefs/namespaces/{namespace}"
    prop = {"name": "m", "title": "mine", "type": "string"}
    yield Attack("GET", one, at=at)
    yield Attack("PUT", one, {"namespace": namespace, "description": "mine"}, at)
    for part in ("objects", "properties", "tags"):
        yield Attack("GET", f"{one}/{part}", at=at)
        yield Attack("GET", f"{one}/{part}/{{name}}", at=at)
        yield Attack("PUT", f"{one}/{part}/{{name}}", prop if part == "properties" else {"name": "m"}, at)
        yield Attack("DELETE", f"{one}/{part}/{{name}}", at=at)
    yield Attack("GET", f"{one}/resource_types", at=at)
    yield Attack("DELETE", f"{one}/resource_types/{{name}}", at=at)
    yield Attack("POST", f"{one}/objects", {"name": "m"}, at)
    yield Attack("POST", f"{one}/properties", prop, at)
    yield Attack("POST", f"{one}/tags", {"tags": [{"name": "mine"}]}, at)
    yield Attack("POST", f"{one}/tags/{{name}}", at=at)
    yield Attack("POST", f"{one}/resource_types", {"name": "m"}, at)
    for part in ("objects", "properties", "tags"):
        yield Attack("DELETE", f"{one}/{part}", at=at)
    yield Attack("DELETE", one, at=at)


def attacks_on(ids: dict[str, str], image_id: str) -> Iterator[Attack]:
    """Everything that can be asked of the objects; what destroys them comes last."""
    last: list[Attack] = []
    for collection in OBJECTS:
        base, at = f"/network/v2.0/{collection}/{{id}}", {"id": ids[collection], "tag": "t"}
        yield Attack("GET", base, at=at)
        if collection in CHANGES:
            yield Attack("PUT", base, CHANGES[collection], at)
        if collection not in ("address-scopes", "address-groups", "rbac-policies"):
            base = base.replace("/qos", "")
            yield Attack("GET", f"{base}/tags", at=at)
            yield Attack("GET", f"{base}/tags/{{tag}}", at=at)
            yield Attack("PUT", f"{base}/tags/{{tag}}", at=at)
            yield Attack("PUT", f"{base}/tags", {"tags": ["mine", "t"]}, at)
            yield Attack("POST", f"{base}/tags", {"tags": ["mine", "t"]}, at)
            last.append(Attack("DELETE", f"{base}/tags/{{tag}}", at=at))
            last.append(Attack("DELETE", f"{base}/tags", at=at))
    at = {"parent": ids["forwards"], "id": ids["forwarding"]}
    forwardings = "/network/v2.0/floatingips/{parent}/port_forwardings"
    yield Attack("GET", forwardings, at=at)
    yield Attack("POST", forwardings, _forwarding(ids, 81), at)
    yield Attack("GET", f"{forwardings}/{{id}}", at=at)
    yield Attack("PUT", f"{forwardings}/{{id}}", {"port_forwarding": {"description": "mine"}}, at)
    last.append(Attack("DELETE", f"{forwardings}/{{id}}", at=at))
    # With the port goes the forwarding that the owner made above, which would keep the router's interface.
    last.append(Attack("DELETE", "/network/v2.0/ports/{id}", at={"id": ids["target"]}))
    for query in ("source={id}&destination=outside", "source=outside&destination={id}", "source={id}&destination={id}"):
        yield Attack("GET", f"/network/v2.0/trace?{query}", at={"id": ids["ports"]})
    topology = {"project": ids["project"]}
    yield Attack("GET", "/network/v2.0/auto-allocated-topology/{project}", at=topology)
    last.append(Attack("DELETE", "/network/v2.0/auto-allocated-topology/{project}", at=topology))
    settings, at = "/network/v2.0/security-groups-default-statefulness/{id}", {"id": ids["statefulness"]}
    yield Attack("GET", settings, at=at)
    yield Attack("PUT", settings, {"security_groups_default_statefulness": {"stateful": False}}, at)
    last.append(Attack("DELETE", settings, at=at))
    pool, at = "/network/v2.0/subnetpools/{id}", {"id": ids["subnetpools"]}
    yield Attack("PUT", f"{pool}/add_prefixes", {"prefixes": ["10.89.0.0/16"]}, at)
    yield Attack("PUT", f"{pool}/remove_prefixes", {"prefixes": ["10.88.0.0/16"]}, at)
    yield Attack("PUT", f"{pool}/onboard_network_subnets", {"network_id": ids["networks"]}, at)
    at = {"id": ids["proxy"]}
    yield Attack("GET", "/network/v2.0/ndp_proxies/{id}", at=at)
    yield Attack("PUT", "/network/v2.0/ndp_proxies/{id}", {"ndp_proxy": {"name": "mine"}}, at)
    last.append(Attack("DELETE", "/network/v2.0/ndp_proxies/{id}", at=at))
    at = {"parent": ids["routers"], "id": ids["conntrack_helper"]}
    helpers = "/network/v2.0/routers/{parent}/conntrack_helpers"
    yield Attack("GET", helpers, at=at, refused=(200,))  # as in Neutron, which does not look for the router
    more = {"conntrack_helper": {"protocol": "udp", "port": 70, "helper": "tftp"}}
    yield Attack("POST", helpers, more, at)
    yield Attack("GET", f"{helpers}/{{id}}", at=at)
    yield Attack("PUT", f"{helpers}/{{id}}", {"conntrack_helper": {"port": 71}}, at)
    last.append(Attack("DELETE", f"{helpers}/{{id}}", at=at))
    local_ip, mine = "/network/v2.0/local_ips/{id}", {"id": ids["local_ip"]}
    leads, at = "/network/v2.0/local_ips/{parent}/port_associations", {"parent": ids["local_ip"], "id": ids["led_port"]}
    yield Attack("GET", local_ip, at=mine)
    yield Attack("PUT", local_ip, {"local_ip": {"name": "mine"}}, mine)
    yield Attack("GET", leads, at=at)
    yield Attack("POST", leads, {"port_association": {"fixed_port_id": ids["ports"]}}, at)
    yield Attack("GET", f"{leads}/{{id}}", at=at)
    last.append(Attack("DELETE", f"{leads}/{{id}}", at=at))
    last.append(Attack("DELETE", f"{leads}/{{id}}", at={**at, "id": ids["ports"]}))
    last.append(Attack("DELETE", local_ip, at=mine))
    last.append(Attack("DELETE", "/network/v2.0/ports/{id}", at={"id": ids["led_port"]}))
    for verb in ("add", "remove"):
        more = {"addresses": ["10.98.0.0/16"]}
        yield Attack(
            "PUT", f"/network/v2.0/address-groups/{{id}}/{verb}_addresses", more, {"id": ids["address-groups"]}
        )
    trunk, mine = "/network/v2.0/trunks/{id}", {"id": ids["trunks"]}
    subport = {"port_id": ids["ports"], "segmentation_type": "vlan", "segmentation_id": 6}
    yield Attack("GET", f"{trunk}/get_subports", at=mine)
    yield Attack("PUT", f"{trunk}/add_subports", {"sub_ports": [subport]}, mine)
    last.append(Attack("PUT", f"{trunk}/remove_subports", {"sub_ports": [{"port_id": ids["subport"]}]}, mine))
    last.append(Attack("DELETE", trunk, at=mine))
    for port_id in (ids["parent"], ids["subport"]):
        last.append(Attack("DELETE", "/network/v2.0/ports/{id}", at={"id": port_id}))
    for kind, values in QOS_RULES.items():
        at = {"parent": ids["qos/policies"], "id": ids[kind]}
        nested, alias = f"/network/v2.0/qos/policies/{{parent}}/{kind}s", f"/network/v2.0/qos/alias_{kind}s/{{id}}"
        yield Attack("GET", nested, at=at)
        yield Attack("POST", nested, {kind: values}, at)
        for path, member in ((f"{nested}/{{id}}", kind), (alias, f"alias_{kind}"))[: 1 if kind in WITHOUT_ALIAS else 2]:
            yield Attack("GET", path, at=at)
            yield Attack("PUT", path, {member: values}, at)
        if kind not in WITHOUT_ALIAS:
            last.append(Attack("DELETE", alias, at=at))
        last.append(Attack("DELETE", f"{nested}/{{id}}", at=at))
    segment, at = "/network/v2.0/segments/{id}", {"id": ids["segment"]}
    yield Attack("GET", segment, at=at)
    yield Attack("PUT", segment, {"segment": {"name": "mine"}}, at)
    yield Attack(
        "POST", "/network/v2.0/segments", {"segment": {"network_id": ids["networks"], "network_type": "vxlan"}}
    )
    last.append(Attack("DELETE", segment, at=at))
    for kind, name in (("label-rule", "metering-label-rules"), ("label", "metering-labels")):
        yield Attack("GET", f"/network/v2.0/metering/{name}/{{id}}", at={"id": ids[kind]})
        last.append(Attack("DELETE", f"/network/v2.0/metering/{name}/{{id}}", at={"id": ids[kind]}))
    log = {"id": ids["log"]}
    yield Attack("GET", "/network/v2.0/log/logs/{id}", at=log)
    yield Attack("PUT", "/network/v2.0/log/logs/{id}", {"log": {"name": "taken"}}, at=log)
    last.append(Attack("DELETE", "/network/v2.0/log/logs/{id}", at=log))
    router = {"id": ids["routers"]}
    routes = {"router": {"routes": [{"destination": "10.99.0.0/24", "nexthop": "10.77.0.9"}]}}
    yield Attack("PUT", "/network/v2.0/routers/{id}/add_extraroutes", routes, router)
    yield Attack("PUT", "/network/v2.0/routers/{id}/remove_extraroutes", routes, router)
    last.append(Attack("DELETE", "/network/v2.0/floatingips/{id}", at={"id": ids["floatingips"]}))
    for verb in ("remove", "add", "remove"):
        path = f"/network/v2.0/routers/{{id}}/{verb}_router_interface"
        last.append(Attack("PUT", path, {"subnet_id": ids["subnets"]}, router))
    for collection in (
        "routers", "rbac-policies", "security-group-rules", "ports", "subnets", "networks", "security-groups",
        "subnetpools", "address-scopes", "address-groups", "qos/policies",
    ):  # fmt: skip
        last.append(Attack("DELETE", f"/network/v2.0/{collection}/{{id}}", at={"id": ids[collection]}))

    image = {"id": ids["images"], "tag": "t", "member_id": "f" * 32}
    base = "/image/v2/images/{id}"
    patch = [{"op": "replace", "path": "/name", "value": "mine"}]
    yield Attack("GET", base, at=image)
    yield Attack("PATCH", base, patch, image, media_type="application/openstack-images-v2.1-json-patch")
    yield Attack("GET", f"{base}/file", at=image)
    yield Attack("PUT", f"{base}/file", b"mine", image)
    yield Attack("PUT", f"{base}/stage", b"mine", image)
    yield Attack("POST", f"{base}/import", {"method": {"name": "glance-direct"}}, image)
    yield Attack("POST", f"{base}/import", {"method": {"name": "copy-image"}, "all_stores": True}, image)
    yield Attack("DELETE", "/image/v2/stores/{store_id}/{id}", at={**image, "store_id": "fast"})
    yield Attack("GET", f"{base}/tasks", at=image)
    yield Attack("PUT", f"{base}/tags/{{tag}}", at=image)
    yield Attack("GET", f"{base}/members", at=image)
    yield Attack("GET", f"{base}/members/{{member_id}}", at=image)
    yield Attack("PUT", f"{base}/members/{{member_id}}", {"status": "accepted"}, image)
    yield Attack("POST", f"{base}/members", {"member": "e" * 32}, image)
    yield Attack("POST", f"{base}/actions/deactivate", at=image)
    yield Attack("POST", f"{base}/actions/reactivate", at=image)
    last.append(Attack("DELETE", f"{base}/tags/{{tag}}", at=image))
    yield from _attacks_on_words(ids["words"])
    last.append(Attack("DELETE", f"{base}/members/{{member_id}}", at=image))

    server = {
        "id": ids["server"],
        "key": "k",
        "tag": "t",
        "network": "secret-net",
        "port": ids["ports"],
        "volume": ids["volumes"],
        "request": "x",
        "share": ids["volumes"],
    }
    base = "/compute/v2.1/servers/{id}"
    yield Attack("GET", base, at=server)
    yield Attack("PUT", base, {"server": {"name": "mine"}}, server)
    for action in (*ACTIONS, {"rebuild": {"imageRef": image_id}}):
        yield Attack("POST", f"{base}/action", action, server)
    for part in ("metadata", "metadata/{key}", "tags", "tags/{tag}", "ips", "ips/{network}", "os-security-groups",
                 "os-interface", "os-interface/{port}", "os-volume_attachments",
                 "os-volume_attachments/{volume}", "os-server-password", "os-instance-actions",
                 "os-instance-actions/{request}", "shares", "shares/{share}", "topology"):  # fmt: skip
        yield Attack("GET", f"{base}/{part}", at=server)
    for method in ("POST", "PUT"):
        yield Attack(method, f"{base}/metadata", {"metadata": {"k": "mine"}}, server)
    yield Attack("PUT", f"{base}/metadata/{{key}}", {"meta": {"k": "mine"}}, server)
    yield Attack("PUT", f"{base}/tags", {"tags": ["mine", "t"]}, server)
    yield Attack("PUT", f"{base}/tags/{{tag}}", at=server)
    yield Attack("POST", f"{base}/os-interface", {"interfaceAttachment": {"port_id": ids["ports"]}}, server)
    wanted = {"volumeAttachment": {"volumeId": ids["volumes"]}}
    yield Attack("POST", f"{base}/os-volume_attachments", wanted, server)
    yield Attack("PUT", f"{base}/os-volume_attachments/{{volume}}", wanted, server)
    last.append(Attack("DELETE", f"{base}/os-volume_attachments/{{volume}}", at=server))
    last.append(Attack("DELETE", f"{base}/os-server-password", at=server))
    yield Attack("POST", f"{base}/shares", {"share": {"share_id": ids["volumes"]}}, server)
    last.append(Attack("DELETE", f"{base}/shares/{{share}}", at=server))
    console = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    yield Attack("POST", f"{base}/remote-consoles", console, server)
    last.append(Attack("DELETE", f"{base}/metadata/{{key}}", at=server))
    last.append(Attack("DELETE", f"{base}/tags/{{tag}}", at=server))
    last.append(Attack("DELETE", f"{base}/tags", at=server))
    last.append(Attack("DELETE", f"{base}/os-interface/{{port}}", at=server))
    last.append(Attack("POST", f"{base}/action", {"forceDelete": None}, server))
    last.append(Attack("DELETE", base, at=server))
    yield Attack("GET", "/compute/v2.1/os-server-groups/{id}", at={"id": ids["server-group"]})
    last.append(Attack("DELETE", "/compute/v2.1/os-server-groups/{id}", at={"id": ids["server-group"]}))
    yield Attack("GET", "/compute/v2.1/os-keypairs/{name}", at={"name": ids["keypair"]})
    last.append(Attack("DELETE", "/compute/v2.1/os-keypairs/{name}", at={"name": ids["keypair"]}))
    yield Attack("GET", "/compute/v2.1/images/{id}", at=image)
    base = "/compute/v2.1/images/{id}/metadata"
    properties = {**image, "key": "k"}
    yield Attack("GET", base, at=image)
    yield Attack("POST", base, {"metadata": {"k": "mine"}}, image)
    yield Attack("PUT", base, {"metadata": {"k": "mine"}}, image)
    yield Attack("PUT", f"{base}/{{key}}", {"meta": {"k": "mine"}}, properties)
    yield Attack("GET", f"{base}/{{key}}", at=properties)
    yield Attack("DELETE", f"{base}/{{key}}", at=properties)
    yield Attack("GET", "/compute/v2.1/os-security-groups/{id}", at={"id": ids["security-groups"]})
    renamed = {"security_group": {"name": "mine", "description": ""}}
    yield Attack("PUT", "/compute/v2.1/os-security-groups/{id}", renamed, {"id": ids["security-groups"]})
    last.append(Attack("DELETE", "/compute/v2.1/os-security-groups/{id}", at={"id": ids["security-groups"]}))
    yield Attack("GET", "/compute/v2.1/os-floating-ips/{id}", at={"id": ids["floatingips"]})
    yield Attack("GET", "/compute/v2.1/os-networks/{id}", at={"id": ids["networks"]})
    yield Attack("GET", "/compute/v2.1/os-tenant-networks/{id}", at={"id": ids["networks"]})
    last.append(Attack("DELETE", "/compute/v2.1/os-floating-ips/{id}", at={"id": ids["floatingips"]}))
    rule = {"id": ids["security-group-rules"]}
    last.append(Attack("DELETE", "/compute/v2.1/os-security-group-rules/{id}", at=rule))
    for part in ("", "/detail"):
        yield Attack("GET", f"/compute/v2.1/os-quota-sets/{{id}}{part}", at={"id": ids["project"]})
    yield Attack("PUT", "/compute/v2.1/os-quota-sets/{id}", {"quota_set": {"cores": 1}}, {"id": ids["project"]})
    yield Attack("DELETE", "/compute/v2.1/os-quota-sets/{id}", at={"id": ids["project"]})
    yield Attack("GET", "/compute/v2.1/os-simple-tenant-usage/{id}", at={"id": ids["project"]})
    last.append(Attack("DELETE", "/image/v2/images/{id}", at=image))
    last.append(Attack("DELETE", "/compute/v2.1/images/{id}", at=image))

    yield from _attacks_on_volumes(ids, last)
    for collection in ("snapshots", "volumes"):
        yield Attack("GET", f"/compute/v2.1/os-{collection}/{{id}}", at={"id": ids[collection]})
        last.append(Attack("DELETE", f"/compute/v2.1/os-{collection}/{{id}}", at={"id": ids[collection]}))
    user = {"id": ids["user"], "user_id": ids["user"]}
    yield Attack("GET", "/identity/v3/users/{id}", at=user)
    yield Attack("PATCH", "/identity/v3/users/{id}", {"user": {"description": "mine"}}, user)
    yield Attack("GET", "/identity/v3/users/{id}/projects", at=user)
    yield Attack("GET", "/identity/v3/users/{id}/groups", at=user)
    yield Attack("GET", "/identity/v3/users/{user_id}/access_rules", at=user)
    rule = {**user, "id": ids["access-rule"]}
    yield Attack("GET", "/identity/v3/users/{user_id}/access_rules/{id}", at=rule)
    limit = {"id": ids["limit"]}
    yield Attack("GET", "/identity/v3/limits/{id}", at=limit)
    yield Attack("PATCH", "/identity/v3/limits/{id}", {"limit": {"resource_limit": 9}}, limit)
    last.append(Attack("DELETE", "/identity/v3/limits/{id}", at=limit))
    keys, key = "/identity/v3/users/{user_id}/credentials/OS-EC2", {**user, "access": ids["ec2-key"]}
    yield Attack("GET", keys, at=key)
    yield Attack("POST", keys, {"tenant_id": ids["project"]}, key)
    yield Attack("GET", f"{keys}/{{access}}", at=key)
    last.append(Attack("DELETE", f"{keys}/{{access}}", at=key))
    trust = {"id": ids["trust"], "role_id": "none"}
    trusts = "/identity/v3/OS-TRUST/trusts"
    given = {"trustor_user_id": ids["user"], "trustee_user_id": ids["user"], "project_id": ids["project"]}
    yield Attack("POST", trusts, {"trust": {**given, "impersonation": True, "roles": [{"name": "member"}]}})
    yield Attack("GET", f"{trusts}/{{id}}", at=trust)
    yield Attack("GET", f"{trusts}/{{id}}/roles", at=trust)
    yield Attack("GET", f"{trusts}/{{id}}/roles/{{role_id}}", at=trust)
    last.append(Attack("DELETE", f"{trusts}/{{id}}", at=trust))
    wrong = {"user": {"original_password": "guess", "password": "mine"}}
    yield Attack("POST", "/identity/v3/users/{id}/password", wrong, user, (401,))
    own = {**user, "id": ids["application-credential"]}
    named = {"application_credential": {"name": "mine"}}
    yield Attack("GET", "/identity/v3/users/{user_id}/application_credentials", at=own)
    yield Attack("POST", "/identity/v3/users/{user_id}/application_credentials", named, own)
    yield Attack("GET", "/identity/v3/users/{user_id}/application_credentials/{id}", at=own)
    last.append(Attack("DELETE", "/identity/v3/users/{user_id}/application_credentials/{id}", at=own))
    last.append(Attack("DELETE", "/identity/v3/users/{user_id}/access_rules/{id}", at=rule))
    credential = {"id": ids["credential"]}
    yield Attack("GET", "/identity/v3/credentials/{id}", at=credential)
    blob = json.dumps({"access": ids["user"], "secret": "mine"})
    yield Attack("PATCH", "/identity/v3/credentials/{id}", {"credential": {"blob": blob}}, credential)
    last.append(Attack("DELETE", "/identity/v3/credentials/{id}", at=credential))
    project = {"id": ids["project"], "tag": "t"}
    base = "/identity/v3/projects/{id}"
    yield Attack("GET", base, at=project)
    yield Attack("PATCH", base, {"project": {"description": "mine"}}, project)
    yield Attack("GET", f"{base}/tags", at=project)
    yield Attack("PUT", f"{base}/tags", {"tags": ["t"]}, project)
    yield Attack("PUT", f"{base}/tags/{{tag}}", at=project)
    yield Attack("GET", f"{base}/tags/{{tag}}", at=project)
    yield Attack("DELETE", f"{base}/tags/{{tag}}", at=project)
    yield Attack("DELETE", f"{base}/tags", at=project)
    last.append(Attack("DELETE", base, at=project))
    last.append(Attack("DELETE", "/identity/v3/users/{id}", at=user))
    yield from last


VOLUME_ACTIONS: tuple[dict[str, Any], ...] = (
    {"os-extend": {"new_size": 2}}, {"os-set_bootable": {"bootable": True}}, {"os-force_delete": {}},
    {"os-update_readonly_flag": {"readonly": True}}, {"os-set_image_metadata": {"metadata": {"k": "mine"}}},
    {"os-show_image_metadata": None}, {"os-unset_image_metadata": {"key": "k"}},
    {"os-reset_status": {"status": "available"}},
    {"os-retype": {"new_type": "__DEFAULT__", "migration_policy": "never"}},
    {"os-volume_upload_image": {"image_name": "mine", "disk_format": "qcow2"}},
)  # fmt: skip


def _attacks_on_volumes(ids: dict[str, str], last: list[Attack]) -> Iterator[Attack]:
    for collection, kind, actions in (
        ("snapshots", "snapshot", ({"os-reset_status": {"status": "available"}}, {"os-force_delete": {}})),
        ("volumes", "volume", VOLUME_ACTIONS),
    ):
        base, at = f"{VOLUME}/{collection}/{{id}}", {"id": ids[collection], "key": "k"}
        yield Attack("GET", base, at=at)
        yield Attack("PUT", base, {kind: {"name": "mine"}}, at)
        for action in actions:
            attack = Attack("POST", f"{base}/action", action, at)
            if "os-force_delete" in action:
                last.append(attack)
            else:
                yield attack
        if collection == "volumes":
            yield Attack("GET", f"{base}/encryption", at=at)
        yield Attack("GET", f"{base}/metadata", at=at)
        yield Attack("GET", f"{base}/metadata/{{key}}", at=at)
        for method in ("POST", "PUT"):
            yield Attack(method, f"{base}/metadata", {"metadata": {"k": "mine"}}, at)
        yield Attack("PUT", f"{base}/metadata/{{key}}", {"meta": {"k": "mine"}}, at)
        last.append(Attack("DELETE", f"{base}/metadata/{{key}}", at=at))
        last.append(Attack("DELETE", base, at=at))
    for collection in ("os-volume-transfer", "volume-transfers"):
        base, at = f"{VOLUME}/{collection}/{{id}}", {"id": ids["volume-transfers"]}
        yield Attack("GET", base, at=at)
        yield Attack("POST", f"{base}/accept", {"accept": {"auth_key": "guess"}}, at, refused=(400, 403))
        last.append(Attack("DELETE", base, at=at))
    base, at = f"{VOLUME}/attachments/{{id}}", {"id": ids["attachments"]}
    yield Attack("GET", base, at=at)
    yield Attack("PUT", base, {"attachment": {"connector": {"host": "aio"}}}, at)
    yield Attack("POST", f"{base}/action", {"os-complete": None}, at)
    last.append(Attack("DELETE", base, at=at))
    base, at = f"{VOLUME}/group_snapshots/{{id}}", {"id": ids["group_snapshots"]}
    yield Attack("GET", base, at=at)
    yield Attack("POST", f"{base}/action", {"reset_status": {"status": "available"}}, at)
    last.append(Attack("DELETE", base, at=at))
    base, at = f"{VOLUME}/groups/{{id}}", {"id": ids["groups"]}
    yield Attack("GET", base, at=at)
    yield Attack("PUT", base, {"group": {"name": "mine"}}, at)
    yield Attack("POST", f"{base}/action", {"reset_status": {"status": "available"}}, at)
    last.append(Attack("POST", f"{base}/action", {"delete": {"delete-volumes": True}}, at))
    base, at = f"{VOLUME}/backups/{{id}}", {"id": ids["backups"]}
    yield Attack("GET", base, at=at)
    yield Attack("PUT", base, {"backup": {"name": "mine"}}, at)
    yield Attack("GET", f"{base}/export_record", at=at)
    yield Attack("POST", f"{base}/action", {"os-reset_status": {"status": "available"}}, at)
    yield Attack("POST", f"{base}/restore", {"restore": {"name": "mine"}}, at)
    last.append(Attack("POST", f"{base}/action", {"os-force_delete": {}}, at))
    last.append(Attack("DELETE", base, at=at))
    message = {"id": ids["messages"]}
    yield Attack("GET", f"{VOLUME}/messages/{{id}}", at=message)
    last.append(Attack("DELETE", f"{VOLUME}/messages/{{id}}", at=message))
    yield Attack("GET", f"{VOLUME}/types/{{id}}", at={"id": ids["types"]})
    quotas, project = f"{VOLUME}/os-quota-sets/{{id}}", {"id": ids["project"]}
    yield Attack("GET", quotas, at=project)
    yield Attack("GET", f"{quotas}/defaults", at=project)
    yield Attack("PUT", quotas, {"quota_set": {"volumes": 9}}, project)
    yield Attack("DELETE", quotas, at=project)


@pytest.fixture(scope="module")
def belongings(world: World) -> Belongings:
    ids = possess(world, world.alice)
    return Belongings(ids, tuple(attacks_on(ids, ids["images"])))


def routes_with_objects() -> list[str]:
    return [
        f"{route.method} {prefix}{route.path}"
        for prefix, routes in SERVICES.items()
        for route in routes
        if "{" in route.path and not route.path.startswith(SAME)
    ]


def test_every_route_with_an_object_is_attacked(belongings: Belongings) -> None:
    attacked = {str(attack) for attack in belongings.attacks}
    missing = [
        each
        for each in routes_with_objects()
        if each not in attacked
        and not OPEN_TO_ALL.search(each)
        and not ADMINS_ONLY.search(each)
        and "/compute/v2/" not in each  # the same handlers as below /v2.1
        and each != "GET /compute/v2.1/os-quota-sets/{id}/defaults"  # the same for every project
    ]
    assert missing == []
    with_an_object = {each for each in attacked if "{" in each.partition("?")[0]}
    assert with_an_object <= set(routes_with_objects()), "an attack goes to a route that is not there"


def test_another_project_finds_nothing_to_read_change_or_delete(world: World, belongings: Belongings) -> None:
    before = everything_of(world.alice)
    failures: list[str] = []
    for attack in belongings.attacks:
        for who in (world.mallory, world.rob):
            answer = attack.by(who)
            if answer.status not in attack.refused:
                failures.append(f"{who.name}: {attack}: {attack.body}: {answer.status} {answer.raw[:200]!r}")
            elif answer.status == 200 and any(json.loads(answer.raw).values()):
                failures.append(f"{who.name}: {attack} lists something: {answer.raw[:200]!r}")
            elif "secret" in told(answer, attack):
                failures.append(f"{who.name}: {attack} tells a name: {answer.raw[:200]!r}")
    assert not failures, "\n".join(failures)
    assert everything_of(world.alice) == before


def test_what_is_not_there_and_what_is_not_ones_own_look_the_same(world: World, belongings: Belongings) -> None:
    """A refusal must not tell that an id exists: only then are ids not to be guessed."""
    unknown = {**belongings.ids, **{name: str(uuid.uuid4()) for name in belongings.ids}, "project": uuid.uuid4().hex,
               "user": uuid.uuid4().hex}  # fmt: skip
    of_nobody = {f"{each}{each.body}": each for each in attacks_on(unknown, belongings.ids["images"])}
    failures: list[str] = []
    for attack in belongings.attacks:
        if attack.path.startswith(TOLD_BY_KEYSTONE):
            continue
        if attack.method != "GET" and attack.path in CHANGES_TOLD_BY_KEYSTONE:
            continue
        if attack.path.endswith("/accept"):
            continue  # an offer is for whoever was told its id and its key: as Cinder, it tells which of them is wrong
        body = str(attack.body)
        for name, value in belongings.ids.items():
            if name != "images":
                body = body.replace(value, unknown[name])
        other = of_nobody[f"{attack}{body}" if f"{attack}{body}" in of_nobody else f"{attack}{attack.body}"]
        real = attack.by(world.mallory)
        none = other.by(world.mallory)
        if (real.status, told(real, attack)) != (none.status, told(none, other)):
            failures.append(
                f"{attack}: {real.status} {real.raw[:160]!r} but for nothing {none.status} {none.raw[:160]!r}"
            )
    assert not failures, "\n".join(failures)


def told(answer: Answer, attack: Attack) -> str:
    """What an answer says, without the id that was asked for."""
    text = answer.raw.decode(errors="replace")
    for value in sorted(
        {*attack.at.values(), *re.findall(r"[0-9a-f-]{32,36}", str(attack.body))}, key=len, reverse=True
    ):
        if len(value) > 8:
            text = text.replace(value, "…")
    return re.sub(r"req-[0-9a-f-]+", "", text)


def test_a_reader_changes_nothing_of_its_own_project(world: World, belongings: Belongings) -> None:
    before = everything_of(world.alice)
    failures: list[str] = []
    for attack in belongings.attacks:
        is_read = attack.method == "GET" or attack.body == {"os-show_image_metadata": None}
        if is_read or attack.path.startswith("/identity"):
            continue
        answer = attack.by(world.rita)
        if answer.status not in (403, 404, 501):
            failures.append(f"{attack}: {attack.body}: {answer.status} {answer.raw[:200]!r}")
    flavor = {"id": "42"}
    net = belongings.ids["networks"]
    for path, body in (
        ("/network/v2.0/networks", {"network": {}}),
        ("/network/v2.0/subnets", {"subnet": {"network_id": net, "ip_version": 4, "cidr": "10.7.0.0/24"}}),
        ("/network/v2.0/ports", {"port": {"network_id": net}}),
        ("/network/v2.0/routers", {"router": {}}),
        ("/network/v2.0/security-groups", {"security_group": {"name": "r"}}),
        ("/network/v2.0/security-group-rules",
         {"security_group_rule": {"security_group_id": belongings.ids["security-groups"], "direction": "egress",
                                  "protocol": "tcp"}}),
        ("/network/v2.0/subnetpools", {"subnetpool": {"name": "r", "prefixes": ["10.9.0.0/16"]}}),
        ("/network/v2.0/address-scopes", {"address_scope": {"name": "r", "ip_version": 4}}),
        ("/network/v2.0/rbac-policies",
         {"rbac_policy": {"object_type": "network", "object_id": net, "action": "access_as_shared",
                          "target_tenant": "e" * 32}}),
        ("/image/v2/images", {"name": "r"}),
        ("/compute/v2.1/servers",
         {"server": {"name": "r", "imageRef": belongings.ids["images"], "flavorRef": flavor["id"],
                     "networks": [{"uuid": net}]}}),
        (f"{VOLUME}/volumes", {"volume": {"size": 1}}),
        (f"{VOLUME}/snapshots", {"snapshot": {"volume_id": belongings.ids["volumes"]}}),
        (f"{VOLUME}/attachments", {"attachment": {"volume_uuid": belongings.ids["volumes"]}}),
        (f"{VOLUME}/groups/action", {"create-from-src": {"source_group_id": belongings.ids["groups"]}}),
        (f"{VOLUME}/group_snapshots", {"group_snapshot": {"group_id": belongings.ids["groups"]}}),
        (f"{VOLUME}/backups", {"backup": {"volume_id": belongings.ids["volumes"]}}),
        ("/compute/v2.1/os-volumes", {"volume": {"size": 1}}),
        ("/compute/v2.1/os-snapshots", {"snapshot": {"volume_id": belongings.ids["volumes"]}}),
        (f"{VOLUME}/volume-transfers", {"transfer": {"volume_id": belongings.ids["volumes"]}}),
        ("/compute/v2.1/os-server-groups", {"server_group": {"name": "r", "policy": "affinity"}}),
        ("/compute/v2.1/os-security-groups", {"security_group": {"name": "r", "description": ""}}),
    ):  # fmt: skip
        answer = Attack("POST", path, body).by(world.rita)
        if answer.status != 403:
            failures.append(f"POST {path}: {answer.status} {answer.raw[:200]!r}")
    assert not failures, "\n".join(failures)
    assert everything_of(world.alice) == before


def everything_of(person: Person) -> dict[str, Any]:
    """All that the person's lists show."""
    paths = [f"/network/v2.0/{collection}" for collection in OBJECTS]
    paths += [
        f"{VOLUME}/{name}/detail"
        for name in (
            "volumes",
            "snapshots",
            "attachments",
            "backups",
            "groups",
            "group_snapshots",
            "os-volume-transfer",
        )
    ]
    paths += ["/image/v2/images", "/compute/v2.1/servers/detail", "/compute/v2.1/os-keypairs"]
    paths += ["/compute/v2.1/os-server-groups", f"/identity/v3/users/{person.user}/application_credentials"]
    return {path: person.get(path) for path in paths}


QUERIES = (
    "", "?project_id={project}", "?tenant_id={project}", "?all_tenants=1", "?id={id}", "?name=secret-{kind}",
    "?fields=id&fields=name", "?sort_key=name&sort_dir=desc", "?sort_key=project_id", "?marker={id}",
    "?limit=1&marker={id}",
    "?owner={project}", "?visibility=all", "?user_id={user}", "?trustor_user_id={user}",
    "?trustee_user_id={user}", "?uuid={id}", "?device_id={server}", "?tags=t",
    "?tags-any=t,x", "?not-tags=x", "?network_id={networks}", "?status=ERROR", "?member_status=all", "?deleted=1",
    "?security_groups={security-groups}", "?fixed_ips=ip_address=10.77.0.2", "?changes-since=2000-01-01T00:00:00Z",
)  # fmt: skip
"""What a list can be asked; each is put to each list."""


def lists() -> list[str]:
    found = [
        f"{prefix}{route.path}"
        for prefix, routes in SERVICES.items()
        for route in routes
        if route.method == "GET" and "{" not in route.path and route.auth
    ]
    # Nova's /v2 is the same handlers as its /v2.1.
    return sorted({path for path in found if not OPEN_TO_ALL.search(path) and not path.startswith("/compute/v2/")})


@pytest.mark.parametrize("path", lists())
def test_no_list_shows_or_counts_what_is_another_projects(world: World, belongings: Belongings, path: str) -> None:
    ids = belongings.ids
    kind = path.rsplit("/", 1)[-1]
    for query in QUERIES:
        asked = query.format(id=ids.get(kind, ids["server"]), kind=kind.rstrip("s"), **ids)
        answer = Attack("GET", path + asked).by(world.mallory)
        assert answer.status in (200, 400, 403, 404), (path, asked, answer.status)
        if answer.status == 200:
            text = answer.raw.decode()
            for word in asked.split("="):
                # Links repeat the question.
                text = text.replace(word, "") if len(word) > 20 else text
            assert "secret" not in text.replace("name=secret", ""), (path, asked, text[:500])
            assert not [word for word in belongings.words if word in text], (path, asked, text[:500])


def test_numbers_used_do_not_grow_with_other_projects(world: World) -> None:
    """Quotas and limits count one's own."""
    limits = world.mallory.get("/compute/v2.1/limits")["limits"]["absolute"]
    servers = {name: value for name, value in limits.items() if name.startswith("total") and name.endswith("Used")}
    assert "totalInstancesUsed" in servers and not any(servers.values()), servers
    usage = world.mallory.get(f"/network/v2.0/quotas/{world.mallory.project}/details.json")
    used = {name: each["used"] for name, each in usage["quota"].items()}
    assert "port" in used
    assert not any(count for name, count in used.items() if not name.startswith("security_group")), used


NOT_TWICE = {
    "POST /identity/v3/users/{id}/password",  # the guess is wrong for the owner too
    "POST /volume/v3/os-volume-transfer/{id}/accept",
    "POST /volume/v3/volume-transfers/{id}/accept",
    "GET /identity/v3/OS-TRUST/trusts/{id}/roles/{role_id}",  # the trust does not give that role
    "PUT /identity/v3/projects/{id}/tags/{tag}",  # it has the tag, which nobody gives twice
    # An earlier attack has taken the object away, or it never had what the attack is for.
    "DELETE /network/v2.0/qos/policies/{parent}/bandwidth_limit_rules/{id}",
    "DELETE /network/v2.0/qos/policies/{parent}/dscp_marking_rules/{id}",
    "DELETE /network/v2.0/qos/policies/{parent}/minimum_bandwidth_rules/{id}",
    "DELETE /network/v2.0/qos/policies/{parent}/minimum_packet_rate_rules/{id}",
    "DELETE /volume/v3/volumes/{id}",
    "DELETE /volume/v3/volumes/{id}/metadata/{key}",
    "DELETE /volume/v3/backups/{id}",
    "POST /volume/v3/groups/{id}/action",  # a snapshot of it may still be on its way out
    "DELETE /volume/v3/snapshots/{id}",
    "DELETE /volume/v3/snapshots/{id}/metadata/{key}",
    "DELETE /volume/v3/volume-transfers/{id}",
    "DELETE /compute/v2.1/images/{id}",
    "DELETE /compute/v2.1/servers/{id}",
    "DELETE /compute/v2.1/os-security-groups/{id}",
    "DELETE /compute/v2.1/os-security-group-rules/{id}",
    "DELETE /compute/v2.1/os-floating-ips/{id}",
    "DELETE /compute/v2.1/os-snapshots/{id}",
    "DELETE /compute/v2.1/os-volumes/{id}",
    "GET /compute/v2.1/servers/{id}/os-volume_attachments/{volume}",
    "PUT /compute/v2.1/servers/{id}/os-volume_attachments/{volume}",
    "DELETE /compute/v2.1/servers/{id}/os-volume_attachments/{volume}",
    "GET /compute/v2.1/servers/{id}/os-interface/{port}",
    "DELETE /compute/v2.1/servers/{id}/os-interface/{port}",
    "GET /compute/v2.1/servers/{id}/os-instance-actions/{request}",
    "GET /compute/v2.1/servers/{id}/ips/{network}",
    "GET /compute/v2.1/servers/{id}/shares/{share}",  # no server has one
    "POST /compute/v2.1/servers/{id}/shares",
    "DELETE /compute/v2.1/servers/{id}/shares/{share}",
}
"""Attacks that mean something and do not succeed for the owner either."""


def test_the_owner_may_do_what_was_refused_to_others(world: World) -> None:
    """So every attack above was a request that means something. Runs on another owner: it ends with nothing left."""
    owner = world.user("olga", world.project("olga"))
    ids = possess(world, owner)
    failures: list[str] = []
    for attack in attacks_on(ids, ids["images"]):
        if attack.path.startswith((f"{VOLUME}/volumes", f"{VOLUME}/snapshots", f"{VOLUME}/backups", f"{VOLUME}/group")):
            _await_settled(owner, attack.path.split("/")[3], attack.at["id"])
        for who in (owner, world.admin):
            answer = attack.by(who)
            if answer.status not in attack.refused and answer.status != 401:
                break
        is_told = any(words in answer.raw for words in (b"Security group default", b"the only store containing it"))
        means_something = answer.status < 400 or answer.status in (409, 501) or is_told
        if not means_something and str(attack) not in NOT_TWICE:
            failures.append(f"{attack}: {attack.body}: {answer.status} {answer.raw[:200]!r}")
    assert not failures, "\n".join(failures)
