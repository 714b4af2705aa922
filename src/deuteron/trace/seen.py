"""What who asked is told of a trace: an administrator all, a project what is its own.

A packet passes hosts and objects of others, whose names, rules and places a project does not learn. It learns that the
packet goes through a switch, a tunnel, a router; and of what stops it outside of its own things, that something does.

Invariant: what a project does not see changes no answer by being there. An end is refused in the same words whether
nobody has the address or somebody else; a cause that names anything of others is one cause, and hops behind the last
own one are left out with it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from deuteron.model.traces import ToldCause, ToldHop, ToldTrace
from deuteron.net.rows import DHCP_NAMESPACE, FLOATING_NAMESPACE, ROUTER_NAMESPACE, SNAT_NAMESPACE
from deuteron.trace.catalog import Catalog
from deuteron.trace.hops import Hop
from deuteron.trace.packet import within
from deuteron.trace.report import Report
from deuteron.trace.walk import NoSuchEnd
from deuteron.trace.world import World

NOT_YOURS: Final = ToldCause("not-yours", "an object that is not yours stops it")
_TOLD: Final = frozenset({
    "security-group-egress", "security-group-ingress", "anti-spoofing", "port-down", "port-unbound", "port-not-here",
    "network-down", "router-down", "server-off", "no-route", "wrong-gateway", "no-next-hop", "own-next-hop",
    "no-interface", "no-gateway", "no-floating-ip", "snat-disabled", "no-way-back", "address-scope", "ndp-proxy", "mtu",
    "no-such-address", "other-address", "loop", "no-router",
})  # fmt: skip
"""Causes whose words are about the cloud's objects; the others name hosts, and what is wired there."""
_ID: Final = re.compile(r"\w{8}(?:-\w{4}){3}-\w{12}")
_TUNNELS: Final = ("vxlan-", "gre-", "geneve-")
_STACKS: Final = frozenset({"guest", "router", "dhcp"})
"""Kinds of hops that are an object's own inside, and not a host's."""


# --- ends ---------------------------------------------------------------------------------------------------------


def refuse_unseen(world: World, catalog: Catalog, own: frozenset[str], addresses: Iterable[str | None]) -> None:
    """Raises: NoSuchEnd for an address that an object of others may have: in a subnet that others are on, too."""
    for address in addresses:
        if address is not None and not _is_seen(world, catalog, own, address):
            raise NoSuchEnd(f"nothing that you see has the address {address}")


def _is_seen(world: World, catalog: Catalog, own: frozenset[str], address: str) -> bool:
    if catalog.floating_ip(address) is not None or any(known == address for _, known in catalog.ports_by_address):
        return True
    beyond = {text.split("/")[0] for each in world.external for text in each.gateways}
    if address in beyond and any(row["gateway_ip"] == address for row in catalog.all("subnet")):
        return True
    parsed = ipaddress.ip_address(address)
    if parsed.is_multicast or (parsed.version == 6 and parsed.is_link_local):
        return False
    # Of a network of its own, a project sees all ports.
    return all(row["network_id"] in own for row in catalog.all("subnet") if within(address, row["cidr"]))


# --- what is told ---------------------------------------------------------------------------------------------------


def told_trace(found: Report, catalog: Catalog, own: frozenset[str] | None) -> ToldTrace:
    """The report as data; `own` are ids of what belongs to the project that asks, None is an administrator."""
    cause = None
    if found.cause is not None:
        cause = ToldCause(found.cause.kind, found.cause.text, found.cause.hint, found.cause.about)
    there, back = tuple(_all(found.there, catalog)), tuple(_all(found.back, catalog))
    if own is not None:
        hides = cause is not None and not _may_know(cause, own)
        if hides:
            cause = NOT_YOURS
        there = _of_own(there, own, is_cut=hides and not found.arrives)
        back = _of_own(back, own, is_cut=hides)
    return ToldTrace(
        found.source,
        found.destination,
        found.packet,
        found.verdict,
        found.arrives,
        found.is_answered,
        cause,
        there,
        back,
        found.notes if own is None else (),
    )


def _may_know(cause: ToldCause, own: frozenset[str]) -> bool:
    if cause.kind not in _TOLD or (cause.about is not None and cause.about[1] not in own):
        return False
    return all(id in own for id in _ID.findall(f"{cause.text} {cause.hint}"))


def _all(hops: Sequence[Hop], catalog: Catalog) -> Iterator[ToldHop]:
    for hop in hops:
        row = None if hop.about is None else catalog.get(*hop.about)
        name = "" if row is None else str(row.get("name") or row.get("floating_ip_address") or "")
        yield ToldHop(kind_of(hop), hop.host, hop.place, hop.rule, hop.does, hop.about, name)


def _of_own(hops: tuple[ToldHop, ...], own: frozenset[str], *, is_cut: bool) -> tuple[ToldHop, ...]:
    """What of them a project may know; with `is_cut`, up to the last that is its own."""
    found: list[ToldHop] = []
    for hop in hops:
        shown = _hidden(hop) if hop.about is None or hop.about[1] not in own else _own(hop)
        if not found or found[-1] != shown:
            found.append(shown)
    while is_cut and found and found[-1].about is None:
        found.pop()
    return tuple(found)


def _hidden(hop: ToldHop) -> ToldHop:
    return ToldHop(hop.kind)


def _own(hop: ToldHop) -> ToldHop:
    """Without the host, and what is wired there; who is whose neighbour is the network's to know."""
    if hop.kind in _STACKS:
        is_neighbour = hop.does.startswith(("ARP", "neighbour"))
        return ToldHop(hop.kind, place=hop.place, does="" if is_neighbour else hop.does, about=hop.about, name=hop.name)
    return ToldHop(hop.kind, place=hop.place if hop.kind == "port" else "", about=hop.about, name=hop.name)


def kind_of(hop: Hop) -> str:
    """What sort of place it is."""
    first = hop.place.split(" ")[0]
    if hop.host == "outside":
        return "outside"
    if first == "guest":
        return "guest"
    if first.startswith((ROUTER_NAMESPACE, SNAT_NAMESPACE, FLOATING_NAMESPACE)):
        return "router"
    if first.startswith(DHCP_NAMESPACE):
        return "dhcp"
    if " table " in hop.place:
        return "switch"
    if first.startswith(_TUNNELS) and ("VNI" in hop.does or hop.does == "from the tunnel"):
        return "tunnel"
    if "the wire" in hop.does:
        return "wire"
    if first.startswith(("qbr", "brq")):
        return "filter"
    return "port" if first.startswith("tap") else "device"
