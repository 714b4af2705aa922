"""What lies between stacks: taps, Linux bridges with their filter, the bridges of the switch, wires and tunnels.

`Fabric` belongs to one trace: switches learn, connections are noted, neighbours are told. A frame to many goes all its
ways, one after the other.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal

from deuteron.model.intent import IntentPort
from deuteron.net import rows
from deuteron.net.pipeline import TABLES, BridgeKind
from deuteron.net.plan import names
from deuteron.net.plan.addresses import link_local
from deuteron.trace import kernel, linuxbridge
from deuteron.trace.hops import Dropped, Ending, Hop, Step
from deuteron.trace.iptables import Passing
from deuteron.trace.packet import Packet, is_multicast
from deuteron.trace.stack import Device, Stack
from deuteron.trace.stacks import Besides, advertisers, guest_name, guest_stack, namespace_stack, outside_stack
from deuteron.trace.switch import Met, Switch
from deuteron.trace.tracking import Tracker, begun
from deuteron.trace.unknown import Unknown
from deuteron.trace.world import Machine, Object, World

_TUNNELS: Final = ("vxlan", "gre", "geneve")
_TABLE_NAMES: Final = {(table.bridge, table.number): table.name for table in TABLES}
_DEEPEST: Final = 200
"""Frames within frames, before a circle of bridges is a circle."""


class Fabric:
    def __init__(self, world: World) -> None:
        self.world = world
        self._trackers: dict[str, Tracker] = {}
        self._switches: dict[tuple[str, str], Switch] = {}
        self.stacks: dict[tuple[str, str], Stack] = {}
        self._sent: Packet | None = None
        self._depth = 0

    # --- stacks -------------------------------------------------------------------------------------------------------

    def namespace(self, machine: Machine, name: str) -> Stack:
        key = (machine.name, name)
        if key not in self.stacks:
            self.stacks[key] = namespace_stack(machine, name)
        return self.stacks[key]

    def guest(
        self, machine: Machine, port: IntentPort, more: tuple[str, ...] = (), gateway: str | None = None
    ) -> Stack:
        """The guest of a port; what it has besides is said the first time."""
        own = port
        if port.trunk is not None and port.trunk.segmentation_id:
            port = machine.intent.ports.get(port.trunk.parent_id, port)
        key = (machine.name, guest_name(port))
        if key not in self.stacks:
            self.stacks[key] = guest_stack(machine, port, self._advertised, Besides(own.id, more, gateway))
        return self.stacks[key]

    @cached_property
    def outside(self) -> Stack:
        return outside_stack(self.world)

    @cached_property
    def _advertised(self) -> dict[str, str]:
        return advertisers(self.world.machines.values())

    # --- one packet ---------------------------------------------------------------------------------------------------

    def send(self, stack: Stack, packet: Packet, step: Step) -> list[Ending]:
        """Where a packet of a stack ends. Raises: Unknown."""
        self._sent = packet
        return kernel.send(self, stack, packet, step)

    def emit(self, stack: Stack, device: Device, packet: Packet, step: Step) -> list[Ending]:
        """Where a frame that a device sends ends; of a frame to one that nobody takes, at the device."""
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                return [Dropped(step, "hops", stack.host, packet, device.port_id, stack=stack.name, device=device.name)]
            found = self._emit(stack, device, packet, step)
        finally:
            self._depth -= 1
        if not found and not is_multicast(packet.dst_mac):
            return [Dropped(step, "address", stack.host, packet, device.port_id, stack=stack.name, device=device.name)]
        return found

    def _emit(self, stack: Stack, device: Device, packet: Packet, step: Step) -> list[Ending]:
        if stack.sort == "outside" and ("outside", device.wire) in self.world.cut:
            return [Dropped(step, "host", "outside", packet, device=device.wire, rule="link")]
        if stack.sort == "outside":
            return self.wire(device.wire, "outside", packet.but(vlan=device.vlan), step)
        machine = self.world.machines[stack.host]
        if not machine.is_running:
            return [Dropped(step, "host", stack.host, packet, device.port_id, "egress", stack=stack.name)]
        pair = machine.host_ends.get((stack.name, device.name)) if stack.sort == "namespace" else None
        if pair is not None:
            return linuxbridge.from_namespace(self, machine, pair, packet, step)
        far = machine.far_ends.get((stack.name, device.name)) if stack.sort == "namespace" else None
        if far is not None:
            other = self.namespace(machine, far[0])
            return self._deliver(other, other.devices[far[1]], packet, step) if far[1] in other.devices else []
        if stack.sort == "namespace":
            return self._into(machine, machine.ports[device.name], packet, step)
        server = self._server(stack)
        if server is not None:
            return [Dropped(step, "guest", stack.host, packet, device.port_id, "egress", stack=stack.name, rule=server)]
        port = machine.intent.ports[device.port_id or ""]
        below = port
        if port.trunk is not None and port.trunk.segmentation_id:
            below = machine.intent.ports[port.trunk.parent_id]
        return self._from_guest(machine, below, packet.but(vlan=device.vlan), step)

    def _server(self, stack: Stack) -> str | None:
        """The state of a guest's server in which it neither sends nor receives."""
        if stack.about is None or stack.about[0] != "server":
            return None
        guest = self.world.guests.get(stack.about[1])
        return None if guest is None or guest.state == "ACTIVE" else guest.state

    def _from_guest(self, machine: Machine, port: IntentPort, packet: Packet, step: Step) -> list[Ending]:
        tap, qvo = names.tap_name(port.id), names.qvo_name(port.id)
        step = step.then(Hop(machine.name, tap, "", frame_words("the guest sends", packet), ("port", port.id)))
        if tap in machine.ports:
            return self._into(machine, machine.ports[tap], packet, step)
        if qvo in machine.ports:
            return self._qbr(machine, port, packet, step, tap, names.qvb_name(port.id))
        bridge = linuxbridge.bridge_of(machine, tap)
        if bridge is not None:
            return linuxbridge.through(self, machine, bridge, tap, packet, step)
        return [Dropped(step, "bridge", machine.name, packet, port.id, "egress", device=tap)]

    def to_namespace(self, machine: Machine, namespace: str, device: str, packet: Packet, step: Step) -> list[Ending]:
        stack = self.namespace(machine, namespace)
        return self._deliver(stack, stack.devices[device], packet, step)

    # --- bridges ------------------------------------------------------------------------------------------------------

    def _into(self, machine: Machine, port: rows.OvsPort, packet: Packet, step: Step) -> list[Ending]:
        """A frame comes into a bridge of the switch by a port of it."""
        key = (machine.name, port.bridge)
        if key not in self._switches:
            tracker = self._trackers.setdefault(machine.name, Tracker())
            self._switches[key] = Switch(port.bridge, machine.bridges[port.bridge], machine.flows[port.bridge], tracker)
        outputs, ended = self._switches[key].through(packet, port.ofport_request)
        found: list[Ending] = []
        for each in ended:
            found.append(self._ended(machine, port.bridge, each.met, each.packet, step))
        onward, met = step, None
        for output in outputs:
            if output.met is not met:  # what is flooded met the same
                onward, met = self._steps(machine, port.bridge, output.met, step), output.met
            found += self._leave(machine, output.port, output.packet, onward)
        return found

    def _steps(self, machine: Machine, bridge: str, met: tuple[Met, ...], step: Step) -> Step:
        for each in met:
            place = f"{bridge} table {each.table} {_TABLE_NAMES.get((_kind(bridge), each.table), '')}".strip()
            rule = "" if each.flow is None else flow_text(each.flow)
            step = step.then(Hop(machine.name, place, rule, ", ".join(each.says), machine.about(bridge, each.work)))
        return step

    def _ended(self, machine: Machine, bridge: str, met: tuple[Met, ...], packet: Packet, step: Step) -> Dropped:
        """The table that decided is the last before that of what was refused."""
        decided = next((each for each in reversed(met) if each.table != 93), met[-1])
        about = machine.about(bridge, decided.work)
        rule = "" if decided.flow is None else flow_text(decided.flow)
        ingress = decided.table in (81, 82, 92)
        return Dropped(
            self._steps(machine, bridge, met, step),
            "flow",
            machine.name,
            packet,
            about[1] if about is not None and about[0] == "port" else None,
            "ingress" if ingress else "egress",
            decided.table,
            bridge,
            device=machine.bridges[bridge][decided.work.in_port].name,
            rule=rule,
        )

    def _leave(self, machine: Machine, port: rows.OvsPort, packet: Packet, step: Step) -> list[Ending]:
        """A frame leaves a bridge of the switch by a port of it."""
        options = dict(port.options)
        if port.type == "patch":
            return self._into(machine, machine.ports[options["peer"]], packet, step)
        if port.type == "internal":
            if port.namespace == rows.HOST:
                return []
            stack = self.namespace(machine, port.namespace)
            return self._deliver(stack, stack.devices[port.name], packet, step)
        if port.type in _TUNNELS:
            options = dict(port.options)
            return self.tunnel(machine, port.name, port.type, options["local_ip"], options["remote_ip"], packet, step)
        bridge = machine.physical.get(port.name)
        if bridge == port.bridge:
            if (machine.name, port.name) in self.world.cut:
                return [Dropped(step, "host", machine.name, packet, device=port.name, rule="link")]
            found: list[Ending] = []
            for wire in machine.wires(bridge):
                onward = step.then(
                    Hop(machine.name, port.name, "", frame_words(f"on the wire of physical network {wire}", packet))
                )
                found += self.wire(wire, machine.name, packet, onward)
            return found
        return self._to_device(machine, port, packet, step)

    def _to_device(self, machine: Machine, port: rows.OvsPort, packet: Packet, step: Step) -> list[Ending]:
        owner = machine.intent.ports.get(dict(port.external_ids).get("iface-id", ""))
        if owner is None:
            raise Unknown("a port of nobody", port.name)
        tap, qvb = names.tap_name(owner.id), names.qvb_name(owner.id)
        if port.name == tap:
            return self.to_guest(machine, owner, packet, step)
        if port.name == names.qvo_name(owner.id):
            return self._qbr(machine, owner, packet, step, qvb, tap)
        if port.name == names.trunk_side(owner.id, is_parent=False):
            return self._qbr(machine, owner, packet, step, tap, qvb)
        raise Unknown("a device", port.name)

    def _qbr(self, machine: Machine, port: IntentPort, packet: Packet, step: Step, came: str, to: str) -> list[Ending]:
        """Through the Linux bridge of a port, where iptables sees what is IP and has no tag."""
        about = ("port", port.id)
        qbr = names.qbr_name(port.id)
        step = step.then(Hop(machine.name, qbr, "", f"from {came} to {to}", about))
        if packet.kind != "arp" and not packet.vlan:
            outcome = self._filtered(machine, port, packet, step, qbr, came, to)
            if isinstance(outcome, Dropped):
                return [outcome]
            step = outcome
        if to == names.qvb_name(port.id):
            return self._into(machine, machine.ports[names.qvo_name(port.id)], packet, step)
        subport = machine.ports.get(names.trunk_side(port.id, is_parent=False))
        if subport is not None:
            return self._into(machine, subport, packet, step)
        return self.to_guest(machine, port, packet, step)

    def _filtered(
        self, machine: Machine, port: IntentPort, packet: Packet, step: Step, qbr: str, came: str, to: str
    ) -> Dropped | Step:
        direction: Literal["egress", "ingress"] = "egress" if to == names.qvb_name(port.id) else "ingress"
        return self.filtered(machine, packet, step, (qbr, came, to), lambda *_: (port.id, direction), ("port", port.id))

    def filtered(
        self,
        machine: Machine,
        packet: Packet,
        step: Step,
        way: tuple[str, str, str],
        whose: linuxbridge.Whose,
        about: Object | None,
    ) -> Dropped | Step:
        """What iptables says of a packet on its way: a Linux bridge, by which device it came, and to which it goes.

        `whose` says by the ruling that drops it, and those before, at which port it ends.
        """
        bridge, came, to = way
        tables = machine.tables(rows.HOST, packet.family)
        passing = Passing(
            packet, in_device=bridge, out_device=bridge, physical_in=came, sets=machine.sets_in(rows.HOST)
        )
        tracker = self._trackers.setdefault(machine.name, Tracker())
        _, met = tables.ask("raw", "PREROUTING", passing)
        zone = ("kernel", passing.zone)
        known = tracker.find(zone, packet)
        if packet.is_resolution or not passing.is_tracked:
            passing.state = "UNTRACKED"
        elif known is not None and known.connection.is_answered:
            passing.state = "ESTABLISHED"
        passing.physical_out = to
        ruling, more = tables.ask("filter", "FORWARD", passing)
        for each in (*met, *more):
            does = {"CT": "sets the zone", "RETURN": "accepts", "ACCEPT": "accepts", "DROP": "drops"}[each.verdict]
            step = step.then(Hop(machine.name, f"{bridge} iptables", each.text, does, about))
        if ruling.verdict == "DROP":
            port_id, direction = whose(ruling, more)
            return Dropped(
                step, "rule", machine.name, packet, port_id, direction, ruling.chain, stack=bridge, device=came,
                rule=ruling.text,
            )  # fmt: skip
        if known is None and passing.state == "NEW":
            tracker.commit(zone, begun(packet))
        return step

    # --- between hosts ------------------------------------------------------------------------------------------------

    def wire(self, wire: str, sender: str, packet: Packet, step: Step) -> list[Ending]:
        """Everybody on a physical network hears what one sends."""
        found: list[Ending] = []
        for machine in self.world.machines.values():
            bridge = machine.settings.bridge_mappings.get(wire)
            interface = machine.settings.bridge_ports.get(bridge or "")
            if machine.name == sender or interface is None:
                continue
            if interface not in machine.ports and not machine.has_linux_bridges:
                continue
            if not machine.is_running:
                found.append(Dropped(step, "host", machine.name, packet, device=interface))
            elif (machine.name, interface) in self.world.cut:
                found.append(Dropped(step, "host", machine.name, packet, device=interface, rule="link"))
            else:
                onward = step.then(Hop(machine.name, interface, "", frame_words("from the wire", packet)))
                if machine.has_linux_bridges:
                    found += linuxbridge.from_wire(self, machine, interface, packet, onward)
                else:
                    found += self._into(machine, machine.ports[interface], packet, onward)
        if sender != "outside" and wire in self.world.outside_wires and ("outside", wire) in self.world.cut:
            found.append(Dropped(step, "host", "outside", packet, device=wire, rule="link"))
        elif sender != "outside" and wire in self.world.outside_wires:
            for device in self.outside.devices.values():
                if (device.wire, device.vlan) == (wire, packet.vlan):
                    found += self._deliver(self.outside, device, packet.but(vlan=0), step)
        return found

    def tunnel(
        self, machine: Machine, name: str, kind: str, local_ip: str, remote_ip: str, packet: Packet, step: Step
    ) -> list[Ending]:
        """A frame leaves by a tunnel, with its number."""
        for peer in self.world.machines.values():
            if peer.settings.tunnel_ip != remote_ip:
                continue
            step = step.then(
                Hop(machine.name, name, "", f"{kind} with VNI {packet.tun_id} from {local_ip} to {remote_ip}")
            )
            if not peer.is_running:
                return [Dropped(step, "host", peer.name, packet, device=name)]
            for each in (machine, peer):
                for interface in each.tunnel_interfaces:
                    if (each.name, interface) in self.world.cut:
                        return [Dropped(step, "host", each.name, packet, device=interface, rule="link")]
            device = linuxbridge.tunnel_end(peer, kind, packet.tun_id)
            if device is not None:
                return linuxbridge.from_tunnel(self, peer, device, packet, step)
            for other in peer.bridges.get("br-tun", {}).values():
                if other.type == kind and dict(other.options)["remote_ip"] == local_ip:
                    return self._into(peer, other, packet, step.then(Hop(peer.name, other.name, "", "from the tunnel")))
            return [Dropped(step, "tunnel", peer.name, packet, device=name)]
        return [Dropped(step, "tunnel", machine.name, packet, device=name)]

    def to_guest(self, machine: Machine, port: IntentPort, packet: Packet, step: Step) -> list[Ending]:
        if is_multicast(packet.dst_mac) and not self.concerns(machine, port, packet):
            return []
        stack = self.guest(machine, port)
        for device in stack.devices.values():
            mine = device.port_id == port.id
            if device.vlan == packet.vlan and (mine or self._is_in_trunk(machine, device.port_id, port)):
                tap = Hop(machine.name, names.tap_name(port.id), "", "to the guest", ("port", device.port_id or ""))
                return self._deliver(stack, device, packet.but(vlan=0), step.then(tap))
        return []

    def concerns(self, machine: Machine, port: IntentPort, packet: Packet) -> bool:
        """Whether a question that all hear is about an address of this guest; of most it is not."""
        if not packet.is_resolution:
            return False
        if (machine.name, guest_name(port)) in self.stacks:
            return True
        wanted = packet.destination if packet.kind == "arp" else packet.nd_target
        subports = port.trunk.subports if port.trunk is not None else ()
        devices = [port, *(machine.intent.ports[id] for id in subports if id in machine.intent.ports)]
        return any(
            wanted in (*(item.ip_address for item in each.fixed_ips), link_local(each.mac_address)) for each in devices
        )

    @staticmethod
    def _is_in_trunk(machine: Machine, port_id: str | None, parent: IntentPort) -> bool:
        port = machine.intent.ports.get(port_id or "")
        return port is not None and port.trunk is not None and port.trunk.parent_id == parent.id

    def _deliver(self, stack: Stack, device: Device, packet: Packet, step: Step) -> list[Ending]:
        server = self._server(stack)
        if server is not None:
            is_for_it = packet.dst_mac == device.mac or packet.is_resolution
            ended = Dropped(step, "guest", stack.host, packet, device.port_id, "ingress", stack=stack.name, rule=server)
            return [ended] if is_for_it else []
        if packet.vlan:
            return []
        return kernel.receive(self, stack, device, packet, step, self._sent or packet)


def _kind(bridge: str) -> BridgeKind:
    if bridge == "br-int":
        return "integration"
    if bridge == "br-tun":
        return "tunnel"
    return "trunk" if bridge.startswith("tbr-") else "physical"


def flow_text(flow: rows.Flow) -> str:
    """As ovs-ofctl prints it."""
    match = f",{flow.match}" if flow.match else ""
    return f"table={flow.table},priority={flow.priority}{match} actions={flow.actions}"


def frame_words(words: str, packet: Packet) -> str:
    return f"{words}, tag {packet.vlan}" if packet.vlan else words
