"""Sequences of requests to the Network API: any order, valid and invalid values, by several people."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.oracle.both import Ref, Request
from tests.unit.api_network.harness import ADMIN, DEMO, OTHER, ZERO

COLLECTIONS = {
    "network": "networks",
    "subnet": "subnets",
    "subnetpool": "subnetpools",
    "address_scope": "address-scopes",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
    "rbac_policy": "rbac-policies",
}
_TAGGED = ("networks", "subnets", "subnetpools", "ports", "routers", "floatingips", "security-groups")
_USERS = st.sampled_from(["admin", "admin", "demo", "demo", "demo", "reader", "other"])
_NAMES = st.sampled_from(["", "a", "b", "a", "web", "ü", "x" * 255, "%"])
ODD = (None, "", "abc", -1, 0, 1, 7, 1.5, True, "true", [], {}, ["a"], {"a": 1}, [None], "x" * 256, ZERO, "10.0.0.1")
_ODD = st.sampled_from(ODD)
_BOOLEANS = st.sampled_from([True, False, True, False, "true", "False", 0, "1"])
_ADDRESSES = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.5",
        "10.0.0.7",
        "10.0.0.255",
        "10.0.0.0",
        "10.0.1.4",
        "10.0.1.1",
        "192.0.2.9",
        "fd00::5",
        "172.24.4.20",
    ]
)
_PREFIXES = st.sampled_from(
    [
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.0.0.0/24",
        "10.0.1.0/28",
        "10.0.0.128/25",
        "fd00::/64",
        "fd00:1::/64",
        "172.24.4.0/24",
        "10.0.0.0/31",
        "10.0.2.7/24",
    ]
)
_MACS = st.sampled_from(
    ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "FA:16:3E:00:00:03", "fa:16:3e:00:00", "ff:ff:ff:ff:ff:ff"]
)
_PROJECTS = st.sampled_from([ADMIN, DEMO, OTHER])
_TAGS = st.sampled_from(["red", "blue", "a b", "x" * 255, "x" * 256, "", "a,b"])


def _refs(kind: str) -> SearchStrategy[Any]:
    return st.builds(Ref, st.just(kind), st.integers(0, 3))


def _mostly(good: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A good value five times of six."""
    return st.integers(0, 5).flatmap(lambda dice: _ODD if dice == 5 else good)


def _some(values: dict[str, SearchStrategy[Any]], always: tuple[str, ...] = ()) -> SearchStrategy[dict[str, Any]]:
    """A few of these attributes; of those that are always there, one is missing now and then."""

    def drawn(names: list[str]) -> SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({name: _mostly(values[name]) for name in names})

    rest = [name for name in values if name not in always]
    optional = st.lists(st.sampled_from(rest), max_size=3, unique=True) if rest else st.just([])
    kept = st.integers(0, 15).map(lambda dice: list(always[1:] if dice == 15 else always))
    return st.tuples(kept, optional).map(lambda pair: pair[0] + pair[1]).flatmap(drawn)


_FIXED_IP = st.one_of(
    st.fixed_dictionaries({"ip_address": _ADDRESSES}),
    st.fixed_dictionaries({"subnet_id": _refs("subnet")}),
    st.fixed_dictionaries({"subnet_id": _refs("subnet"), "ip_address": _ADDRESSES}),
    st.just({}),
)
_POOLS = st.sampled_from(
    [
        [{"start": "10.0.0.10", "end": "10.0.0.20"}],
        [{"start": "10.0.0.20", "end": "10.0.0.10"}],
        [{"start": "10.0.0.10", "end": "10.0.0.20"}, {"start": "10.0.0.15", "end": "10.0.0.30"}],
        [{"start": "10.0.1.2", "end": "10.0.1.9"}],
        [{"start": "10.0.0.1", "end": "10.0.0.20"}],
        [{"start": "fd00::10", "end": "fd00::20"}],
        [{"start": "10.0.0.10"}],
        [],
    ]
)
_ROUTES = st.lists(
    st.fixed_dictionaries(
        {
            "destination": st.sampled_from(["10.9.0.0/24", "10.8.0.0/16", "0.0.0.0/0", "10.0.0.3", "fd01::/64"]),
            "nexthop": _ADDRESSES,
        }
    ),
    max_size=2,
)
_GATEWAY = st.one_of(
    st.fixed_dictionaries({"network_id": _refs("network")}),
    st.fixed_dictionaries({"network_id": _refs("network"), "enable_snat": _BOOLEANS}),
    st.fixed_dictionaries({"network_id": _refs("network"), "external_fixed_ips": st.lists(_FIXED_IP, max_size=2)}),
    st.sampled_from([None, {}, {"enable_snat": False}]),
)
_PAIRS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"ip_address": st.sampled_from(["10.0.0.9", "10.1.0.0/16", "fd00::9", "224.0.0.1", "x"])}
        ),
        st.fixed_dictionaries({"ip_address": _ADDRESSES, "mac_address": _MACS}),
        st.fixed_dictionaries({"mac_address": _MACS}),
    ),
    max_size=2,
)
_OPTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "opt_name": st.sampled_from(["bootfile-name", "mtu", "nosuch", "", "42"]),
            "opt_value": st.sampled_from(["a", "", None, "1500", 3]),
        },
        optional={"ip_version": st.sampled_from([4, 6, 5, "4"])},
    ),
    max_size=2,
)

_STANDARD = {
    "name": _NAMES,
    "description": _NAMES,
    "project_id": _PROJECTS,
    "tenant_id": _PROJECTS,
    "nosuch": st.just(1),
    "id": st.just(ZERO),
}
ATTRIBUTES: dict[str, dict[str, SearchStrategy[Any]]] = {
    "network": {
        **_STANDARD,
        "admin_state_up": _BOOLEANS,
        "shared": _BOOLEANS,
        "router:external": st.sampled_from([True, True, False]),
        "mtu": st.sampled_from([0, 1280, 1400, 1450, 1500, 9000, 67, "1300"]),
        "port_security_enabled": _BOOLEANS,
        "provider:network_type": st.sampled_from(["vlan", "vxlan", "flat", "local", "gre", "nosuch", ""]),
        "provider:physical_network": st.sampled_from(["physnet1", "public", "nosuch", ""]),
        "provider:segmentation_id": st.sampled_from([1001, 5, "7", 4095, 0, 5000]),
        "availability_zone_hints": st.sampled_from([[], ["nova"], ["nosuch"]]),
        "is_default": _BOOLEANS,
    },
    "subnet": {
        **_STANDARD,
        "network_id": _refs("network"),
        "ip_version": st.sampled_from([4, 4, 4, 6, "4", 5]),
        "cidr": _PREFIXES,
        "gateway_ip": st.one_of(st.none(), _ADDRESSES),
        "allocation_pools": _POOLS,
        "dns_nameservers": st.lists(_ADDRESSES, max_size=3),
        "host_routes": _ROUTES,
        "enable_dhcp": _BOOLEANS,
        "ipv6_ra_mode": st.sampled_from(["slaac", "dhcpv6-stateful", "dhcpv6-stateless", "nosuch"]),
        "ipv6_address_mode": st.sampled_from(["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]),
        "service_types": st.sampled_from(
            [[], ["compute:nova"], ["network:router_gateway"], ["nosuch"], ["compute:nova", "compute:nova"]]
        ),
        "subnetpool_id": _refs("subnetpool"),
        "prefixlen": st.sampled_from([24, 26, 30, 64, 8]),
        "use_default_subnetpool": _BOOLEANS,
    },
    "subnetpool": {
        **_STANDARD,
        "prefixes": st.lists(
            st.sampled_from(["10.0.0.0/16", "10.1.0.0/16", "10.0.0.0/24", "fd00::/48", "x"]), max_size=2
        ),
        "default_prefixlen": st.sampled_from([24, 26, "28", 64, 8]),
        "min_prefixlen": st.sampled_from([8, 24, 28, "16"]),
        "max_prefixlen": st.sampled_from([24, 28, 32, "30"]),
        "default_quota": st.sampled_from([0, 256, 1000]),
        "shared": _BOOLEANS,
        "is_default": _BOOLEANS,
        "address_scope_id": st.one_of(st.none(), _refs("address_scope")),
    },
    "address_scope": {
        "name": _NAMES,
        "project_id": _PROJECTS,
        "ip_version": st.sampled_from([4, 6, "4", 5]),
        "shared": _BOOLEANS,
        "nosuch": st.just(1),
    },
    "port": {
        **_STANDARD,
        "network_id": _refs("network"),
        "admin_state_up": _BOOLEANS,
        "mac_address": _MACS,
        "fixed_ips": st.lists(_FIXED_IP, max_size=2),
        "device_id": st.one_of(st.sampled_from(["", "vm1", "vm2"]), _refs("router")),
        "device_owner": st.sampled_from(
            ["", "compute:nova", "network:router_interface", "network:dhcp", "network:floatingip"]
        ),
        "security_groups": st.lists(_refs("security_group"), max_size=2),
        "port_security_enabled": _BOOLEANS,
        "allowed_address_pairs": _PAIRS,
        "extra_dhcp_opts": _OPTIONS,
        "binding:host_id": st.sampled_from(["aio", "", "aio"]),
        "binding:vnic_type": st.sampled_from(["normal", "normal", "nosuch"]),
        "binding:profile": st.sampled_from([{}, None]),
    },
    "router": {
        **_STANDARD,
        "admin_state_up": _BOOLEANS,
        "external_gateway_info": _GATEWAY,
        "routes": _ROUTES,
        "availability_zone_hints": st.sampled_from([[], ["nosuch"]]),
    },
    "floatingip": {
        "description": _NAMES,
        "project_id": _PROJECTS,
        "floating_network_id": _refs("network"),
        "port_id": st.one_of(st.none(), _refs("port")),
        "fixed_ip_address": _ADDRESSES,
        "floating_ip_address": _ADDRESSES,
        "subnet_id": _refs("subnet"),
        "nosuch": st.just(1),
    },
    "security_group": {**_STANDARD, "stateful": _BOOLEANS},
    "security_group_rule": {
        "description": _NAMES,
        "project_id": _PROJECTS,
        "security_group_id": _refs("security_group"),
        "direction": st.sampled_from(["ingress", "egress", "Ingress", "both"]),
        "ethertype": st.sampled_from(["IPv4", "IPv6", "ipv4", "IP"]),
        "protocol": st.sampled_from(
            ["tcp", "udp", "icmp", "icmpv6", "ipv6-icmp", 6, "17", "TCP", "any", "255", 256, "sctp", "vrrp", "nosuch"]
        ),
        "port_range_min": st.sampled_from([0, 1, 22, 80, "443", 65535, 65536]),
        "port_range_max": st.sampled_from([0, 1, 22, 80, "443", 65535]),
        "remote_ip_prefix": st.one_of(_PREFIXES, st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.1"])),
        "remote_group_id": _refs("security_group"),
    },
    "rbac_policy": {
        "object_type": st.sampled_from(
            ["network", "network", "security_group", "subnetpool", "address_scope", "nosuch"]
        ),
        "object_id": st.one_of(*(_refs(kind) for kind in ("network", "security_group", "subnetpool", "address_scope"))),
        "action": st.sampled_from(["access_as_shared", "access_as_shared", "access_as_external", "nosuch"]),
        "target_tenant": st.sampled_from([DEMO, OTHER, "*", ""]),
        "project_id": _PROJECTS,
    },
}
_ALWAYS = {
    "network": (),
    "subnet": ("ip_version", "network_id", "cidr"),
    "subnetpool": ("name", "prefixes"),
    "address_scope": ("ip_version", "name"),
    "port": ("network_id",),
    "router": (),
    "floatingip": ("floating_network_id",),
    "security_group": ("name",),
    "security_group_rule": ("direction", "security_group_id"),
    "rbac_policy": ("object_type", "object_id", "action", "target_tenant"),
}
_KINDS = st.sampled_from([*COLLECTIONS, "network", "subnet", "port", "port", "router", "floatingip"])
_WRAPPERS = st.integers(0, 40)


def _create(kind: str) -> SearchStrategy[Request]:
    def request(values: dict[str, Any], user: str, dice: int, more: dict[str, Any]) -> Request:
        body: Any = {kind: values}
        if dice == 40:
            body = values
        elif dice == 39:
            body = {COLLECTIONS[kind].replace("-", "_"): [values, more]}
        return Request("POST", f"/v2.0/{COLLECTIONS[kind]}", body, user, (), kind)

    values = _some(ATTRIBUTES[kind], _ALWAYS[kind])
    return st.builds(request, values, _USERS, _WRAPPERS, values)


def _update(kind: str) -> SearchStrategy[Request]:
    def request(values: dict[str, Any], user: str, ref: Ref, dice: int) -> Request:
        return Request("PUT", f"/v2.0/{COLLECTIONS[kind]}/{{}}", values if dice == 40 else {kind: values}, user, (ref,))

    immutable = {"rbac_policy": {"target_tenant"}}.get(kind)
    values = _some({name: each for name, each in ATTRIBUTES[kind].items() if immutable is None or name in immutable})
    return st.builds(request, values, _USERS, _refs(kind), _WRAPPERS)


def _show(kind: str) -> SearchStrategy[Request]:
    fields = st.sampled_from(["", "", "?fields=id", "?fields=name&fields=id", "?fields=nosuch", "?x=1"])
    path = fields.map(lambda query: f"/v2.0/{COLLECTIONS[kind]}/{{}}{query}")
    return st.builds(Request, st.just("GET"), path, st.none(), _USERS, _refs(kind).map(lambda ref: (ref,)))


def _delete(kind: str) -> SearchStrategy[Request]:
    path = f"/v2.0/{COLLECTIONS[kind]}/{{}}"
    return st.builds(Request, st.just("DELETE"), st.just(path), st.none(), _USERS, _refs(kind).map(lambda ref: (ref,)))


_FILTERS = {
    "network": [
        "shared=true",
        "router:external=True",
        "admin_state_up=0",
        "status=ACTIVE",
        "mtu=1400",
        "shared=x",
        "provider:network_type=vlan",
    ],
    "subnet": [
        "ip_version=4",
        "cidr=10.0.0.0/24",
        "enable_dhcp=true",
        "gateway_ip=10.0.0.1",
        "ip_version=x",
        "shared=false",
    ],
    "subnetpool": ["shared=true", "is_default=false", "ip_version=4", "default_prefixlen=24"],
    "address_scope": ["ip_version=4", "shared=false"],
    "port": [
        "device_owner=compute:nova",
        "device_id=vm1",
        "status=DOWN",
        "fixed_ips=ip_address%3D10.0.0.5",
        "fixed_ips=ip_address_substr%3D10.0",
        "mac_address=fa:16:3e:00:00:01",
        "admin_state_up=true",
        "binding:host_id=aio",
        "fixed_ips=nosuch%3D1",
        "device_owner=network:router_interface&device_owner=compute:nova",
    ],
    "router": ["admin_state_up=true", "status=ACTIVE"],
    "floatingip": ["status=DOWN", "floating_ip_address=10.0.0.5", "port_id=", "fixed_ip_address=10.0.0.5"],
    "security_group": ["stateful=true", "shared=false", "name=default"],
    "security_group_rule": ["direction=ingress", "ethertype=IPv4", "protocol=tcp", "port_range_min=22", "direction=x"],
    "rbac_policy": ["action=access_as_shared", "object_type=network", "target_tenant=*"],
}
_SORTED = {
    "rbac_policy": ("object_type", "id", "nosuch"),
    "security_group_rule": ("direction", "id", "nosuch"),
    "floatingip": ("floating_ip_address", "status", "nosuch"),
}


def _list(kind: str) -> SearchStrategy[Request]:
    keys = _SORTED.get(kind, ("name", "id", "nosuch", "project_id"))
    parts = st.one_of(
        st.sampled_from(
            [*_FILTERS[kind], "name=a", "name=", "nosuch=1", f"project_id={DEMO}", f"tenant_id={OTHER}", f"id={ZERO}"]
        ),
        st.sampled_from(["fields=id", "fields=name", "fields=nosuch", "fields=project_id"]),
        st.builds("sort_key={}&sort_dir={}".format, st.sampled_from(keys), st.sampled_from(["asc", "desc", "x"])),
        st.sampled_from(["limit=0", "limit=-1", "limit=x", "limit=1000", "page_reverse=True", f"marker={ZERO}"]),
        st.sampled_from(
            [
                "tags=red",
                "tags-any=red,blue",
                "not-tags=red",
                "not-tags-any=blue",
                "tags=",
                "description=a",
                "revision_number=1",
            ]
        ),
    )
    path = st.lists(parts, max_size=2).map(lambda found: f"/v2.0/{COLLECTIONS[kind]}?{'&'.join(found)}".rstrip("?"))
    return st.builds(Request, st.just("GET"), path, st.none(), _USERS)


def _action(name: str, body: SearchStrategy[Any]) -> SearchStrategy[Request]:
    path = f"/v2.0/routers/{{}}/{name}"
    return st.builds(Request, st.just("PUT"), st.just(path), body, _USERS, _refs("router").map(lambda ref: (ref,)))


_INTERFACES = st.one_of(
    st.fixed_dictionaries({"subnet_id": _refs("subnet")}),
    st.fixed_dictionaries({"subnet_id": _refs("subnet")}),
    st.fixed_dictionaries({"port_id": _refs("port")}),
    st.fixed_dictionaries({"port_id": _refs("port"), "subnet_id": _refs("subnet")}),
    st.sampled_from([{}, None, {"subnet_id": None}, {"nosuch": 1}]),
)
_EXTRA = _ROUTES.map(lambda routes: {"router": {"routes": routes}})


def _tags() -> SearchStrategy[Request]:
    def request(collection: str, number: int, tag: str, tags: list[str], way: int, user: str) -> Request:
        kind = next(name for name, each in COLLECTIONS.items() if each == collection)
        base, refs = f"/v2.0/{collection}/{{}}/tags", (Ref(kind, number),)
        one = f"{base}/{tag.replace(' ', '%20') or 'red'}"
        return [
            Request("PUT", base, {"tags": tags}, user, refs),
            Request("GET", base, None, user, refs),
            Request("DELETE", base, None, user, refs),
            Request("PUT", one, None, user, refs),
            Request("GET", one, None, user, refs),
            Request("DELETE", one, None, user, refs),
            Request("POST", base, {"tags": tags}, user, refs),
        ][way]

    lists = st.lists(_TAGS, max_size=3)
    return st.builds(request, st.sampled_from(_TAGGED), st.integers(0, 3), _TAGS, lists, st.integers(0, 6), _USERS)


def _quotas() -> SearchStrategy[Request]:
    def request(project: str, name: str, value: Any, way: int, user: str) -> Request:
        base = f"/v2.0/quotas/{project}"
        return [
            Request("PUT", base, {"quota": {name: value}}, user),
            Request("GET", base, None, user),
            Request("DELETE", base, None, user),
            Request("GET", f"{base}/default", None, user),
            Request("GET", f"{base}/details", None, user),
            Request("GET", "/v2.0/quotas", None, user),
        ][way]

    names = st.sampled_from([*COLLECTIONS, "network", "port", "nosuch", "tenant_id"])
    values = st.sampled_from([0, 1, 2, 3, 5, -1, -2, "4", "x", None, 2**31, True, 1.5])
    return st.builds(request, _PROJECTS, names, values, st.integers(0, 5), _USERS)


REQUESTS = st.one_of(
    _KINDS.flatmap(_create),
    _KINDS.flatmap(_create),
    _KINDS.flatmap(_create),
    _KINDS.flatmap(_update),
    _KINDS.flatmap(_update),
    _KINDS.flatmap(_show),
    _KINDS.flatmap(_list),
    _KINDS.flatmap(_list),
    _KINDS.flatmap(_delete),
    _action("add_router_interface", _INTERFACES),
    _action("add_router_interface", _INTERFACES),
    _action("remove_router_interface", _INTERFACES),
    _action("add_extraroutes", _EXTRA),
    _action("remove_extraroutes", _EXTRA),
    _tags(),
    _quotas(),
)


def _post(kind: str, user: str, **values: Any) -> Request:
    return Request("POST", f"/v2.0/{COLLECTIONS[kind]}", {kind: values}, user, (), kind)


_INSIDE = (
    _post("network", "demo", name="inside"),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=4, cidr="10.0.0.0/24"),
    _post("security_group", "demo", name="group"),
    _post("port", "demo", network_id=Ref("network"), name="vm"),
)
_OUTSIDE = (
    _post("network", "admin", name="outside", **{"router:external": True}),
    _post("subnet", "admin", network_id=Ref("network", -1), ip_version=4, cidr="172.24.4.0/24", enable_dhcp=False),
    _post("router", "demo", name="r", external_gateway_info={"network_id": Ref("network", -1)}),
)
_WIRED = Request("PUT", "/v2.0/routers/{}/add_router_interface", {"subnet_id": Ref("subnet")}, "demo", (Ref("router"),))
_PRELUDES = st.sampled_from([(), _INSIDE, _INSIDE, _OUTSIDE, (*_INSIDE, *_OUTSIDE), (*_INSIDE, *_OUTSIDE, _WIRED)])
LISTS = tuple(Request("GET", f"/v2.0/{collection}") for collection in COLLECTIONS.values())
"""What is asked at the end of a sequence."""


_FEW = st.lists(REQUESTS, max_size=10)


def sequences() -> SearchStrategy[list[Request]]:
    """Something to work with, or nothing, and what is done then."""
    # Handfuls, so that sequences are long and can still be shrunk to one request.
    return st.tuples(_PRELUDES, st.lists(_FEW, min_size=6, max_size=12)).map(
        lambda pair: [*pair[0], *(request for few in pair[1] for request in few)]
    )
