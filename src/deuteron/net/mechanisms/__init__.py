"""Type drivers and mechanism drivers of ML2, as pure questions the Network API asks inside its transaction.

A *type driver* knows one network type: which provider attributes it wants, which segments it may allot,
how many bytes of a packet it costs. A *mechanism* answers one question, "can you bind this port on this
host", with a binding or with a refusal that says why. Nothing here reads a database, a clock or a host:
what is needed arrives as an argument, so the API may run a transaction again.

What a caller uses::

    types = TypeDrivers(TypeSettings(
        flat_networks=None,                      # None: every mapped physical network
        vlan_ranges={"physnet1": ((1000, 2999),)},   # a network with () takes only given tags
        tunnel_ranges={"vxlan": ((1, 1000),)},
        tenant_network_types=("vxlan", "vlan"),
        enabled=("flat", "local", "vlan", "vxlan")))

    types.complaint(segment) -> str | None       # text for 400 InvalidInput, in Neutron's words
    types.is_partial(segment) -> bool            # the segment still needs an id (and perhaps a physical network)
    types.candidates(segment) -> Iterator[Pool]  # ranges of segments to try, in order, for a partial one
    types.tenant_candidates() -> Iterator[Pool]  # the same for a network without provider attributes
    types.conflict(segment) -> str               # text for 409 when somebody holds that segment
    mtu_for(network_type, underlay_mtu_bytes, outer=4) -> int

    mechanisms_by_name(names) -> tuple[Mechanism, ...]                  # entry points of `deuteron.mechanisms`
    bind_port(mechanisms, port, segments, host) -> Binding | Refusal    # the first that accepts, else all reasons

A pool is a range; the caller subtracts what is taken, so it costs no rows.

The other half of a mechanism, which runs on hosts, is `net.mechanisms.wiring`, and not named here: the API does not
import it.
"""

from __future__ import annotations

from deuteron.net.mechanisms.contract import (
    AfterCommit,
    AgentKind,
    Binding,
    HostFacts,
    Mechanism,
    PortToBind,
    Refusal,
    Segment,
    Step,
    StepFailed,
    bind_port,
    bound_by,
    listed,
)
from deuteron.net.mechanisms.registry import UnknownMechanism, listeners_by_name, mechanisms_by_name
from deuteron.net.mechanisms.types import MtuTooSmall, Pool, TypeDrivers, TypeSettings, mtu_for, tunnel_overhead_bytes

__all__ = [
    "AfterCommit",
    "AgentKind",
    "Binding",
    "HostFacts",
    "Mechanism",
    "MtuTooSmall",
    "Pool",
    "PortToBind",
    "Refusal",
    "Segment",
    "Step",
    "StepFailed",
    "TypeDrivers",
    "TypeSettings",
    "UnknownMechanism",
    "bind_port",
    "bound_by",
    "listed",
    "listeners_by_name",
    "mechanisms_by_name",
    "mtu_for",
    "tunnel_overhead_bytes",
]
