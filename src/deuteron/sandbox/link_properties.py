"""What a cable of a host does to packets: the table `[links]` of the topology, and the queueing disciplines that do it.

Each end of a cable has one, so that what is said holds each way. Where packets wait or are lost it is netem, which not
every kernel has; where they only come slower it is tbf.

Source: tc-netem(8), tc-tbf(8).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .errors import TopologyError

_LONGEST_FRAME_OVERHEAD_BYTES = 32
"""Ethernet's header with two tags, rounded up."""
_BURST_MS = 10
_QUEUE_MS = 50


class LinkProperties(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one cable, each way; None: as the kernel has it."""

    mtu: Annotated[int, msgspec.Meta(ge=1280, le=9216)] | None = None
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] | None = None
    jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] | None = None
    rate_kbps: Annotated[int, msgspec.Meta(ge=64, le=100_000_000)] | None = None
    loss_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None


class Links(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By the role of a host's interface."""

    network_interface: LinkProperties | None = None
    tunnel_interface: LinkProperties | None = None
    vlan_interface: LinkProperties | None = None
    neutron_external_interface: LinkProperties | None = None


def links_of_host(host: str, own: Links | None, general: Links, source: str) -> Links:
    """What the host says itself of an interface, or else what is said of all.

    Raises: TopologyError for a delay that varies where there is none.
    """
    chosen = Links(*(getattr(own, role, None) or getattr(general, role) for role in Links.__struct_fields__))
    for role in Links.__struct_fields__:
        said: LinkProperties | None = getattr(chosen, role)
        if said is not None and said.jitter_ms and said.jitter_ms > (said.delay_ms or 0):
            raise TopologyError(
                f'link "{role}" of host "{host}" in {source} cannot have jitter_ms = {said.jitter_ms:g}',
                "jitter is up to delay_ms, which is the time around which it varies",
            )
    return chosen


def discipline(said: LinkProperties) -> tuple[str, ...]:
    """The words of `tc qdisc` behind `root`; none where packets go as they come."""
    if said.delay_ms or said.loss_percent:
        words = ["netem"]
        if said.delay_ms:
            words += ["delay", f"{said.delay_ms:g}ms"]
            words += [f"{said.jitter_ms:g}ms"] if said.jitter_ms else []
        words += ["loss", f"{said.loss_percent:g}%"] if said.loss_percent else []
        words += ["rate", f"{said.rate_kbps}kbit"] if said.rate_kbps else []
        return tuple(words)
    if said.rate_kbps is None:
        return ()
    burst = max((said.mtu or 1500) + _LONGEST_FRAME_OVERHEAD_BYTES, said.rate_kbps * _BURST_MS // 8)
    return ("tbf", "rate", f"{said.rate_kbps}kbit", "burst", str(burst), "latency", f"{_QUEUE_MS}ms")
