"""What is there when a generated sequence begins: nothing, or objects that have to do with each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.oracle.both import Ref, Request
from tests.oracle.kinds import KINDS
from tests.unit.api_network.harness import DEMO

PAGED_NAMES = ("p1", "p2", "p3", "p4", "p5")


def _post(kind: str, user: str, *parents: Ref, **values: Any) -> Request:
    return Request("POST", f"/v2.0/{KINDS[kind].path}", {KINDS[kind].member: values}, user, parents, kind)


def _vlan(number: int) -> dict[str, Any]:
    place = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    return {**place, "provider:segmentation_id": number}


_INSIDE = (
    _post("network", "demo", name="inside"),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=4, cidr="10.0.0.0/24"),
    _post("security_group", "demo", name="group"),
    _post("port", "demo", network_id=Ref("network"), name="vm"),
)
_FIXED = (
    *_INSIDE[:3],
    _post("port", "demo", network_id=Ref("network"), name="vm", fixed_ips=[{"ip_address": "10.0.0.5"}]),
)
_OUTSIDE = (
    _post("network", "admin", name="outside", **{"router:external": True}),
    _post("subnet", "admin", network_id=Ref("network", -1), ip_version=4, cidr="172.24.4.0/24", enable_dhcp=False),
    _post("router", "demo", name="r", external_gateway_info={"network_id": Ref("network", -1)}),
)
_FORWARDED = (
    _post("floatingip", "demo", floating_network_id=Ref("network", -1)),
    _post(
        "port_forwarding",
        "demo",
        Ref("floatingip"),
        internal_port_id=Ref("port"),
        internal_ip_address="10.0.0.5",
        internal_port=22,
        external_port=2222,
        protocol="tcp",
    ),
)
_WIRED = Request("PUT", "/v2.0/routers/{}/add_router_interface", {"subnet_id": Ref("subnet")}, "demo", (Ref("router"),))
_GROUPS = (
    _post("address_group", "demo", name="hosts", addresses=["10.0.0.1/32", "10.0.0.0/28"]),
    _post("security_group", "demo", name="group"),
    _post(
        "security_group_rule",
        "demo",
        direction="ingress",
        security_group_id=Ref("security_group"),
        remote_address_group_id=Ref("address_group"),
    ),
)
_QUALITY = (
    _post("qos_policy", "admin", name="gold", project_id=DEMO),
    _post("bandwidth_limit_rule", "admin", Ref("qos_policy"), max_kbps=1000),
    _post("dscp_marking_rule", "admin", Ref("qos_policy"), dscp_mark=26),
    _post("network", "demo", name="good", qos_policy_id=Ref("qos_policy")),
)
_COUNTED = (
    _post("metering_label", "admin", name="bytes"),
    _post(
        "metering_label_rule",
        "admin",
        metering_label_id=Ref("metering_label"),
        direction="ingress",
        remote_ip_prefix="10.0.0.0/24",
    ),
)
_LOGGED = (
    _post("security_group", "demo", name="logged"),
    _post("log", "manager", resource_type="security_group", resource_id=Ref("security_group"), event="DROP"),
)
_KINDS_OF_ROUTERS = (
    _post("flavor", "admin", name="f", service_type="L3_ROUTER_NAT"),
    _post("service_profile", "admin", description="p", metainfo="{}"),
)
_POOLED = (
    _post("address_scope", "demo", name="s", ip_version=4),
    _post(
        "subnetpool",
        "demo",
        name="p",
        prefixes=["10.0.0.0/16"],
        default_prefixlen=26,
        address_scope_id=Ref("address_scope"),
    ),
    _post("network", "demo", name="inside"),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=4, subnetpool_id=Ref("subnetpool")),
)
_TRUNK = (
    *_INSIDE,
    _post("port", "demo", network_id=Ref("network"), name="below"),
    _post(
        "trunk",
        "demo",
        name="t",
        port_id=Ref("port"),
        sub_ports=[{"port_id": Ref("port", 1), "segmentation_type": "vlan", "segmentation_id": 101}],
    ),
    _post("port", "demo", network_id=Ref("network"), name="spare"),
)
_BOUND = (
    *_INSIDE[:2],
    _post(
        "port",
        "admin",
        network_id=Ref("network"),
        project_id=DEMO,
        device_owner="compute:nova",
        device_id="vm1",
        **{"binding:host_id": "aio"},
    ),
    Request("POST", "/v2.0/ports/{}/bindings", {"binding": {"host": "far"}}, "service", (Ref("port"),)),
)
_HELPED = (
    *_OUTSIDE,
    _post("conntrack_helper", "demo", Ref("router"), protocol="tcp", port=21, helper="ftp"),
)
_ANSWERED = (
    _post("network", "demo", name="inside"),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=6, cidr="fd00::/64"),
    _post("port", "demo", network_id=Ref("network"), fixed_ips=[{"ip_address": "fd00::5"}]),
    _post("network", "admin", name="outside", **{"router:external": True}),
    _post("subnet", "admin", network_id=Ref("network", 1), ip_version=6, cidr="fd00:1::/64"),
    _post("router", "demo", external_gateway_info={"network_id": Ref("network", 1)}, enable_ndp_proxy=True),
    _WIRED,
    _post("ndp_proxy", "demo", router_id=Ref("router"), port_id=Ref("port")),
)
_LED = (
    *_FIXED,
    _post("local_ip", "demo", name="l", network_id=Ref("network"), local_ip_address="10.0.0.9"),
    Request(
        "POST",
        "/v2.0/local_ips/{}/port_associations",
        {"port_association": {"fixed_port_id": Ref("port")}},
        "demo",
        (Ref("local_ip"),),
    ),
)
_ROUTED = (
    _post("network", "admin", name="spine", project_id=DEMO, **_vlan(1001)),
    _post(
        "segment",
        "admin",
        network_id=Ref("network"),
        network_type="vlan",
        physical_network="physnet1",
        segmentation_id=1002,
    ),
    _post(
        "subnet",
        "admin",
        network_id=Ref("network"),
        project_id=DEMO,
        ip_version=4,
        cidr="10.0.0.0/24",
        segment_id=Ref("segment"),
    ),
)
_SEGMENTED = (
    _post("network", "admin", name="several", project_id=DEMO, segments=[_vlan(1003), _vlan(1004)]),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=4, cidr="10.0.0.0/24"),
    _post("port", "demo", network_id=Ref("network"), name="vm", tags=["red"]),
)
_PROMISED = (
    _post("qos_policy", "admin", name="promises", project_id=DEMO),
    _post("minimum_bandwidth_rule", "admin", Ref("qos_policy"), min_kbps=1000, direction="egress"),
    _post("minimum_packet_rate_rule", "admin", Ref("qos_policy"), min_kpps=5, direction="any"),
    _post("packet_rate_limit_rule", "admin", Ref("qos_policy"), max_kpps=9),
    _post("network", "admin", name="wide", project_id=DEMO, **_vlan(1005)),
    _post("subnet", "demo", network_id=Ref("network"), ip_version=4, cidr="10.0.0.0/24"),
    _post("port", "demo", network_id=Ref("network"), name="vm", qos_policy_id=Ref("qos_policy")),
)
_DEFAULTS = (
    _post("network", "admin", name="outside", is_default=True, **{"router:external": True}),
    _post("subnet", "admin", network_id=Ref("network"), ip_version=4, cidr="172.24.4.0/24", enable_dhcp=False),
    _post(
        "subnetpool",
        "admin",
        name="p",
        prefixes=["10.0.0.0/16"],
        default_prefixlen=26,
        shared=True,
        is_default=True,
    ),
    Request("GET", f"/v2.0/auto-allocated-topology/{DEMO}", None, "demo"),
)
_PAGES = tuple(_post("network", "demo", name=name) for name in PAGED_NAMES)
PRELUDES = st.sampled_from(
    [
        (),
        _INSIDE,
        _INSIDE,
        _OUTSIDE,
        (*_INSIDE, *_OUTSIDE),
        (*_INSIDE, *_OUTSIDE, _WIRED),
        (*_FIXED, *_OUTSIDE, _WIRED, *_FORWARDED),
        (*_INSIDE, *_GROUPS),
        (*_QUALITY, *_INSIDE),
        (*_INSIDE, *_OUTSIDE, *_COUNTED),
        (*_KINDS_OF_ROUTERS, *_QUALITY),
        (*_INSIDE, *_LOGGED),
        _POOLED,
        _PAGES,
        _TRUNK,
        (*_TRUNK, *_OUTSIDE),
        _BOUND,
        _HELPED,
        _ANSWERED,
        _LED,
        _ROUTED,
        _SEGMENTED,
        _PROMISED,
        _DEFAULTS,
    ]
)
