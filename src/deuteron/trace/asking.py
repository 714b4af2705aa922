"""A trace from what was asked, in words: the same for `deuteron trace` and for the API's `GET /v2.0/trace`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

import msgspec

from deuteron.model.outside import ExternalNetwork
from deuteron.trace.catalog import Catalog
from deuteron.trace.ends import ends, prefixes
from deuteron.trace.packet import ICMP, SCTP, SMALL_BYTES, TCP, UDP
from deuteron.trace.report import Report, report
from deuteron.trace.seen import refuse_unseen
from deuteron.trace.walk import Asked, End
from deuteron.trace.world import Guest, Machine, World

_PROTOCOLS = {"icmp": ICMP, "tcp": TCP, "udp": UDP, "sctp": SCTP}
PROTOCOLS = "icmp, tcp/22, udp/53 or sctp/5000"


class Unfit(ValueError):
    """What was said of an end does not fit it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def asked(text: str, size_bytes: int = SMALL_BYTES) -> Asked | None:
    """What is sent; None for a protocol that is none."""
    found = re.fullmatch(r"(icmp)|(tcp|udp|sctp)/([0-9]{1,5})", text)
    if found is None or (found[3] and not 1 <= int(found[3]) <= 65535):
        return None
    return Asked(_PROTOCOLS[found[1] or found[2]], int(found[3] or 0), size_bytes)


def is_address(text: str) -> bool:
    """Whether it is an address, without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def world_of(
    machines: Mapping[str, Machine],
    catalog: Catalog,
    external: Iterable[ExternalNetwork],
    wires: Iterable[str],
    guests: Mapping[str, str],
    silent: Iterable[str] = (),
    cut: Iterable[tuple[str, str]] = (),
) -> World:
    """What a trace looks at. `guests` are statuses of servers, by id."""
    return World(
        machines,
        tuple(external),
        frozenset(wires),
        prefixes(catalog),
        {id: Guest(status) for id, status in guests.items()},
        frozenset(name for name in silent if name in machines),
        frozenset(cut),
    )


def between(
    world: World,
    catalog: Catalog,
    source: str,
    destination: str,
    address: str | None = None,
    gateway: str | None = None,
    own: frozenset[str] | None = None,
) -> tuple[End, End]:
    """The ends of what was asked; with `own` only such as a project sees, or that are beyond the cloud.

    Raises: NoSuchEnd; AmbiguousEnd; Unfit.
    """
    sender, receiver = ends(world, catalog, source, destination)
    if own is not None:
        refuse_unseen(world, catalog, own, (sender.address, receiver.address, address, gateway))
    if gateway is not None and (sender.is_outside or sender.namespace is not None):
        raise Unfit(f"{sender.words} takes no other gateway: it is no guest", "a gateway is what a guest takes")
    if address is not None and (":" in address) is not (":" in (receiver.address or "")):
        raise Unfit(f"{receiver.address} is not reached from {address}: they are of different IP versions")
    if address is not None or gateway is not None:
        sender = msgspec.structs.replace(sender, address=address or sender.address, gateway=gateway)
    return sender, receiver


def told(
    world: World,
    catalog: Catalog,
    source: str,
    destination: str,
    what: Asked,
    address: str | None = None,
    gateway: str | None = None,
    own: frozenset[str] | None = None,
) -> Report:
    """The whole trace. Raises: as `between`; Unknown for what cannot be followed."""
    sender, receiver = between(world, catalog, source, destination, address, gateway, own)
    return report(world, catalog, sender, receiver, what)
