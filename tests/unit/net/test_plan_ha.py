"""A router that runs on several hosts: keepalived has its addresses and routes, and only the active one serves."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.net.plancloud import planned, port, router_port, subnet, uid, vlan_network, vxlan_network

from deuteron.model.intent import FloatingIp, HostRoute, IntentRouter, RouterGateway, RouterHa
from deuteron.net.plan.addresses import link_local
from deuteron.net.rows import HostPlan

NAMESPACE = f"qrouter-{uid('r')}"


def planned_router(*, is_active: bool = False, is_up: bool = True) -> HostPlan:
    inside = vlan_network("n1", subnets=(subnet("n1s"), subnet("n1t", "fd00:10::/64", "fd00:10::1")))
    outside = vlan_network("ex", 2, 1001, subnets=(subnet("exs", "172.24.4.0/24", "172.24.5.1"),), external=True)
    hidden = vxlan_network("ha", 3, 14, subnets=(subnet("has", "169.254.192.0/18", None),))
    qr = port("e1", 20, inside, "10.10.10.1", groups=(), device_owner="network:ha_router_replicated_interface")
    qg = port("e2", 21, outside, "172.24.4.10", groups=(), device_owner="network:router_gateway")
    election = port("e3", 22, hidden, "169.254.192.7", groups=(), device_owner="network:router_ha_interface")
    advertised = msgspec.structs.replace(inside.subnets[1], ipv6_ra_mode="slaac")
    router = IntentRouter(
        id=uid("r"),
        project_id=uid("p"),
        admin_state_up=is_up,
        interfaces=(router_port(qr, inside, "10.10.10.1/24", "fd00:10::1/64", ra_subnets=(advertised,)),),
        gateway=RouterGateway(router_port(qg, outside, "172.24.4.10/24"), ("172.24.5.1",)),
        routes=(HostRoute("10.9.0.0/24", "10.10.10.9"),),
        floating_ips=(FloatingIp(uid("fip"), "172.24.4.20", "10.10.10.2"),),
        ha=RouterHa(router_port(election, hidden, "169.254.192.7/18"), 5, 0.2, is_active),
    )
    return planned(inside, outside, hidden, qr, qg, election, router)


def test_keepalived_is_told_all_addresses_and_routes_as_neutron_writes_them() -> None:
    (row,) = planned_router().keepaliveds
    qr, qg, ha = ("qr-" + uid("e1")[:11], "qg-" + uid("e2")[:11], "ha-" + uid("e3")[:11])
    own = {name: link_local(f"fa:16:3e:00:00:{number:02x}") for name, number in ((qr, 20), (qg, 21))}
    assert (
        row.config
        == f"""\
global_defs {{
    notification_email_from neutron@openstack.local
    router_id neutron
    vrrp_version 3
}}
vrrp_instance VR_5 {{
    state BACKUP
    interface {ha}
    virtual_router_id 5
    priority 50
    garp_master_delay 1
    garp_master_refresh 2
    nopreempt
    advert_int 0.2
    virtual_ipaddress {{
        169.254.0.5/24 dev {ha}
    }}
    virtual_ipaddress_excluded {{
        10.10.10.1/24 dev {qr} no_track
        172.24.4.10/24 dev {qg} no_track
        172.24.4.20/32 dev {qg} no_track
        fd00:10::1/64 dev {qr} no_track
        {own[qr]}/64 dev {qr} no_track
        {own[qg]}/64 dev {qg} no_track
    }}
    virtual_routes {{
        172.24.5.1/32 dev {qg} scope link no_track protocol static
        0.0.0.0/0 via 172.24.5.1 dev {qg} no_track protocol static
        10.9.0.0/24 via 10.10.10.9 dev {qr} no_track protocol static
    }}
}}
"""
    )
    assert (row.namespace, row.link, row.address) == (NAMESPACE, ha, "169.254.0.5/24")
    assert row.directory == f"/state/ha/{uid('r')}"


@pytest.mark.parametrize("is_active", [False, True])
def test_nobody_else_puts_its_addresses_and_routes_there(is_active: bool) -> None:
    plan = planned_router(is_active=is_active)
    mine = {row.interface: row.by for row in plan.addresses if row.namespace == NAMESPACE}
    assert mine.pop("169.254.192.7/18") is None, "its own address among the hosts"
    assert mine and set(mine.values()) == {"keepalived"}
    routes = [row.by for row in plan.routes if row.namespace == NAMESPACE]
    assert routes and set(routes) == {"keepalived"}


@pytest.mark.parametrize("is_active", [False, True])
def test_metadata_and_router_advertisements_are_the_active_ones(is_active: bool) -> None:
    plan = planned_router(is_active=is_active)
    assert bool(plan.radvds) is is_active
    assert bool([row for row in plan.metadata if row.namespace == NAMESPACE]) is is_active
    assert {row.table for row in plan.iptables if row.namespace == NAMESPACE} == {"filter", "nat", "mangle", "raw"}


def test_one_that_is_down_takes_no_part() -> None:
    plan = planned_router(is_up=False)
    assert plan.keepaliveds == ()
    assert not [row for row in plan.addresses if row.namespace == NAMESPACE]
    assert {row.name[:3] for row in plan.ovs_ports if row.namespace == NAMESPACE} == {"qr-", "qg-", "ha-"}
