"""Sequences of requests to the Network API: any order, valid and invalid values, by several people."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.oracle.both import Ref, Request
from tests.oracle.kinds import KINDS
from tests.oracle.preludes import PAGED_NAMES, PRELUDES
from tests.oracle.values import (
    ADDRESSES,
    ALWAYS,
    ATTRIBUTES,
    FILTERS,
    GROUP_ADDRESSES,
    PREFIXES,
    PROJECTS,
    ROUTES,
    SUB_PORTS,
    TAGS,
    USERS,
    mostly,
    refs,
    some,
)
from tests.unit.api_network.harness import DEMO, OTHER, ZERO

_TAGGED = ("network", "subnet", "subnetpool", "port", "router", "floatingip", "security_group", "qos_policy", "trunk")
_NOT_CHANGED = {"rbac_policy": {"target_tenant"}}
"""Attributes of which an update is asked for, where it is not any."""
_OFTEN = ("network", "subnet", "port", "port", "router", "floatingip", "qos_policy", "address_group", "trunk")
_SOME_KIND = st.sampled_from([*KINDS, *_OFTEN])
_WRAPPERS = st.integers(0, 40)


def _parents(kind: str) -> SearchStrategy[tuple[Ref, ...]]:
    """What the path of a collection names."""
    parent = KINDS[kind].parent
    return refs(parent).map(lambda ref: (ref,)) if parent else st.just(())


def _one(kind: str) -> SearchStrategy[tuple[str, str, tuple[Ref, ...]]]:
    """The path of one object, what a body calls it there, and what the path names."""
    each = KINDS[kind]

    def place(ref: Ref, parents: tuple[Ref, ...], dice: int) -> tuple[str, str, tuple[Ref, ...]]:
        if each.alias and dice % 2:
            return f"/v2.0/{each.alias}/{{}}", each.alias_member, (ref,)
        return f"/v2.0/{each.path}/{{}}", each.member, (*parents, ref)

    return st.builds(place, refs(kind), _parents(kind), st.integers(0, 3))


def _create(kind: str) -> SearchStrategy[Request]:
    each = KINDS[kind]

    def request(values: dict[str, Any], user: str, dice: int, more: dict[str, Any], named: tuple[Ref, ...]) -> Request:
        body: Any = {each.member: values}
        if dice == 40:
            body = values
        elif dice == 39:
            body = {each.plural: [values, more]}
        return Request("POST", f"/v2.0/{each.path}", body, user, named, kind)

    values = some(ATTRIBUTES[kind], ALWAYS[kind])
    return st.builds(request, values, USERS, _WRAPPERS, values, _parents(kind))


def _update(kind: str) -> SearchStrategy[Request]:
    def request(values: dict[str, Any], user: str, place: tuple[str, str, tuple[Ref, ...]], dice: int) -> Request:
        path, member, named = place
        return Request("PUT", path, values if dice == 40 else {member: values}, user, named)

    only = _NOT_CHANGED.get(kind)
    values = some({name: each for name, each in ATTRIBUTES[kind].items() if only is None or name in only})
    return st.builds(request, values, USERS, _one(kind), _WRAPPERS)


def _show(kind: str) -> SearchStrategy[Request]:
    def request(place: tuple[str, str, tuple[Ref, ...]], names: list[str], dice: int, user: str) -> Request:
        fields = [f"fields={name}" for name in names]
        query = "&".join([*fields, "x=1"] if dice == 9 else fields)
        return Request("GET", f"{place[0]}?{query}".rstrip("?"), None, user, place[2])

    fields = st.lists(st.sampled_from(["id", "nosuch", "", *ATTRIBUTES[kind]]), max_size=2)
    return st.builds(request, _one(kind), fields, st.integers(0, 9), USERS)


def _delete(kind: str) -> SearchStrategy[Request]:
    return st.builds(lambda place, user: Request("DELETE", place[0], None, user, place[2]), _one(kind), USERS)


_ANY = st.sampled_from(["", "a", "1", "true", "false", "x", "null", ZERO, DEMO, "10.0.0.1", "%00", "1.5", "-1"])


def _list(kind: str) -> SearchStrategy[Request]:
    names = st.sampled_from([*ATTRIBUTES[kind], "id", "status", "created_at", "updated_at"])
    directions = st.sampled_from(["asc", "desc", "asc", "desc", "DESC", "x", ""])
    standard = ["tags=red", "tags-any=red,blue", "not-tags=red", "not-tags-any=blue", "tags=", "revision_number=1"]
    ranges = ["limit=0", "limit=-1", "limit=x", "limit=1000", "page_reverse=True", f"marker={ZERO}"]
    plain = ["name=a", "name=", "nosuch=1", f"project_id={DEMO}", f"tenant_id={OTHER}", f"id={ZERO}", "description=a"]
    parts = st.one_of(
        st.sampled_from([*FILTERS[kind], *plain]),
        st.builds("{}={}".format, names, _ANY),
        st.builds("fields={}".format, names),
        st.builds("sort_key={}&sort_dir={}".format, names, directions),
        st.builds("sort_key={}".format, names),
        st.sampled_from(ranges),
        st.sampled_from(standard),
    )
    path = st.lists(parts, max_size=3).map(lambda found: f"/v2.0/{KINDS[kind].path}?{'&'.join(found)}".rstrip("?"))
    return st.builds(lambda path, user, named: Request("GET", path, None, user, named), path, USERS, _parents(kind))


def _page() -> SearchStrategy[Request]:
    """Of networks whose names differ: which is first and last on a page of others is anything."""

    def request(limit: int, marker: Ref | None, direction: str, reverse: str, fields: str, user: str) -> Request:
        query = "&".join([f"name={name}" for name in PAGED_NAMES] + [f"sort_key=name&sort_dir={direction}"])
        query += f"&limit={limit}{reverse}{fields}" + ("" if marker is None else "&marker={}")
        return Request("GET", f"/v2.0/networks?{query}", None, user, () if marker is None else (marker,))

    return st.builds(
        request,
        st.integers(1, 6),
        st.one_of(st.none(), st.builds(Ref, st.just("network"), st.integers(0, 4))),
        st.sampled_from(["asc", "desc"]),
        st.sampled_from(["", "", "&page_reverse=True", "&page_reverse=false"]),
        st.sampled_from(["", "&fields=name", "&fields=id&fields=name"]),
        USERS,
    )


def _action(name: str, body: SearchStrategy[Any]) -> SearchStrategy[Request]:
    path = f"/v2.0/routers/{{}}/{name}"
    return st.builds(Request, st.just("PUT"), st.just(path), body, USERS, refs("router").map(lambda ref: (ref,)))


_INTERFACES = st.one_of(
    st.fixed_dictionaries({"subnet_id": refs("subnet")}),
    st.fixed_dictionaries({"subnet_id": refs("subnet")}),
    st.fixed_dictionaries({"port_id": refs("port")}),
    st.fixed_dictionaries({"port_id": refs("port"), "subnet_id": refs("subnet")}),
    st.sampled_from([{}, None, {"subnet_id": None}, {"nosuch": 1}]),
)
_EXTRA = ROUTES.map(lambda routes: {"router": {"routes": routes}})


def _change(kind: str, actions: tuple[str, ...], body: SearchStrategy[Any]) -> SearchStrategy[Request]:
    def request(action: str, body: Any, user: str, ref: Ref) -> Request:
        return Request("PUT", f"/v2.0/{KINDS[kind].path}/{{}}/{action}", body, user, (ref,))

    return st.builds(request, st.sampled_from(actions), body, USERS, refs(kind))


_GROUPS_ADDRESSES = _change(
    "address_group",
    ("add_addresses", "remove_addresses"),
    st.one_of(
        st.fixed_dictionaries({"addresses": mostly(st.lists(GROUP_ADDRESSES, max_size=3))}),
        st.sampled_from([{}, {"nosuch": 1}, {"address_group": {"addresses": ["10.0.0.1"]}}]),
    ),
)
_POOLS_PREFIXES = _change(
    "subnetpool",
    ("add_prefixes", "remove_prefixes"),
    st.one_of(
        st.fixed_dictionaries({"prefixes": mostly(st.lists(PREFIXES, max_size=3))}),
        st.sampled_from([{}, {"nosuch": 1}]),
    ),
)
_ONBOARD = _change(
    "subnetpool", ("onboard_network_subnets",), st.fixed_dictionaries({"network_id": mostly(refs("network"))})
)


_SUB_PORTS = _change(
    "trunk",
    ("add_subports", "remove_subports"),
    st.one_of(
        st.fixed_dictionaries({"sub_ports": mostly(SUB_PORTS)}),
        st.fixed_dictionaries({"sub_ports": SUB_PORTS}),
        st.fixed_dictionaries({"sub_ports": st.builds(lambda ref: [{"port_id": ref, "nosuch": 1}], refs("port"))}),
        st.sampled_from([{}, {"nosuch": 1}, {"trunk": {"sub_ports": []}}]),
    ),
)
_SUB_PORTS_SHOWN = st.builds(
    lambda ref, user: Request("GET", "/v2.0/trunks/{}/get_subports", None, user, (ref,)), refs("trunk"), USERS
)


def _bindings() -> SearchStrategy[Request]:
    """Of guests' ports, for services; `far` is the other host."""

    def request(way: int, port: Ref, host: str, more: dict[str, Any], user: str) -> Request:
        base, one = "/v2.0/ports/{}/bindings", f"/v2.0/ports/{{}}/bindings/{host}"
        return [
            Request("POST", base, {"binding": {"host": host, **more}}, user, (port,)),
            Request("POST", base, {"binding": {"host": host}}, user, (port,)),
            Request("POST", base, {"bindings": [{"host": host}]} if more else {}, user, (port,)),
            Request("GET", base, None, user, (port,)),
            Request("GET", f"{base}?host={host}", None, user, (port,)),
            Request("GET", one, None, user, (port,)),
            Request("PUT", f"{one}/activate", None, user, (port,)),
            Request("PUT", f"{one}/activate", {}, user, (port,)),
            Request("DELETE", one, None, user, (port,)),
        ][way]

    values = {
        "vnic_type": st.sampled_from(["normal", "nosuch"]),
        "profile": st.sampled_from([{}, None, {"a": 1}]),
        "project_id": PROJECTS,
        "status": st.just("ACTIVE"),
        "nosuch": st.just(1),
    }
    people = st.sampled_from(["service", "service", "service", "admin", "demo", "reader"])
    hosts = st.sampled_from(["far", "far", "aio", "nosuch"])
    return st.builds(request, st.integers(0, 8), refs("port"), hosts, some(values), people)


def _leads() -> SearchStrategy[Request]:
    """To which ports local IPs lead: an association has no id of its own."""

    def request(way: int, local_ip: Ref, port: Ref, more: dict[str, Any], user: str) -> Request:
        base, one = "/v2.0/local_ips/{}/port_associations", "/v2.0/local_ips/{}/port_associations/{}"
        return [
            Request("POST", base, {"port_association": {"fixed_port_id": port, **more}}, user, (local_ip,)),
            Request("POST", base, {"port_association": {"fixed_port_id": port}}, user, (local_ip,)),
            Request("GET", base, None, user, (local_ip,)),
            Request("GET", f"{base}?fixed_ip=10.0.0.5", None, user, (local_ip,)),
            Request("GET", one, None, user, (local_ip, port)),
            Request("DELETE", one, None, user, (local_ip, port)),
        ][way]

    values = {"fixed_ip": ADDRESSES, "project_id": PROJECTS, "host": st.just("aio"), "nosuch": st.just(1)}
    return st.builds(request, st.integers(0, 5), refs("local_ip"), refs("port"), some(values), USERS)


def _topologies() -> SearchStrategy[Request]:
    def request(way: int, project: str, user: str) -> Request:
        path = f"/v2.0/auto-allocated-topology/{project}"
        return [
            Request("GET", path, None, user),
            Request("GET", f"{path}?fields=dry-run", None, user),
            Request("GET", f"{path}?fields=id", None, user),
            Request("DELETE", path, None, user),
        ][way]

    return st.builds(request, st.integers(0, 3), st.one_of(PROJECTS, st.just("None")), USERS)


def _plugged() -> SearchStrategy[Request]:
    """Which agent serves what: those of the host are in `Both` from the start."""

    def request(way: int, network: Ref, router: Ref, agent: str, user: str, odd: Any) -> Request:
        found = Ref(agent)
        return [
            Request("GET", "/v2.0/agents/{}/dhcp-networks", None, user, (found,)),
            Request("GET", "/v2.0/agents/{}/l3-routers", None, user, (found,)),
            Request("GET", "/v2.0/networks/{}/dhcp-agents", None, user, (network,)),
            Request("GET", "/v2.0/routers/{}/l3-agents", None, user, (router,)),
            Request("POST", "/v2.0/agents/{}/dhcp-networks", {"network_id": network}, user, (Ref("nosuch"),)),
            Request("POST", "/v2.0/agents/{}/l3-routers", {"router_id": router}, user, (Ref("nosuch"),)),
            Request("DELETE", "/v2.0/agents/{}/dhcp-networks/{}", None, user, (Ref("nosuch"), network)),
            Request("DELETE", "/v2.0/agents/{}/l3-routers/{}", None, user, (Ref("nosuch"), router)),
            Request("GET", "/v2.0/agents/{}", None, user, (Ref("nosuch"),)),
            Request("PUT", "/v2.0/agents/{}", {"agent": {"description": odd}}, user, (found,)),
            Request("PUT", "/v2.0/agents/{}", {"agent": {"admin_state_up": odd}}, user, (Ref("nosuch"),)),
        ][way]

    agents = st.sampled_from(["openvswitch_agent", "nosuch"])
    odd = mostly(st.sampled_from(["", "a"]))
    return st.builds(request, st.integers(0, 10), refs("network"), refs("router"), agents, USERS, odd)


def _profiles() -> SearchStrategy[Request]:
    def request(flavor: Ref, profile: Ref, dice: int, user: str) -> Request:
        if dice:
            body = {"service_profile": {"id": profile}}
            return Request("POST", "/v2.0/flavors/{}/service_profiles", body, user, (flavor,))
        return Request("DELETE", "/v2.0/flavors/{}/service_profiles/{}", None, user, (flavor, profile))

    return st.builds(request, refs("flavor"), refs("service_profile"), st.integers(0, 2), USERS)


def _made_lists() -> SearchStrategy[Request]:
    """Lists that no table holds."""

    def request(way: int, network: Ref, query: str, user: str) -> Request:
        return [
            Request("GET", f"/v2.0/network-ip-availabilities?{query}", None, user),
            Request("GET", "/v2.0/network-ip-availabilities/{}", None, user, (network,)),
            Request("GET", f"/v2.0/service-providers?{query}", None, user),
            Request("GET", f"/v2.0/availability_zones?{query}", None, user),
            Request("GET", f"/v2.0/qos/rule-types?{query}", None, user),
            Request("GET", "/v2.0/qos/rule-types/dscp_marking", None, user),
            Request("GET", "/v2.0/default-security-group-rules?" + query, None, user),
            Request("GET", f"/v2.0/floatingip_pools?{query}", None, user),
            Request("GET", f"/v2.0/log/loggable-resources?{query}", None, user),
            Request("GET", "/v2.0/qos/rule-types/minimum_bandwidth", None, user),
        ][way]

    queries = [
        "",
        "ip_version=4",
        "ip_version=6",
        "nosuch=1",
        "network_name=a",
        "name=nova",
        "resource=router",
        "fields=name",
    ]
    return st.builds(request, st.integers(0, 9), refs("network"), st.sampled_from(queries), USERS)


def _tags() -> SearchStrategy[Request]:
    def request(kind: str, number: int, tag: str, tags: list[str], way: int, user: str) -> Request:
        last = KINDS[kind].path.rpartition("/")[2]
        base, named = f"/v2.0/{last}/{{}}/tags", (Ref(kind, number),)
        one = f"{base}/{tag.replace(' ', '%20') or 'red'}"
        return [
            Request("PUT", base, {"tags": tags}, user, named),
            Request("GET", base, None, user, named),
            Request("DELETE", base, None, user, named),
            Request("PUT", one, None, user, named),
            Request("GET", one, None, user, named),
            Request("DELETE", one, None, user, named),
            Request("POST", base, {"tags": tags}, user, named),
        ][way]

    lists = mostly(st.lists(TAGS, max_size=3))
    return st.builds(request, st.sampled_from(_TAGGED), st.integers(0, 3), TAGS, lists, st.integers(0, 6), USERS)


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

    names = st.sampled_from([*KINDS, "network", "port", "nosuch", "tenant_id"])
    values = st.sampled_from([0, 1, 2, 3, 5, -1, -2, "4", "x", None, 2**31, True, 1.5])
    return st.builds(request, PROJECTS, names, values, st.integers(0, 5), USERS)


REQUESTS = st.one_of(
    _SOME_KIND.flatmap(_create),
    _SOME_KIND.flatmap(_create),
    _SOME_KIND.flatmap(_create),
    _SOME_KIND.flatmap(_update),
    _SOME_KIND.flatmap(_update),
    _SOME_KIND.flatmap(_show),
    _SOME_KIND.flatmap(_list),
    _SOME_KIND.flatmap(_list),
    _SOME_KIND.flatmap(_list),
    _SOME_KIND.flatmap(_delete),
    _action("add_router_interface", _INTERFACES),
    _action("remove_router_interface", _INTERFACES),
    _action("add_extraroutes", _EXTRA),
    _action("remove_extraroutes", _EXTRA),
    st.one_of(_GROUPS_ADDRESSES, _POOLS_PREFIXES, _ONBOARD),
    st.one_of(_plugged(), _profiles(), _made_lists()),
    st.one_of(_SUB_PORTS, _SUB_PORTS_SHOWN, _bindings(), _topologies(), _leads()),
    _tags(),
    _quotas(),
    _page(),
)


LISTS = tuple(Request("GET", f"/v2.0/{kind.path}") for kind in KINDS.values() if not kind.parent)
"""What is asked at the end of a sequence."""


_FEW = st.lists(REQUESTS, max_size=10)


def sequences() -> SearchStrategy[list[Request]]:
    """Something to work with, or nothing, and what is done then."""
    # Handfuls, so that sequences are long and can still be shrunk to one request.
    return st.tuples(PRELUDES, st.lists(_FEW, min_size=6, max_size=12)).map(
        lambda pair: [*pair[0], *(request for few in pair[1] for request in few)]
    )
