"""Local IPs: on the host of the port to which one leads, and in its network, whoever sends to the address reaches it.

    sender ── 71, 72 ── 73 ──► 31 ── the address and MAC of the port ──► 73 ── 81, 82 ── port
    sender ── 82, 81 ── 73 ◄── 31 ◄── the local address again ◄───────── 73 ── 72, 71 ── port

The sender's rules see the local address, and those of the port its own. With `iptables_hybrid` the same holds, and the
rules are outside of this. What another host sends does not come here (73 is for ports of this host), nor what the port
itself sends to the address: it reaches the owner.

Packets are translated by connection tracking, in a zone of its own for each port and address: the zone of the network
holds what the rules allowed, under other addresses. reg9 says how far a packet is: 1, it was in table 31; 2, it comes
back there from connection tracking.

ARP requests for the address are answered here, unless they ask for the MAC that the owner has, or come from the owner.
In the mode "passthrough" the guest has the address itself; so that no other host hears of that, it asks for others in
the name of its own address, and its answers about the local one end here.

Neutron comes to table 31 before the rules, so that the sender's see the port's own address, and translates with
`openvswitch` by learned flows (`static_nat`); its agent does not look at the mode.

Source: openstack/neutron, neutron/agent/l2/extensions/local_ip.py.
"""

from __future__ import annotations

import hashlib

from deuteron.model.intent import IntentPort, PortLocalIp
from deuteron.net import rows
from deuteron.net.pipeline import ACCEPT_OR_INGRESS, ACCEPTED_EGRESS_NORMAL, CT_ZONE, LOCAL_IP, LOCAL_IP_DONE
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.plan.firewall import CONNECTION_LIMIT, UNMARK

_FIRST_ZONE, _LAST_ZONE = 4097, 65534
"""Above the local VLANs, which are the zones of networks."""
_EVERYBODY = "ff:ff:ff:ff:ff:ff"
_NEW, _FORBIDDEN_ONCE = "ct_state=+new-est+trk", "ct_state=+est-rel-rpl,ct_mark=0x1"


def plan_local_ips(site: Site, draft: Draft) -> None:
    """Adds the flows of every local IP that leads to a port which is up here."""
    ids = [port.id for port, _ in (*site.instance_ports, *site.cloud_ports) if port.local_ips and not is_dead(port)]
    for port_id in sorted(ids):
        draft.part(site, Phase.LOCAL_IP, port_id, _plan_port)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or network is None:
        return
    own = {item.ip_address for item in port.fixed_ips}
    for item in port.local_ips:
        if item.fixed_ip in own:
            _add(draft, port, item, f"reg6={network.local_vlan:#x}")


def _add(draft: Draft, port: IntentPort, item: PortLocalIp, network: str) -> None:
    def local(priority: int, match: str, actions: str) -> None:
        draft.flow(INTEGRATION, LOCAL_IP, priority, match, actions)

    sender = f"reg5={port.ofport:#x},{network}"
    to_it = f"ip,{network},nw_dst={item.address}"
    request = f"arp_tpa={item.address},arp_op=1"
    for mac in (_EVERYBODY, port.mac_address):
        _divert_requests(draft, f"arp,{network},reg9=0,dl_dst={mac},{request}")
    _divert(draft, 112, f"ct_state=-rpl,ip,{network},reg9=0,nw_dst={item.address}")
    local(10, f"arp,{network},{request}", _answer(port.mac_address, item.address))
    # The owner announces itself, or a guest that is to be it asks whether anybody is.
    for source in (item.address, "0.0.0.0"):
        local(12, f"arp,{network},arp_spa={source},{request}", LOCAL_IP_DONE)
    if item.is_translated:
        local(13, f"arp,{sender},{request}", LOCAL_IP_DONE)
        _add_translation(draft, port, item, network)
    else:
        local(13, f"arp,{sender},{request}", "drop")
        local(10, to_it, f"set_field:{port.mac_address}->eth_dst,{LOCAL_IP_DONE}")
        _divert_requests(draft, f"arp,{sender},reg9=0,arp_spa={item.address}")
        said = f"arp,{sender},arp_spa={item.address}"
        local(14, f"{said},arp_op=1", f"set_field:{item.fixed_ip}->arp_spa,{LOCAL_IP_DONE}")
        local(14, f"{said},arp_op=2", "drop")


def _add_translation(draft: Draft, port: IntentPort, item: PortLocalIp, network: str) -> None:
    zone = _zone(port, item)
    sender = f"ip,reg5={port.ofport:#x},{network}"
    to_it = f"ip,{network},nw_dst={item.address}"
    again = f"set_field:0x2->reg9,ct(table={LOCAL_IP},zone={zone}"
    translated = f"set_field:{port.mac_address}->eth_dst,set_field:0x2->reg9,"
    translated += f"ct(commit,table={LOCAL_IP},zone={zone},nat(dst={item.fixed_ip}))"
    draft.flow(INTEGRATION, LOCAL_IP, 12, f"{sender},nw_dst={item.address}", LOCAL_IP_DONE)
    # What a filtered sender begins is tracked under the local address, as its rules see it, before it is translated.
    draft.flow(INTEGRATION, LOCAL_IP, 11, f"{_NEW},{to_it}", f"ct(commit,zone={CT_ZONE}),{translated}")
    draft.flow(INTEGRATION, LOCAL_IP, 11, f"{_FORBIDDEN_ONCE},{to_it}", f"{UNMARK},{translated}")
    draft.flow(INTEGRATION, LOCAL_IP, 10, to_it, translated)
    # Answers; of a port that is not filtered, nobody knows yet what is one.
    for state in ("ct_state=+rpl+trk", "ct_state=-trk"):
        _divert(draft, 110, f"{state},{sender},reg9=0,nw_src={item.fixed_ip}")
    draft.flow(INTEGRATION, LOCAL_IP, 9, f"{sender},nw_src={item.fixed_ip}", f"{again},nat)")
    draft.datapath.append(rows.DatapathSetting(f"ct-limit-{zone}", CONNECTION_LIMIT))


def _divert(draft: Draft, priority: int, match: str) -> None:
    draft.flow(INTEGRATION, ACCEPT_OR_INGRESS, priority, match, f"resubmit(,{LOCAL_IP})")


def _divert_requests(draft: Draft, match: str) -> None:
    """ARP of filtered ports does not come to 73; in 94 it is together with that of other hosts, which have no reg5."""
    _divert(draft, 112, match)
    draft.flow(INTEGRATION, ACCEPTED_EGRESS_NORMAL, 10, match, f"resubmit(,{LOCAL_IP})")


def _answer(mac: str, address: str) -> str:
    return (
        f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        f"set_field:{mac}->arp_sha,set_field:{address}->arp_spa,IN_PORT"
    )


def _zone(port: IntentPort, item: PortLocalIp) -> int:
    """The same for as long as port and address are; two may share one, and then their connections' room.

    What was translated to an address that the port no longer has is in a zone that nobody asks.
    """
    words = f"{port.id}/{item.fixed_ip}".encode()
    return _FIRST_ZONE + int.from_bytes(hashlib.sha256(words).digest()[:4], "big") % (_LAST_ZONE - _FIRST_ZONE + 1)
