"""The OpenFlow pipeline: every table that a flow of ours may live in or jump to, declared once.

Numbers and names are Neutron's (openstack/neutron, neutron/plugins/ml2/drivers/openvswitch/agent/common/constants.py),
so that what people know of `ovs-ofctl dump-flows br-int` stays true. The plan installs each table's miss rules from
here; the packet walk and the documentation read the same declaration.

One deliberate difference, "fail closed": Neutron's table 60 ends in NORMAL, ours in drop. A frame from a port that
the plan does not know goes nowhere; patch ports and ports of the cloud are named one by one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

BridgeKind = Literal["integration", "tunnel", "physical", "trunk"]

# br-int
LOCAL_SWITCHING = 0
DVR_TO_SRC_MAC = 1
DVR_TO_SRC_MAC_PHYSICAL = 2
CANARY = 23
ARP_SPOOF = 24
MAC_SPOOF = 25
LOCAL_EGRESS = 30
LOCAL_IP = 31
PACKET_RATE_LIMIT = 58
BANDWIDTH_RATE_LIMIT = 59
TRANSIENT = 60
NEXT_LIMIT = 61
TRANSIENT_EGRESS = 62
BASE_EGRESS = 71
RULES_EGRESS = 72
ACCEPT_OR_INGRESS = 73
BASE_INGRESS = 81
RULES_INGRESS = 82
ACCEPTED_EGRESS = 91
ACCEPTED_INGRESS = 92
DROPPED = 93
ACCEPTED_EGRESS_NORMAL = 94

# br-tun
DVR_PROCESS = 1
PATCH_TO_TUNNELS = 2
GRE_TO_LOCAL = 3
VXLAN_TO_LOCAL = 4
GENEVE_TO_LOCAL = 6
DVR_NOT_LEARN = 9
LEARN = 10
UNICAST_TO_TUNNELS = 20
FLOOD_TO_TUNNELS = 22

# physical bridges
DVR_PROCESS_PHYSICAL = 1
LOCAL_VLAN_TRANSLATION = 2

DVR_MACS = "fa:16:3f:00:00:00/ff:ff:ff:00:00:00"
"""With which hosts send what they have routed. Source: neutron, conf/services (`dvr_base_mac`)."""

# The tag of ports that are administratively down.
DEAD_VLAN = 4095

CT_ZONE = "NXM_NX_REG6[0..15]"
"""Connections are tracked per network: the zone is the local VLAN, which reg6 holds."""


class Miss(msgspec.Struct, frozen=True):
    """A rule of the table itself, belonging to no object."""

    priority: int
    actions: str
    match: str = ""


class Table(msgspec.Struct, frozen=True):
    bridge: BridgeKind
    number: int
    name: str
    purpose: str
    misses: tuple[Miss, ...]


def _goto(table: int) -> Miss:
    return Miss(0, f"goto_table:{table}")


_DROP = Miss(0, "drop")

_FRAGMENTED_DHCP_ANSWERS = tuple(
    Miss(
        95,
        f"resubmit(,{DROPPED})",
        f"ct_state={state}-inv+trk,ct_nw_proto=17,ct_tp_src={source},ct_tp_dst={to},{family}",
    )
    for family, server, client in (("ip", 67, 68), ("ipv6", 547, 546))
    for state, source, to in (("-rpl", server, client), ("+rpl", client, server))
)
"""A fragment shows no ports to the tables, so 71 cannot know it for an answer of a DHCP server; connection tracking,
which puts fragments together, can. Ports of a tracked connection are those of its first packet."""

LOCAL_IP_DONE = f"set_field:0x1->reg9,resubmit(,{ACCEPT_OR_INGRESS})"
"""On from table 31, never to come back."""

TO_MANY = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
"""Frames to a group of stations or to all."""

_PACKETS_TO_MANY = (
    f"ip,{TO_MANY},nw_dst=224.0.0.0/4",
    f"ip,{TO_MANY},nw_dst=255.255.255.255",
    f"ipv6,{TO_MANY},ipv6_dst=ff00::/8",
)
"""What IP may say to many; the plan adds the broadcast address of each subnet, within its network."""

TABLES: tuple[Table, ...] = (
    Table(
        "integration",
        LOCAL_SWITCHING,
        "LOCAL_SWITCHING",
        "Entry. A provider tag from a physical bridge becomes the local tag; ports that are down, and tags of no "
        "network, end here; with iptables_hybrid, ARP, neighbour advertisements and source MACs go to be checked.",
        (Miss(65535, "drop", f"dl_vlan={DEAD_VLAN}"), _goto(PACKET_RATE_LIMIT)),
    ),
    Table(
        "integration",
        DVR_TO_SRC_MAC,
        "DVR_TO_SRC_MAC",
        "From tunnels, what a distributed router of another host sent: a port of this host gets it from the MAC of the "
        "router.",
        (_goto(PACKET_RATE_LIMIT),),
    ),
    Table(
        "integration",
        DVR_TO_SRC_MAC_PHYSICAL,
        "DVR_TO_SRC_MAC_PHYSICAL",
        "The same from physical bridges.",
        (_goto(PACKET_RATE_LIMIT),),
    ),
    Table("integration", CANARY, "CANARY_TABLE", "Reserved: shows that our flows are installed.", (_DROP,)),
    Table(
        "integration",
        ARP_SPOOF,
        "ARP_SPOOF_TABLE",
        "iptables_hybrid: ARP and neighbour advertisements pass if they speak for an address of the port.",
        (_DROP,),
    ),
    Table(
        "integration",
        MAC_SPOOF,
        "MAC_SPOOF_TABLE",
        "iptables_hybrid: frames pass if their source is a MAC of the port.",
        (_DROP,),
    ),
    Table("integration", LOCAL_EGRESS, "LOCAL_EGRESS_TABLE", "Checked frames go on.", (_goto(PACKET_RATE_LIMIT),)),
    Table(
        "integration",
        LOCAL_IP,
        "LOCAL_IP_TABLE",
        "What ports of this host send to local IPs gets the address and the MAC of the port that such an address leads "
        "to, and its answers get the local address; ARP requests for it are answered. reg9 is 1 for what was here, 2 "
        "for what comes back from connection tracking.",
        (
            Miss(20, f"set_field:0x1->reg9,ct_clear,resubmit(,{ACCEPT_OR_INGRESS})", "reg9=0x2"),
            # From a patch port, as it would be without: not for 73.
            Miss(15, f"set_field:0x1->reg9,resubmit(,{ACCEPTED_EGRESS_NORMAL})", "arp,reg5=0"),
            Miss(0, LOCAL_IP_DONE),
        ),
    ),
    Table(
        "integration",
        PACKET_RATE_LIMIT,
        "PACKET_RATE_LIMIT",
        "Ports that obey a QoS policy: what they send passes the meter of their packets.",
        (_goto(BANDWIDTH_RATE_LIMIT),),
    ),
    Table(
        "integration",
        BANDWIDTH_RATE_LIMIT,
        "BANDWIDTH_RATE_LIMIT",
        "Ports that obey a QoS policy: what they send passes their meter and gets their mark; and addresses of routers "
        "that do.",
        (_goto(TRANSIENT),),
    ),
    Table(
        "integration",
        TRANSIENT,
        "TRANSIENT_TABLE",
        "Who is it: a port of the cloud (reg5 its port number, reg6 its network's local tag), a frame for a filtered "
        "port, or a frame from a patch port. Anything else is unknown and dropped.",
        (_DROP,),
    ),
    Table(
        "integration",
        NEXT_LIMIT,
        "NEXT_LIMIT_TABLE",
        "Of what has to pass several meters, as an OpenFlow entry has one: reg8 is the number of the next. Ours, not "
        "Neutron's.",
        (_DROP,),
    ),
    Table(
        "integration",
        TRANSIENT_EGRESS,
        "TRANSIENT_EGRESS_TABLE",
        "Reserved for accepted egress.",
        (Miss(3, "NORMAL"),),
    ),
    Table(
        "integration",
        BASE_EGRESS,
        "BASE_EGRESS_TABLE",
        "What a filtered port may send at all: its own MAC and addresses, DHCP requests, neighbour discovery; not "
        "DHCP answers nor router advertisements. The rest of IP goes through connection tracking.",
        (Miss(110, f"ct_clear,resubmit(,{BASE_EGRESS})", "ct_state=+trk"), _DROP),
    ),
    Table(
        "integration",
        RULES_EGRESS,
        "RULES_EGRESS_TABLE",
        "The egress rules of the port's security groups; before them, DHCP answers that came here in fragments.",
        (*_FRAGMENTED_DHCP_ANSWERS, Miss(50, f"resubmit(,{DROPPED})", "ct_state=+inv+trk"), _DROP),
    ),
    Table(
        "integration",
        ACCEPT_OR_INGRESS,
        "ACCEPT_OR_INGRESS_TABLE",
        "Accepted egress: to the ingress rules of a filtered port on this host, else committed and sent on.",
        (_DROP,),
    ),
    Table(
        "integration",
        BASE_INGRESS,
        "BASE_INGRESS_TABLE",
        "What a filtered port always receives: ARP, neighbour discovery, DHCP answers. IP goes through connection "
        "tracking.",
        (_DROP,),
    ),
    Table(
        "integration",
        RULES_INGRESS,
        "RULES_INGRESS_TABLE",
        "The ingress rules of the port's security groups.",
        (Miss(50, f"resubmit(,{DROPPED})", "ct_state=+inv+trk"), _DROP),
    ),
    Table(
        "integration",
        ACCEPTED_EGRESS,
        "ACCEPTED_EGRESS_TRAFFIC_TABLE",
        "New connections that were accepted on their way out; those of ports with a log are shown to the agent.",
        (Miss(1, f"resubmit(,{ACCEPTED_EGRESS_NORMAL})"),),
    ),
    Table(
        "integration",
        ACCEPTED_INGRESS,
        "ACCEPTED_INGRESS_TRAFFIC_TABLE",
        "New connections that were accepted on their way in; they were output already. Those of ports with a log are "
        "shown to the agent.",
        (_DROP,),
    ),
    Table(
        "integration",
        DROPPED,
        "DROPPED_TRAFFIC_TABLE",
        "What was refused; of ports with a log it is shown to the agent.",
        (_DROP,),
    ),
    Table(
        "integration",
        ACCEPTED_EGRESS_NORMAL,
        "ACCEPTED_EGRESS_TRAFFIC_NORMAL_TABLE",
        "Switched by MAC learning inside the network's VLAN, which reg6 holds. A frame to many stations passes no "
        "port's ingress rules, so IP in it has to be to many as well: a packet to one address is dropped (RFC 1122 "
        "section 3.3.6).",
        (
            *(Miss(3, "NORMAL", match) for match in _PACKETS_TO_MANY),
            *(Miss(2, f"resubmit(,{DROPPED})", f"{family},{TO_MANY}") for family in ("ip", "ipv6")),
            Miss(1, "NORMAL"),
        ),
    ),
    Table(
        "tunnel",
        LOCAL_SWITCHING,
        "LOCAL_SWITCHING",
        "Entry. From br-int to table 2, from a tunnel to the table of its type.",
        (_DROP,),
    ),
    Table(
        "tunnel",
        DVR_PROCESS,
        "DVR_PROCESS",
        "Networks of distributed routers: what is for the router stays on the host, and what it sends has the MAC of "
        "the host.",
        (_goto(PATCH_TO_TUNNELS),),
    ),
    Table(
        "tunnel",
        PATCH_TO_TUNNELS,
        "PATCH_LV_TO_TUN",
        "Unicast to table 20, multicast and broadcast to table 22.",
        (
            Miss(0, f"goto_table:{UNICAST_TO_TUNNELS}", "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"),
            Miss(0, f"goto_table:{FLOOD_TO_TUNNELS}", "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
        ),
    ),
    Table("tunnel", GRE_TO_LOCAL, "GRE_TUN_TO_LV", "From GRE: the key becomes the local tag.", (_DROP,)),
    Table("tunnel", VXLAN_TO_LOCAL, "VXLAN_TUN_TO_LV", "From VXLAN: the VNI becomes the local tag.", (_DROP,)),
    Table("tunnel", GENEVE_TO_LOCAL, "GENEVE_TUN_TO_LV", "From Geneve: the VNI becomes the local tag.", (_DROP,)),
    Table(
        "tunnel",
        DVR_NOT_LEARN,
        "DVR_NOT_LEARN",
        "Networks of distributed routers: nothing is learnt of the MACs with which hosts send what they routed.",
        (Miss(1, "output:1", f"dl_src={DVR_MACS}"), _goto(LEARN)),
    ),
    Table(
        "tunnel",
        LEARN,
        "LEARN_FROM_TUN",
        "Learns from which tunnel a MAC came, for 300 s, as a flow of table 20; then to br-int.",
        (
            Miss(
                1,
                f"learn(table={UNICAST_TO_TUNNELS},hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11],"
                "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],"
                "output:OXM_OF_IN_PORT[]),output:1",
            ),
        ),
    ),
    Table(
        "tunnel",
        UNICAST_TO_TUNNELS,
        "UCAST_TO_TUN",
        "One tunnel for a known MAC: planned (priority 2) or learned (priority 1).",
        (_goto(FLOOD_TO_TUNNELS),),
    ),
    Table("tunnel", FLOOD_TO_TUNNELS, "FLOOD_TO_TUN", "Every tunnel where the network has a port.", (_DROP,)),
    Table(
        "physical",
        LOCAL_SWITCHING,
        "LOCAL_SWITCHING",
        "The local tag becomes the provider tag on the way out; a tag of no network is dropped.",
        (Miss(0, "NORMAL"),),
    ),
    Table(
        "physical",
        DVR_PROCESS_PHYSICAL,
        "DVR_PROCESS_PHYSICAL",
        "Networks of distributed routers: as table 1 of br-tun.",
        (),
    ),
    Table(
        "physical",
        LOCAL_VLAN_TRANSLATION,
        "LOCAL_VLAN_TRANSLATION",
        "Their local tags become provider tags.",
        (),
    ),
    Table(
        "trunk",
        LOCAL_SWITCHING,
        "LOCAL_SWITCHING",
        "Between the guest's device and br-int: frames without a tag are the parent port's, those with the tag of a "
        "subport are its own, without the tag on br-int; no port has any other.",
        (Miss(0, "NORMAL"),),
    ),
)

GATEWAY_METERS, LOG_METERS, FLOATING_METERS = 1 << 20, 1 << 21, 1 << 24
"""The first numbers of the meters for routers' own addresses, for what logs are shown, and for floating IPs; below are
those of ports."""


def port_meter(ofport: int, place: int) -> int:
    """The number of one of the meters of a port, `place` 0 to 3."""
    return 4 * ofport + place


def gateway_meter(ofport: int, place: int) -> int:
    """Of the addresses that a router has on this gateway port, `place` 0 or 1."""
    return GATEWAY_METERS + 2 * ofport + place


def floating_meter(number: int, place: int) -> int:
    """Of the floating IP with this number, `place` 0 or 1."""
    return FLOATING_METERS + 2 * number + place


def log_meter(ofport: int) -> int:
    """Of the packets of a port that the agent is shown."""
    return LOG_METERS + ofport


def metered_ofport(meter: int) -> int | None:
    """The port that a meter is for; None for a floating IP's."""
    if meter < GATEWAY_METERS:
        return meter // 4
    if LOG_METERS <= meter < FLOATING_METERS:
        return meter - LOG_METERS
    return (meter - GATEWAY_METERS) // 2 if meter < FLOATING_METERS else None


PATCH_INT_OFPORT = 1
"""Port number of patch-int on br-tun; the learn action above outputs to it."""

TUNNEL_TABLE: dict[str, int] = {"gre": GRE_TO_LOCAL, "vxlan": VXLAN_TO_LOCAL, "geneve": GENEVE_TO_LOCAL}
"""Where frames from a tunnel of each type are decapsulated."""


def tables_of(bridge: BridgeKind) -> tuple[Table, ...]:
    """The tables of one kind of bridge, by number."""
    return tuple(sorted((table for table in TABLES if table.bridge == bridge), key=lambda table: table.number))


def describe() -> str:
    """The pipeline as Markdown, for the documentation."""
    titles: dict[BridgeKind, str] = {
        "integration": "br-int",
        "tunnel": "br-tun",
        "physical": "Physical bridges (br-ex, br-eth2, …)",
        "trunk": "Trunk bridges (tbr-…)",
    }
    lines = ["# The pipeline", "", "Generated from `deuteron.net.pipeline`.", ""]
    for kind, title in titles.items():
        lines += [f"## {title}", "", "| Table | Name | Purpose | Own rules |", "| ---: | --- | --- | --- |"]
        for table in tables_of(kind):
            rules = "<br>".join(f"`{_rule_text(miss)}`" for miss in table.misses)
            lines.append(f"| {table.number} | `{table.name}` | {table.purpose} | {rules} |")
        lines.append("")
    return "\n".join(lines)


def _rule_text(miss: Miss) -> str:
    match = f",{miss.match}" if miss.match else ""
    return f"priority={miss.priority}{match} actions={miss.actions}"
