"""QoS of instance ports: what they send and receive is metered, and marked, by br-int.

    egress     table 59: everything from the port passes its meter, IP gets the mark, and goes on to table 60
    ingress    where a frame is given to the port's MAC, from a patch (60) or from this host (73, or 94 without filters)

A port obeys its own policy, else that of its network. Meters act in user space and in the kernel alike, where policing
of the device would not: the userspace datapath reads a tap beside the kernel. What is sent to many is not metered on
its way in, as it is switched to all ports at once.

Source: neutron/plugins/ml2/drivers/openvswitch/agent/extension_drivers/qos_driver.py for what is limited.
"""

from __future__ import annotations

from deuteron.model.intent import IntentPort, IntentQosPolicy, RateLimit
from deuteron.net.pipeline import ACCEPT_OR_INGRESS, ACCEPTED_EGRESS_NORMAL, BANDWIDTH_RATE_LIMIT, TRANSIENT
from deuteron.net.plan import firewall
from deuteron.net.plan.addresses import allowed_macs
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.rows import METER_TABLE, Meter


def plan_qos(site: Site, draft: Draft) -> None:
    """Adds meters and flows of every instance port that is up and obeys a policy."""
    for port, network in site.instance_ports:
        if not is_dead(port) and (port.qos_policy_id or network.qos_policy_id) is not None:
            draft.part(site, Phase.QOS, port.id, _plan_port)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or network is None:
        return
    policy = view.qos_policy(port.qos_policy_id or network.qos_policy_id or "")
    if policy is None:
        return
    _plan_egress(draft, port, policy)
    if policy.ingress is not None:
        meter = _meter(draft, 2 * port.ofport + 1, policy.ingress)
        _plan_ingress(view, draft, port, network.local_vlan, meter)


def _plan_egress(draft: Draft, port: IntentPort, policy: IntentQosPolicy) -> None:
    meter = "" if policy.egress is None else _meter(draft, 2 * port.ofport, policy.egress)
    onward = f"resubmit(,{TRANSIENT})"
    if meter:
        draft.flow(INTEGRATION, BANDWIDTH_RATE_LIMIT, 10, f"in_port={port.ofport}", f"{meter}{onward}")
    if policy.dscp_mark is not None:
        mark = f"set_field:{policy.dscp_mark}->ip_dscp"
        for family in ("ip", "ipv6"):
            match = f"{family},in_port={port.ofport}"
            draft.flow(INTEGRATION, BANDWIDTH_RATE_LIMIT, 20, match, f"{meter}{mark},{onward}")


def _plan_ingress(view: View, draft: Draft, port: IntentPort, local_vlan: int, meter: str) -> None:
    is_filtered = port.port_security_enabled and view.settings.firewall_driver != "iptables_hybrid"
    for mac in allowed_macs(port):
        if is_filtered:
            from_patch, from_here = firewall.delivery(port.ofport, local_vlan)
            draft.flow(INTEGRATION, TRANSIENT, 91, f"dl_vlan={local_vlan},dl_dst={mac}", f"{meter}{from_patch}")
            draft.flow(INTEGRATION, ACCEPT_OR_INGRESS, 101, f"reg6={local_vlan:#x},dl_dst={mac}", f"{meter}{from_here}")
        else:
            draft.flow(INTEGRATION, TRANSIENT, 91, f"dl_vlan={local_vlan},dl_dst={mac}", f"{meter}NORMAL")
            match = f"reg6={local_vlan:#x},dl_dst={mac}"
            draft.flow(INTEGRATION, ACCEPTED_EGRESS_NORMAL, 5, match, f"{meter}NORMAL")


def _meter(draft: Draft, number: int, limit: RateLimit) -> str:
    """The action that passes a frame through the meter, which is added."""
    draft.own(METER_TABLE, Meter(INTEGRATION, number, limit.kbps, limit.burst_kbit))
    return f"meter:{number},"
