"""`ofproto/trace`: a frame in the words of ovs-ofctl, and what the switch says of it beside what is planned.

Source: ovs-fields(7), ovs-vswitchd(8); openvswitch/ovs ofproto/ofproto-dpif-trace.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from deuteron.net.rows import OvsPort
from deuteron.trace.hops import Hop
from deuteron.trace.packet import ICMP, SCTP, TCP, UDP, Packet

_BRIDGE = re.compile(r'\s*bridge\("(.+)"\)$')
_ENTRY = re.compile(r"\s*(\d+)\. (?:(.*), )?priority (\d+)")
_NO_ENTRY = re.compile(r"\s*(\d+)\. No match")
_FORKED = re.compile(r"forked pipeline will be resumed at table \d+")
_RULE = re.compile(r"table=(\d+),priority=(\d+)")
_AFTER_THE_DECISION = (92, 93)
"""Tables that note what was decided: of what was output already, the switch says nothing of them."""


class Met(NamedTuple):
    """An entry of a switch that a frame meets; of a table without one, `priority` is None."""

    bridge: str
    table: int
    priority: int | None
    match: str

    @property
    def words(self) -> str:
        if self.priority is None:
            return f"{self.bridge} table {self.table} has nothing for it"
        match = f",{self.match}" if self.match else ""
        return f"{self.bridge} table={self.table},priority={self.priority}{match}"


def said(in_port: int, packet: Packet) -> str:
    """The frame in the words of ovs-ofctl."""
    words = [f"in_port={in_port}", f"dl_src={packet.src_mac}", f"dl_dst={packet.dst_mac}"]
    if packet.tun_id:
        words.append(f"tun_id={packet.tun_id:#x}")
    if packet.vlan:
        words.append(f"dl_vlan={packet.vlan}")
    if packet.kind == "arp":
        told = f"arp_op={packet.protocol},arp_spa={packet.source},arp_tpa={packet.destination},arp_sha={packet.mac}"
        return ",".join([*words, "arp", told])
    six = packet.kind == "ipv6"
    plain = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", 58: "icmp"}[packet.protocol]
    ends = ("ipv6_src", "ipv6_dst") if six else ("nw_src", "nw_dst")
    name = plain + ("6" if six else "")
    words += [name, f"{ends[0]}={packet.source}", f"{ends[1]}={packet.destination}", f"nw_ttl={packet.ttl}"]
    if packet.protocol in (TCP, UDP, SCTP):
        words += [f"{plain}_src={packet.sport}", f"{plain}_dst={packet.dport}"]
    else:
        word = "icmpv6" if six else "icmp"
        words += [f"{word}_type={packet.sport}", f"{word}_code={packet.dport}"]
    if packet.nd_target:
        words.append(f"nd_target={packet.nd_target}")
    return ",".join(words)


def came_by(port: OvsPort, packet: Packet) -> str:
    """What the switch knows of a frame that comes in by a port, beside the frame itself."""
    words = f"in_port={port.ofport_request}"
    if not packet.tun_id:
        return words
    options = dict(port.options)
    # Without its ends, ovs-vswitchd takes the number of a tunnel for none (lib/flow.c, pkt_metadata_from_flow).
    return f"{words},tun_id={packet.tun_id:#x},tun_src={options['remote_ip']},tun_dst={options['local_ip']}"


def met_there(text: str) -> list[Met]:
    """The entries in the text of `ofproto/trace`, which shows bridges within bridges.

    What goes on after connection tracking is shown apart, in the order in which it was sent there, under the name of
    the bridge where the frame came in first: which one it is, is known from where it was sent there.
    """
    found: list[Met] = []
    within: list[tuple[int, str]] = []
    forked: list[str] = []
    for line in text.splitlines():
        level = (len(line) - len(line.lstrip())) // 4
        bridge = _BRIDGE.match(line)
        if bridge:
            within = [each for each in within if each[0] < level] + [(level, bridge[1])]
            continue
        if _FORKED.search(line) and within:
            forked.append(within[-1][1])
        elif line.strip() == "thaw" and forked and within:
            within[-1] = (within[-1][0], forked.pop(0))
        entry, nothing = _ENTRY.match(line), _NO_ENTRY.match(line)
        if entry is None and nothing is None:
            continue
        within = [each for each in within if each[0] <= level]
        if within and entry is not None:
            found.append(Met(within[-1][1], int(entry[1]), int(entry[3]), entry[2] or ""))
        elif within and nothing is not None:
            found.append(Met(within[-1][1], int(nothing[1]), None, ""))
    return found


class Parting(NamedTuple):
    """Where a switch goes on otherwise than planned."""

    hop: Hop
    """Planned."""
    live: str


def parting(planned: Sequence[Hop], met: Sequence[Met]) -> Parting | None:
    """The first planned entry that the frame does not meet in the switch, with what it meets there instead.

    The switch may meet more: a frame whose station it does not know goes to all.
    """
    there = {(each.bridge, each.table, each.priority) for each in met}
    before = None
    for hop in planned:
        bridge, _, rest = hop.place.partition(" table ")
        rule = _RULE.match(hop.rule)
        if rule is None or int(rule[1]) in _AFTER_THE_DECISION:
            continue
        table, priority = int(rule[1]), int(rule[2])
        if (bridge, table, priority) not in there:
            instead = next((each for each in met if (each.bridge, each.table) == (bridge, table)), None)
            if instead is not None:
                return Parting(hop, instead.words)
            return Parting(hop, f"it does not come to {bridge} table {table}{f', after {before}' if before else ''}")
        before = f"{bridge} table {rest.split(' ')[0]}"
    return None
