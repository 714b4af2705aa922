"""What `null` means for each attribute that a body may carry: it clears, stands for the default, or is refused.

The table is what Neutron 29 answered when each attribute of each resource was sent as null, once in a POST and once
in a PUT of an object that had a value. Where Neutron answers 500 the table says what was chosen instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deuteron.model.network import (
    ADDRESS_GROUP,
    ADDRESS_SCOPE,
    BANDWIDTH_LIMIT_RULE,
    CONNTRACK_HELPER,
    DEFAULT_SECURITY_GROUP_RULE,
    DSCP_MARKING_RULE,
    FLAVOR,
    FLOATINGIP,
    LOCAL_IP,
    LOCAL_IP_ASSOCIATION,
    LOG,
    METERING_LABEL,
    METERING_LABEL_RULE,
    MINIMUM_BANDWIDTH_RULE,
    MINIMUM_PACKET_RATE_RULE,
    NDP_PROXY,
    NETWORK,
    PACKET_RATE_LIMIT_RULE,
    PORT,
    PORT_FORWARDING,
    QOS_POLICY,
    RBAC_POLICY,
    RESOURCES,
    ROUTER,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS,
    SEGMENT,
    SERVICE_PROFILE,
    SUBNET,
    SUBNETPOOL,
    TRUNK,
)
from deuteron.model.resource import Resource
from deuteron.rules.network.flavors import PROVIDERS
from tests.unit.api_network.harness import DEMO, HOST, Client, path_of
from tests.unit.api_network.test_conntrack_helpers import World as Helping
from tests.unit.api_network.test_ndp_proxies import World as Proxying
from tests.unit.api_network.test_port_forwardings import World as Forwarding

HIDDEN, GIVEN, KEPT = object(), object(), object()
"""An answer without the attribute; a value made by the cloud; the value that was there before."""

TAKEN: dict[str, dict[str, tuple[Any, ...]]] = {
    "network": {"qos_policy_id": (None, None)},
    "subnet": {
        "subnetpool_id": (None,),
        "gateway_ip": (None, None),
        "allocation_pools": ([{"start": "10.0.0.2", "end": "10.0.0.254"}], []),
        "dns_nameservers": ([], []),
        "host_routes": ([], []),
        "ipv6_ra_mode": (None,),
        "ipv6_address_mode": (None,),
        "service_types": ([], []),  # PUT: Neutron 500
        "segment_id": (None, KEPT),
    },
    "port": {
        "mac_address": (GIVEN, GIVEN),
        "allowed_address_pairs": ([], []),
        "extra_dhcp_opts": ([], KEPT),
        "binding:host_id": ("", ""),
        "binding:profile": ({}, KEPT),
        "security_groups": ([], []),
        "qos_policy_id": (None, None),
        "device_profile": (None,),
        "numa_affinity_policy": (None, None),
    },
    "router": {
        "external_gateway_info": (None, None),
        "ha": (False, KEPT),
        "distributed": (False, KEPT),
        "routes": ([],),
    },
    "floatingip": {
        "floating_ip_address": (GIVEN,),
        "subnet_id": (HIDDEN,),
        "port_id": (None, None),
        "router_id": (None, KEPT),
        "fixed_ip_address": (None, KEPT),
        "qos_policy_id": (None, None),
    },
    "security_group": {},
    "security_group_rule": {
        "remote_group_id": (None,),
        "remote_ip_prefix": (None,),
        "remote_address_group_id": (None,),
        "protocol": (None,),
        "port_range_min": (None,),
        "port_range_max": (None,),
    },
    "subnetpool": {"address_scope_id": (None, None)},
    "address_scope": {},
    "rbac_policy": {},
    "address_group": {"addresses": ([],)},
    "qos_policy": {},
    "bandwidth_limit_rule": {},
    "dscp_marking_rule": {},
    "packet_rate_limit_rule": {},
    "minimum_bandwidth_rule": {},
    "minimum_packet_rate_rule": {},
    "metering_label": {},
    "network_flavor": {"description": (None, None), "enabled": (True, True)},
    "service_profile": {"description": (None, None), "enabled": (True, True), "metainfo": (None, None)},
    "metering_label_rule": {
        "remote_ip_prefix": (None,),
        "source_ip_prefix": (None,),
        "destination_ip_prefix": (None,),
    },
    "default_security_group_rule": {
        "remote_group_id": (None,),
        "remote_ip_prefix": (None,),
        "remote_address_group_id": (None,),
        "protocol": (None,),
        "port_range_min": (None,),
        "port_range_max": (None,),
    },
    "security_groups_default_statefulness": {"project_id": (None,)},
    # A null says nothing: of two names for the same ports the other says them.
    "port_forwarding": {
        "external_port": (GIVEN, KEPT),
        "external_port_range": (GIVEN, KEPT),
        "internal_port": (GIVEN, KEPT),
        "internal_port_range": (GIVEN, KEPT),
    },
    "conntrack_helper": {},
    "ndp_proxy": {"ip_address": (GIVEN,)},
    "trunk": {},
    "local_ip": {"local_ip_address": (GIVEN,)},
    "local_ip_association": {"fixed_ip": (GIVEN,)},
    "log": {"resource_id": (None,), "target_id": (None,)},
    "segment": {"name": (None, None)},
}
"""What the answer shows after a null in a POST and in a PUT, of the two that the attribute may be in."""

NAMED = {
    ("subnet", "cidr"): "BadRequest",  # Neutron 500; read as a body that names none
    ("security_group_rule", "ethertype"): "SecurityGroupRuleInvalidEtherType",
    ("default_security_group_rule", "ethertype"): "SecurityGroupRuleInvalidEtherType",
    ("rbac_policy", "object_type"): "InvalidInput",
    ("rbac_policy", "target_tenant"): "InvalidInput",
    ("router", "flavor_id"): "FlavorNotFound",
    ("network", "dns_domain"): "InvalidInput",
    ("port", "dns_domain"): "InvalidInput",
    ("port", "dns_name"): "InvalidInput",
    ("floatingip", "dns_domain"): "InvalidInput",
    ("floatingip", "dns_name"): "InvalidInput",
    ("network_flavor", "service_type"): "InvalidServiceType",
}
"""Refusals under a name of their own; all others are InvalidInput or HTTPBadRequest."""

CONVERTED = frozenset({"boolean", "integer"})
"""Kinds of values that Neutron converts, and refuses as InvalidInput; others are validated, and HTTPBadRequest."""


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_a_null_in_a_post_means_what_neutron_says(client: Client, resource: Resource) -> None:
    body, _ = _WORLDS[resource.name](client)
    wrong = []
    for attribute in resource.attributes:
        if not attribute.create and attribute.name != "tenant_id":
            continue
        sent = {name: value for name, value in body().items() if name not in _REPLACED.get(attribute.name, ())}
        answer = client.call(
            "POST", path_of(client, resource), {resource.member_name: {**sent, attribute.name: None}}, "service"
        )
        wanted = TAKEN[resource.name].get(attribute.name, (_refusal(resource, attribute.name),))[0]
        if complaint := _differs(answer, resource, attribute.name, wanted, None):
            wrong.append(complaint)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_a_null_in_a_put_means_what_neutron_says(client: Client, resource: Resource) -> None:
    _, made = _WORLDS[resource.name](client)
    wrong = []
    for attribute in resource.attributes:
        if not attribute.update:
            continue
        before = made()
        path = f"{path_of(client, resource)}/{before['id']}"
        answer = client.call("PUT", path, {resource.member_name: {attribute.name: None}}, "service")
        wanted = TAKEN[resource.name].get(attribute.name, (_refusal(resource, attribute.name),))[-1]
        if wanted is not KEPT and not isinstance(wanted, str) and wanted == before[attribute.name]:
            wrong.append(f"{attribute.name}: the null has nothing to clear")
        if complaint := _differs(answer, resource, attribute.name, wanted, before):
            wrong.append(complaint)
    assert not wrong, "\n".join(wrong)


def test_the_table_names_only_what_is_declared() -> None:
    declared = {
        resource.name: {attribute.name for attribute in resource.attributes if attribute.create or attribute.update}
        for resource in RESOURCES
    }
    assert TAKEN.keys() == declared.keys()
    assert not {(kind, name) for kind, names in TAKEN.items() for name in names if name not in declared[kind]}


class Refused(str):
    """The type of the error that is expected."""


_REPLACED = {"cidr": ("cidr",), "protocol": ("port_range_min", "port_range_max")}


def _refusal(resource: Resource, name: str) -> Refused:
    if (resource.name, name) in NAMED:
        return Refused(NAMED[resource.name, name])
    return Refused("InvalidInput" if resource.by_name[name].codec.column in CONVERTED else "HTTPBadRequest")


def _differs(answer: Any, resource: Resource, name: str, wanted: Any, before: Any) -> str | None:
    told = f"{name}: {answer.status} {answer.raw.decode()[:200]}"
    if isinstance(wanted, Refused):
        fine = answer.status == (404 if wanted.endswith("NotFound") else 400) and answer.error["type"] == wanted
        return None if fine else f"{told}, {wanted} was expected"
    if answer.status not in (200, 201):
        return f"{told}, it was to be taken"
    shown = answer.body[resource.member_name]
    if wanted is HIDDEN:
        return None if name not in shown else f"{told}, it was to be hidden"
    if wanted is GIVEN:
        return (
            None if shown[name] and (before is None or shown[name] != before[name]) else f"{told}, it has no new value"
        )
    if wanted is KEPT:
        wanted = before[name]
    return None if shown[name] == wanted else f"{told}: {shown[name]!r} instead of {wanted!r}"


# --- objects that have a value wherever they can -------------------------------------------------------------------

World = tuple[Callable[[], dict[str, Any]], Callable[[], Any]]


def _plain(resource: Resource, body: Callable[[], dict[str, Any]]) -> Callable[[Client], World]:
    def world(client: Client) -> World:
        path, member = f"/v2.0/{resource.collection}", resource.member_name
        return body, lambda: client.post(path, {member: body()})[member]

    return world


def _subnets(client: Client) -> World:
    def body() -> dict[str, Any]:
        network = client.network(user="admin")["id"]
        return {"network_id": network, "cidr": "10.0.0.0/24", "ip_version": 4}

    full = {
        "dns_nameservers": ["10.0.0.8"],
        "host_routes": [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}],
        "service_types": ["compute:nova"],
    }
    return body, lambda: client.post("/v2.0/subnets", {"subnet": {**body(), **full}})["subnet"]


def _ports(client: Client) -> World:
    network = client.network(user="admin")["id"]
    client.subnet(network, "10.0.0.0/16", user="admin")
    group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}})["security_group"]["id"]
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]

    def made() -> Any:
        full = {
            "allowed_address_pairs": [{"ip_address": "10.0.0.99"}],
            "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}],
            "security_groups": [group],
            "qos_policy_id": policy,
            "numa_affinity_policy": "socket",
        }
        port = client.post("/v2.0/ports", {"port": {"network_id": network, **full}})["port"]
        # A host that is not there: the port stays unbound, so that its MAC may still change.
        return client.put(f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": f"not-{HOST}"}})["port"]

    return lambda: {"network_id": network}, made


def _routers(client: Client) -> World:
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]

    def made() -> Any:
        network = client.network(user="admin")["id"]
        subnet = client.subnet(network, "10.0.0.0/24", user="admin")["id"]
        router = client.post("/v2.0/routers", {"router": {"external_gateway_info": {"network_id": outside}}})["router"]
        client.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet})
        routes = [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}]
        return client.put(f"/v2.0/routers/{router['id']}", {"router": {"routes": routes}})["router"]

    return lambda: {"name": "r"}, made


def _floatingips(client: Client) -> World:
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    network = client.network(user="admin")["id"]
    subnet = client.subnet(network, "10.0.0.0/24", user="admin")["id"]
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": {"network_id": outside}}})["router"][
        "id"
    ]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})

    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]

    def made() -> Any:
        port = client.port(network, user="admin")["id"]
        body = {"floating_network_id": outside, "port_id": port, "qos_policy_id": policy}
        return client.post("/v2.0/floatingips", {"floatingip": body})["floatingip"]

    return lambda: {"floating_network_id": outside}, made


def _rules(client: Client) -> World:
    group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}})["security_group"]["id"]
    numbers = iter(range(1, 100))

    def body() -> dict[str, Any]:
        # An ICMP type and code may each be null by themselves, ports may not.
        return {"security_group_id": group, "direction": "ingress", "protocol": "icmp", "port_range_min": next(numbers)}

    return body, lambda: client.post("/v2.0/security-group-rules", {"security_group_rule": body()})[
        "security_group_rule"
    ]


def _pools(client: Client) -> World:
    scope = client.post("/v2.0/address-scopes", {"address_scope": {"name": "s", "ip_version": 4}})["address_scope"][
        "id"
    ]
    numbers = iter(range(1, 100))

    def body() -> dict[str, Any]:
        return {"name": "p", "prefixes": [f"10.{next(numbers)}.0.0/16"]}

    return body, lambda: client.post("/v2.0/subnetpools", {"subnetpool": {**body(), "address_scope_id": scope}})[
        "subnetpool"
    ]


def _policies(client: Client) -> World:
    def body() -> dict[str, Any]:
        return {
            "object_type": "network",
            "object_id": client.network()["id"],
            "target_tenant": DEMO,
            "action": "access_as_shared",
        }

    return body, lambda: client.post("/v2.0/rbac-policies", {"rbac_policy": body()})["rbac_policy"]


def _networks(client: Client) -> World:
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]
    return lambda: {"name": "n"}, lambda: client.network(user="admin", qos_policy_id=policy)


def _parts(resource: Resource, **values: Any) -> Callable[[Client], World]:
    """Of a kind of which its parent has one."""

    def world(client: Client) -> World:
        path = path_of(client, resource)

        def made() -> Any:
            for each in client.get(path)[resource.plural]:
                client.delete(f"{path}/{each['id']}")
            return client.post(path, {resource.member_name: values})[resource.member_name]

        return lambda: values, made

    return world


def _metering_rules(client: Client) -> World:
    path = "/v2.0/metering/metering-labels"
    label = client.post(path, {"metering_label": {"name": "m"}})["metering_label"]["id"]
    # A null in one leaves the other; the older name goes with neither.
    base = {"metering_label_id": label, "direction": "egress"}
    prefixes = {"source_ip_prefix": "10.0.0.0/8", "destination_ip_prefix": "10.0.0.0/8"}
    return lambda: {**base, **prefixes}, lambda: None


def _templates(client: Client) -> World:
    numbers = iter(range(1, 100))

    def body() -> dict[str, Any]:
        flags = {"used_in_default_sg": True, "used_in_non_default_sg": True}
        return {"direction": "ingress", "protocol": "icmp", "port_range_min": next(numbers), **flags}

    return body, lambda: None


def _statefulness(client: Client) -> World:
    path, member = f"/v2.0/{SECURITY_GROUPS_DEFAULT_STATEFULNESS.collection}", SECURITY_GROUPS_DEFAULT_STATEFULNESS.name

    def made() -> Any:
        return client.post(path, {member: {"project_id": client.network()["id"]}})[member]

    return dict, made


def _forwardings(client: Client) -> World:
    world = Forwarding(client)
    numbers = iter(range(1, 100))

    def body() -> dict[str, Any]:
        number = next(numbers)
        ports = {f"{side}_port": number for side in ("external", "internal")}
        return world.body(**ports, **{f"{name}_range": f"{number}:{number}" for name in ports})

    return body, lambda: world.forward(**body())


def _helpers(client: Client) -> World:
    world = Helping(client)
    numbers = iter(range(1, 100))

    def body() -> dict[str, Any]:
        return {"protocol": "udp", "helper": "tftp", "port": next(numbers)}

    return body, lambda: world.help(**body())


def _proxies(client: Client) -> World:
    world = Proxying(client)

    def body() -> dict[str, Any]:
        port = client.port(world.inside)
        return {"router_id": world.router, "port_id": port["id"], "ip_address": port["fixed_ips"][0]["ip_address"]}

    return body, lambda: world.proxy(**body())


def _trunks(client: Client) -> World:
    network = client.network("admin")["id"]

    def made() -> Any:
        return client.post("/v2.0/trunks", {"trunk": {"port_id": client.port(network, "admin")["id"]}})["trunk"]

    return lambda: {"port_id": client.port(network, "admin")["id"]}, made


def _local_ips(client: Client) -> World:
    network = client.network("admin")["id"]
    client.subnet(network, "10.0.0.0/24", "admin")

    def made() -> Any:
        return client.post("/v2.0/local_ips", {"local_ip": {"network_id": network}})["local_ip"]

    return lambda: {"local_port_id": client.port(network, "admin")["id"], "network_id": network}, made


def _local_ip_associations(client: Client) -> World:
    network = client.network("admin")["id"]
    client.subnet(network, "10.0.0.0/24", "admin")
    client.post("/v2.0/local_ips", {"local_ip": {"network_id": network, "name": "parent"}})
    return lambda: {"fixed_port_id": client.port(network, "admin")["id"]}, lambda: None


def _segments(client: Client) -> World:
    network = client.network("admin")["id"]
    wanted = {"network_id": network, "network_type": "vxlan", "name": "s", "description": "d"}
    return lambda: wanted, lambda: client.post("/v2.0/segments", {"segment": wanted})["segment"]


_WORLDS: dict[str, Callable[[Client], World]] = {
    NETWORK.name: _networks,
    SUBNET.name: _subnets,
    PORT.name: _ports,
    ROUTER.name: _routers,
    FLOATINGIP.name: _floatingips,
    SECURITY_GROUP.name: _plain(SECURITY_GROUP, lambda: {"name": "g"}),
    SECURITY_GROUP_RULE.name: _rules,
    SUBNETPOOL.name: _pools,
    ADDRESS_SCOPE.name: _plain(ADDRESS_SCOPE, lambda: {"name": "s", "ip_version": 4}),
    RBAC_POLICY.name: _policies,
    ADDRESS_GROUP.name: _plain(ADDRESS_GROUP, lambda: {"name": "a"}),
    QOS_POLICY.name: _plain(QOS_POLICY, lambda: {"name": "q"}),
    BANDWIDTH_LIMIT_RULE.name: _parts(BANDWIDTH_LIMIT_RULE, max_kbps=1000, max_burst_kbps=100),
    DSCP_MARKING_RULE.name: _parts(DSCP_MARKING_RULE, dscp_mark=26),
    PACKET_RATE_LIMIT_RULE.name: _parts(PACKET_RATE_LIMIT_RULE, max_kpps=10, max_burst_kpps=1),
    MINIMUM_BANDWIDTH_RULE.name: _parts(MINIMUM_BANDWIDTH_RULE, min_kbps=10),
    MINIMUM_PACKET_RATE_RULE.name: _parts(MINIMUM_PACKET_RATE_RULE, min_kpps=10),
    METERING_LABEL.name: _plain(METERING_LABEL, lambda: {"name": "m"}),
    METERING_LABEL_RULE.name: _metering_rules,
    DEFAULT_SECURITY_GROUP_RULE.name: _templates,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS.name: _statefulness,
    FLAVOR.name: _plain(FLAVOR, lambda: {"service_type": "L3_ROUTER_NAT", "description": "d", "enabled": False}),
    SERVICE_PROFILE.name: _plain(
        SERVICE_PROFILE,
        lambda: {"driver": PROVIDERS[0].driver, "metainfo": "m", "description": "d", "enabled": False},
    ),
    PORT_FORWARDING.name: _forwardings,
    CONNTRACK_HELPER.name: _helpers,
    NDP_PROXY.name: _proxies,
    TRUNK.name: _trunks,
    LOCAL_IP.name: _local_ips,
    LOCAL_IP_ASSOCIATION.name: _local_ip_associations,
    LOG.name: _plain(LOG, lambda: {"resource_type": "security_group", "name": "l"}),
    SEGMENT.name: _segments,
}
