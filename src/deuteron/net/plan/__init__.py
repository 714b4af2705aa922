"""`plan`: from the whole intent of a host to the whole desired rows of its kernel tables.

A pure function: no I/O, no clock, the same rows for the same intent whatever the order in which its
objects arrived, and work linear in the size of the intent. Each module plans one subject:

    bridges    bridges, patch ports, physical interfaces, the pipeline's own rules, provider tags
    wiring     taps and ports of instances, the flows that let a known port in
    trunks     trunk bridges, where one device carries several ports
    firewall   security groups by connection tracking (`openvswitch`)
    logs       what of it the agent is shown
    hybrid     security groups by iptables on a Linux bridge (`iptables_hybrid`), the chains being `bridge_firewall`'s
    linuxbridge    in place of all of these on a host that runs `linuxbridge`: Linux bridges, their firewall, VXLAN
    qos        meters and marks
    local_ips  addresses that lead to a port of the sender's host
    tunnels    br-tun: tunnel ports, decapsulation, L2 population
    dhcp       qdhcp namespaces and dnsmasq
    distributed    routers that each host runs for its own ports
    floating       floating IPs that such routers translate on the hosts of their ports
    router     qrouter namespaces, routes, NAT, router advertisements
    metering   what routers count
    metadata   where 169.254.169.254 listens

Invariant, "fail closed": a frame that enters br-int through a port that is not in the plan is dropped, and a port
whose security groups say nothing receives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deuteron.model.intent import HostIntent, HostSettings
from deuteron.net.plan import (
    bridges,
    dhcp,
    distributed,
    firewall,
    floating,
    hybrid,
    local_ips,
    logs,
    qos,
    router,
    tunnels,
    wiring,
)
from deuteron.net.plan.draft import Draft, Site, TooManyBridges
from deuteron.net.plan.parts import Planner
from deuteron.net.rows import HostPlan

__all__ = ["Subject", "TooManyBridges", "plan", "plan_openvswitch", "planner"]

Subject = Callable[[Site, Draft], None]
"""The part of the plan that one mechanism adds."""


def plan_openvswitch(site: Site, draft: Draft) -> None:
    """What the mechanism `openvswitch` adds: the switch with its bridges, tunnels and ports, and their firewall."""
    distributed.publish_distributed(site, draft)
    floating.publish_floating(site, draft)
    bridges.plan_bridges(site, draft)
    wiring.plan_instance_ports(site, draft)
    if site.settings.firewall_driver == "iptables_hybrid":
        hybrid.plan_hybrid_firewall(site, draft)
    else:
        firewall.plan_firewall(site, draft)
        logs.plan_logs(site, draft)
    tunnels.plan_tunnels(site, draft)
    qos.plan_qos(site, draft)
    local_ips.plan_local_ips(site, draft)
    distributed.plan_distributed(site, draft)
    floating.plan_floating(site, draft)


def plan(intent: HostIntent, settings: HostSettings, subjects: Sequence[Subject] = (plan_openvswitch,)) -> HostPlan:
    """Everything the network of this host should consist of: what each mechanism adds, DHCP and routers.

    Remote ports are plugged in elsewhere: they appear in DHCP files, groups and tunnels, and get no device.

    Raises: TooManyBridges if more than 14 physical bridges are mapped.
    """
    draft = Draft()
    _adding(subjects)(Site(intent, settings), draft)
    return draft.done()


def planner(subjects: Sequence[Subject] = (plan_openvswitch,)) -> Planner:
    """Plans the same as `plan`, in parts, and again only what a change touches."""
    return Planner(_adding(subjects))


def _adding(subjects: Sequence[Subject]) -> Subject:
    def add_all(site: Site, draft: Draft) -> None:
        for subject in (*subjects, dhcp.plan_dhcp, router.plan_routers):
            subject(site, draft)

    return add_all
