"""What hosts say of the way of a packet: their switches, the routes of namespaces, and the rules that it meets."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping, Sequence

from deuteron.cli.onhost import NotThere, rule_traces
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import finish, start
from deuteron.net.kernel.ruletrace import steps
from deuteron.net.kernel.unixctl import SwitchControl
from deuteron.net.traced import Match, RuleKey
from deuteron.sandbox.cloud import State
from deuteron.sandbox.errors import SandboxError
from deuteron.trace.hops import Hop
from deuteron.trace.live import Route
from deuteron.trace.ofproto import came_by, said
from deuteron.trace.rulings import Place, Rule, met
from deuteron.trace.witness import Leg


class RuleTraces:
    """The kernels of some hosts tell which rules of iptables and nftables certain packets meet. Close it."""

    def __init__(self, state: State, places: Mapping[str, Sequence[str]], matches: Sequence[Match]) -> None:
        """`places` are namespaces by host. A host that cannot be asked is passed by: it is told of elsewhere."""
        self._opened: dict[Place, tuple[socket.socket, dict[RuleKey, str]]] = {}
        for host, names in places.items():
            with contextlib.suppress(NotThere, SandboxError):
                sockets, rules = rule_traces(state, host, names, matches)
                self._opened |= {(host, name): (each, rules[name]) for name, each in sockets.items()}

    def met(self) -> dict[Place, list[Rule]]:
        """What the packets met since this was asked last, one after the other."""
        found = {}
        for place, (opened, rules) in self._opened.items():
            with contextlib.suppress(KernelError):
                found[place] = met(steps(opened), rules, lambda *_: True).get(True, [])
        return found

    def close(self) -> None:
        for opened, _ in self._opened.values():
            opened.close()


def traces(legs: Sequence[Leg], frames: Sequence[bytes] = ()) -> list[str]:
    """What `ofproto/trace` prints of each leg: of a frame that was seen there, or else of what is planned.

    Raises: KernelError if the switch refuses.
    """
    control = SwitchControl()
    found = []
    try:
        for number, leg in enumerate(legs):
            entry, frame = leg.entry, frames[number] if frames else b""
            states = [word for each in leg.states for word in ("--ct-next", each)]
            words = [said(entry.port.ofport_request, entry.packet)]
            if frame:
                words = [came_by(entry.port, entry.packet), frame.hex()]
            found.append(control.ask("ofproto/trace", *states, entry.port.bridge, *words))
    finally:
        control.close()
    return found


def route(hop: Hop) -> Route:
    """What the kernel says of the way that a hop took, in its namespace."""
    return route_to(hop.place.split(" ")[0], *hop.does.partition(" by ")[0].split(" ")[1:])


def route_to(namespace: str, *asked: str) -> Route:
    """What the kernel says of the way in a namespace, to an address and what else `ip route get` takes."""
    namespaces = Namespaces()
    try:
        with namespaces.entered(namespace):
            status, output, complaint = finish(start(["ip", "-j", "route", "get", *asked]))
    except KernelError as error:
        return Route(refusal=str(error))
    finally:
        namespaces.close()
    if status != 0:
        return Route(refusal=complaint.removeprefix("RTNETLINK answers: ").lower())
    row = json.loads(output)[0]
    return Route(
        str(row.get("dev", "")), str(row.get("gateway", "")), str(row.get("type", "")) if "dev" not in row else ""
    )
