"""The Linux bridges of networks, as `net.plan.linuxbridge` plans them: guards, iptables, and the ways in and out.

A bridge learns, so a frame to one station goes to its device alone; a frame to many goes to all others. VLAN devices
are told as what they are, also where the switch puts the tags on for want of them: the frames on the wire are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

from deuteron.model.intent import IntentPort
from deuteron.net import bridge_rows, rows
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs
from deuteron.net.plan.draft import is_of_network
from deuteron.trace.hops import Dropped, Ending, Hop, Step
from deuteron.trace.iptables import Ruling
from deuteron.trace.packet import ADVERTISEMENT, Packet, is_multicast, within
from deuteron.trace.world import Machine, Object, World

GUARD_CHAINS: Final = ("neutronMAC-", "neutronARP-")
Direction = Literal["egress", "ingress"]
Whose = Callable[[Ruling, list[Ruling]], tuple[str, Direction]]


class Fabric(Protocol):
    """What lies around the bridges."""

    @property
    def world(self) -> World: ...

    def concerns(self, machine: Machine, port: IntentPort, packet: Packet) -> bool: ...

    def to_guest(self, machine: Machine, port: IntentPort, packet: Packet, step: Step) -> list[Ending]: ...

    def to_namespace(
        self, machine: Machine, namespace: str, device: str, packet: Packet, step: Step
    ) -> list[Ending]: ...

    def wire(self, wire: str, sender: str, packet: Packet, step: Step) -> list[Ending]: ...

    def tunnel(
        self, machine: Machine, name: str, kind: str, local_ip: str, remote_ip: str, packet: Packet, step: Step
    ) -> list[Ending]: ...

    def filtered(
        self,
        machine: Machine,
        packet: Packet,
        step: Step,
        way: tuple[str, str, str],
        whose: Whose,
        about: Object | None,
    ) -> Dropped | Step: ...


def bridge_of(machine: Machine, device: str) -> str | None:
    """The Linux bridge of a network that a device is in."""
    link = machine.links.get((rows.HOST, device))
    return link.master if link is not None and machine.has_linux_bridges else None


def through(fabric: Fabric, machine: Machine, bridge: str, came: str, packet: Packet, step: Step) -> list[Ending]:
    """Where a frame ends that comes into a bridge by one of its devices."""
    step = step.then(Hop(machine.name, bridge, "", f"from {came}", _network(machine, bridge)))
    refusal = _guarded(machine, bridge, came, packet, step)
    if refusal is not None:
        return [refusal]
    found: list[Ending] = []
    for link in _targets(fabric, machine, bridge, came, packet):
        onward = _passed(fabric, machine, (bridge, came, link.name), packet, step)
        found += [onward] if isinstance(onward, Dropped) else _out(fabric, machine, link, packet, onward)
    return found


def from_namespace(fabric: Fabric, machine: Machine, pair: rows.Link, packet: Packet, step: Step) -> list[Ending]:
    """A frame of DHCP or of a router comes into the bridge of its network; of one that is down, nowhere."""
    assert pair.master is not None  # one without a bridge is not planned
    if not pair.up:
        port = _port(machine, pair.name)
        port_id = None if port is None else port.id
        return [Dropped(step, "bridge", machine.name, packet, port_id, "egress", device=pair.name)]
    return through(fabric, machine, pair.master, pair.name, packet, step)


def from_wire(fabric: Fabric, machine: Machine, interface: str, packet: Packet, step: Step) -> list[Ending]:
    """A frame comes in by an interface: into the bridge that has it, or the device of its VLAN."""
    for bridge, members in sorted(machine.members.items()):
        for link in members:
            is_flat = link.name == interface and not packet.vlan
            is_vlan = link.kind == "vlan" and (link.parent, link.vlan_id) == (interface, packet.vlan)
            if is_flat or is_vlan:
                return through(fabric, machine, bridge, link.name, packet.but(vlan=0), step)
    return []


def tunnel_end(machine: Machine, kind: str, vni: int) -> rows.Link | None:
    """The VXLAN device with a number."""
    devices = (link for members in machine.members.values() for link in members if link.kind == "vxlan")
    return next((link for link in devices if link.vni == vni), None) if kind == "vxlan" else None


def from_tunnel(fabric: Fabric, machine: Machine, device: rows.Link, packet: Packet, step: Step) -> list[Ending]:
    """A frame comes in by a VXLAN device."""
    assert device.master is not None  # one without a bridge is not planned
    step = step.then(Hop(machine.name, device.name, "", "from the tunnel"))
    return through(fabric, machine, device.master, device.name, packet.but(tun_id=0, vlan=0), step)


def _targets(fabric: Fabric, machine: Machine, bridge: str, came: str, packet: Packet) -> list[rows.Link]:
    others = [link for link in machine.members[bridge] if link.name != came and link.up]
    if is_multicast(packet.dst_mac):
        return [link for link in others if _hears(fabric, machine, link, packet)]
    holders = [link for link in others if packet.dst_mac in _macs(machine, link)]
    # One that no port here has is elsewhere, or nobody's.
    return holders or [link for link in others if _port(machine, link.name) is None]


def _hears(fabric: Fabric, machine: Machine, link: rows.Link, packet: Packet) -> bool:
    if link.peer_namespace is not None:
        return True
    port = _port(machine, link.name)
    return port is None or fabric.concerns(machine, port, packet)


def _macs(machine: Machine, link: rows.Link) -> list[str]:
    port = _port(machine, link.name)
    return [] if port is None else allowed_macs(port)


def _out(fabric: Fabric, machine: Machine, link: rows.Link, packet: Packet, step: Step) -> list[Ending]:
    if link.peer_namespace is not None and link.peer is not None:
        return fabric.to_namespace(machine, link.peer_namespace, link.peer, packet, step)
    port = _port(machine, link.name)
    if port is not None:
        return fabric.to_guest(machine, port, packet, step)
    if link.kind == "vxlan":
        known = (
            machine.endpoints.get((link.name, packet.dst_mac)) or machine.endpoints[link.name, bridge_rows.NOBODY_KNOWN]
        )
        found: list[Ending] = []
        for tunnel_ip in known:
            sent = packet.but(tun_id=link.vni or 0)
            found += fabric.tunnel(machine, link.name, "vxlan", link.local_ip or "", tunnel_ip, sent, step)
        return found
    interface = link.parent or link.name
    if (machine.name, interface) in fabric.world.cut:
        return [Dropped(step, "host", machine.name, packet, device=interface, rule="link")]
    found = []
    tagged = packet.but(vlan=link.vlan_id or 0)
    words = f", tag {tagged.vlan}" if tagged.vlan else ""
    for wire in machine.wires(machine.physical[interface]):
        onward = step.then(Hop(machine.name, link.name, "", f"on the wire of physical network {wire}{words}"))
        found += fabric.wire(wire, machine.name, tagged, onward)
    return found


# --- what stops it ----------------------------------------------------------------------------------------------------


def _guarded(machine: Machine, bridge: str, came: str, packet: Packet, step: Step) -> Dropped | None:
    guard, port = machine.guards.get(came), _port(machine, came)
    if guard is None:
        return None
    chain, rule = f"{GUARD_CHAINS[0]}{came}", ""
    if packet.vlan:
        rule = "ether type { 8021q, 8021ad } drop"
    elif guard.macs and packet.src_mac not in guard.macs:
        rule = f"ether saddr != {{ {', '.join(guard.macs)} }} drop"
    elif guard.macs:
        chain = f"{GUARD_CHAINS[1]}{came}"
        claimed = _claimed(packet)
        if claimed is not None and not any(within(claimed, address) for address in guard.addresses):
            rule = "ether type arp drop" if packet.kind == "arp" else "icmpv6 type nd-neighbor-advert drop"
    if not rule:
        return None
    step = step.then(Hop(machine.name, f"{bridge} nftables", f"{chain}: {rule}", "drops", _about(port)))
    port_id = None if port is None else port.id
    return Dropped(
        step, "rule", machine.name, packet, port_id, "egress", chain, stack=bridge, device=came, rule=rule
    )  # fmt: skip


def _claimed(packet: Packet) -> str | None:
    """The address that a frame says to be its sender's."""
    if packet.kind == "arp":
        return packet.source
    return packet.nd_target if packet.is_resolution and packet.sport == ADVERTISEMENT else None


def _passed(fabric: Fabric, machine: Machine, way: tuple[str, str, str], packet: Packet, step: Step) -> Dropped | Step:
    """Past iptables, which sees what is IP."""
    _, came, to = way
    if packet.kind == "arp":
        return step
    sender, receiver = _port(machine, came), _port(machine, to)

    def whose(ruling: Ruling, met: list[Ruling]) -> tuple[str, Direction]:
        """The sender's chain is asked before the receiver's."""
        passed = {each.chain for each in met if each.verdict == "RETURN"}
        is_filtered = sender is not None and sender.port_security_enabled and not is_of_network(sender)
        if sender is not None and is_filtered and names.port_chain("o", sender.id, "linuxbri") not in passed:
            return sender.id, "egress"
        assert receiver is not None  # only chains of the two drop
        return receiver.id, "ingress"

    return fabric.filtered(machine, packet, step, way, whose, _about(receiver or sender))


# --- whose it is ------------------------------------------------------------------------------------------------------


def _port(machine: Machine, device: str) -> IntentPort | None:
    if not device.startswith("tap"):
        return None
    return next((port for id, port in machine.intent.ports.items() if id.startswith(device[3:])), None)


def _about(port: IntentPort | None) -> Object | None:
    return None if port is None else ("port", port.id)


def _network(machine: Machine, bridge: str) -> Object | None:
    networks = machine.intent.networks.values()
    return next((("network", each.whole_id) for each in networks if names.brq_name(each.id) == bridge), None)
