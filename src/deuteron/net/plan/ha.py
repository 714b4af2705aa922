"""keepalived of a router that runs on several hosts: one of them has its addresses and routes, the others nothing.

    host a: qrouter- ── ha-… ──┐                          virtual_ipaddress            169.254.0.<vr_id>/24 on ha-…
    host b: qrouter- ── ha-… ──┴─ VRRP, VR_<vr_id>        virtual_ipaddress_excluded   all others, virtual_routes

The devices `qr-` and `qg-` are the same on all hosts, down to their MACs. Whose keepalived hears nothing of the active
one for three signs of life and a part (RFC 5798 section 6.1) gives itself the addresses, and tells everybody by ARP.
A fraction of a second between two signs needs VRRP version 3; Neutron writes whole seconds and version 2.

Source: neutron/agent/linux/keepalived.py, neutron/agent/l3/ha_router.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from deuteron.model.intent import RouterHa
from deuteron.net import rows

BY: Final = "keepalived"
SYSCTLS: Final = (("net.ipv6.conf.default.addr_gen_mode", "1"),)
"""Link-local addresses are the active host's, too, and not made by the kernel."""

_PRIORITY: Final = 50
_REPEAT_ARP_S: Final = 1
"""Neutron waits for 60 s before it tells again; one switch that missed the news would lose packets for so long."""
_REFRESH_S: Final = 2
"""Of two hosts that were apart and both active, one goes on, and may have nothing to tell: it was the active one all
along. What the other told last then leads to where nobody answers, until the entries in switches are old."""


def keepalived(
    router_id: str,
    namespace: str,
    state_dir: str,
    ha: RouterHa,
    link: str,
    addresses: Iterable[rows.Address],
    routes: Iterable[rows.Route],
) -> rows.Keepalived:
    """What runs in the router's namespace; `link` is the device by which it hears the others."""
    address = f"169.254.0.{ha.vr_id}/24"
    lines = [
        "global_defs {",
        "    notification_email_from neutron@openstack.local",
        "    router_id neutron",
        "    vrrp_version 3",
        "}",
        f"vrrp_instance VR_{ha.vr_id} {{",
        "    state BACKUP",
        f"    interface {link}",
        f"    virtual_router_id {ha.vr_id}",
        f"    priority {_PRIORITY}",
        f"    garp_master_delay {_REPEAT_ARP_S}",
        f"    garp_master_refresh {_REFRESH_S}",
        "    nopreempt",
        f"    advert_int {ha.advert_s:g}",
        "    virtual_ipaddress {",
        f"        {address} dev {link}",
        "    }",
    ]
    others = sorted((row.interface, row.link) for row in addresses)
    if others:
        lines += ["    virtual_ipaddress_excluded {"]
        lines += [f"        {interface} dev {device} no_track" for interface, device in others]
        lines += ["    }"]
    # What is on-link makes next hops reachable, so it comes first.
    ways = sorted(routes, key=lambda row: (row.via is not None, row.destination))
    if ways:
        lines += ["    virtual_routes {", *(f"        {_route(row)}" for row in ways), "    }"]
    return rows.Keepalived(
        namespace=namespace,
        id=router_id,
        directory=f"{state_dir}/ha/{router_id}",
        config="\n".join([*lines, "}", ""]),
        link=link,
        address=address,
    )


def _route(row: rows.Route) -> str:
    words = [row.destination]
    words += [f"via {row.via}"] if row.via is not None else []
    words += [f"dev {row.link}"] if row.link is not None else []
    words += ["scope link"] if row.via is None and ":" not in row.destination else []
    return " ".join([*words, "no_track", "protocol static"])
