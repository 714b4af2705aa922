"""What every list may be asked: each attribute of each kind as a filter, as an order and as a field."""

from __future__ import annotations

from collections.abc import Iterator

from deuteron.model.network import RESOURCES
from tests.oracle.both import Ref, Request
from tests.oracle.kinds import KINDS

_PARENTS = (
    Request("POST", "/v2.0/networks", {"network": {"name": "outside", "router:external": True}}, makes="network"),
    Request(
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": Ref("network"), "ip_version": 4, "cidr": "172.24.4.0/24"}},
        makes="subnet",
    ),
    Request(
        "POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": Ref("network")}}, "demo", makes="floatingip"
    ),
    Request("POST", "/v2.0/routers", {"router": {"name": "r"}}, "demo", makes="router"),
    Request("POST", "/v2.0/qos/policies", {"policy": {"name": "p"}}, makes="qos_policy"),
    Request("POST", "/v2.0/local_ips", {"local_ip": {"network_id": Ref("network")}}, makes="local_ip"),
)
_BY_CHANCE = ("provider:segmentation_id=1", "revision_number=1", "sort_key=mac_address", "fields=security_group_rules")
"""What is found, or comes first, is made up by each service."""
_NAMES = {"network_flavor": "flavor"}


def questions() -> Iterator[Request]:
    """Each is asked by an administrator and by a member; before, what is asked about is made."""
    yield from _PARENTS
    for resource in RESOURCES:
        kind = KINDS.get(_NAMES.get(resource.name, resource.name))
        if kind is None:
            continue
        refs = (Ref(kind.parent),) if kind.parent else ()
        for name in (*(attribute.name for attribute in resource.attributes), "nosuch"):
            for query in (f"{name}=1", f"sort_key={name}&sort_dir=asc", f"fields={name}"):
                if not query.startswith(_BY_CHANCE):
                    for user in ("admin", "demo"):
                        yield Request("GET", f"/v2.0/{kind.path}?{query}", None, user, refs)
