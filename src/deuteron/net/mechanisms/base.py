"""The one question a mechanism answers, and the values it is asked with.

A mechanism is a value with a name and a pure `bind`. It may not keep state, so the transaction that asks
may be run again and two API servers give the same answer. A refusal is an answer, not an error: the port
stays unbound (`binding_failed`) and the reason is stored with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from deuteron.model.intent import FirewallDriver, HostSettings, NetworkType

VifDetails: TypeAlias = dict[str, object]


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One provider segment; a field is None where it is not given or has no meaning for the type."""

    network_type: str
    physical_network: str | None = None
    segmentation_id: int | None = None

    def __str__(self) -> str:
        words = [self.network_type]
        if self.physical_network is not None:
            words.append(f'on "{self.physical_network}"')
        if self.segmentation_id is not None:
            words.append(f"id {self.segmentation_id}")
        return " ".join(words)


class HostFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the API knows of a host: from its settings, or from the last hello of its agent."""

    host: str
    bridge_mappings: dict[str, str] = {}
    tunnel_ip: str | None = None
    tunnel_types: tuple[NetworkType, ...] = ()
    firewall_driver: FirewallDriver = "openvswitch"
    datapath_type: str = "netdev"
    is_alive: bool = True

    @staticmethod
    def from_settings(settings: HostSettings) -> HostFacts:
        """The facts of a host that runs with these settings."""
        return HostFacts(
            host=settings.host,
            bridge_mappings=settings.bridge_mappings,
            tunnel_ip=settings.tunnel_ip,
            tunnel_types=settings.tunnel_types,
            firewall_driver=settings.firewall_driver,
            datapath_type=settings.datapath_type,
        )


class PortToBind(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a mechanism may know of a port."""

    id: str
    vnic_type: str = "normal"
    device_owner: str = ""
    port_security_enabled: bool = True


class Binding(msgspec.Struct, frozen=True):
    """A port can be plugged: how, by which mechanism, on which segment."""

    mechanism: str
    vif_type: str
    vif_details: VifDetails
    segment: Segment


class Refusal(msgspec.Struct, frozen=True):
    """A port cannot be plugged. `reason` completes "cannot bind port … on host …: "; `hint` says what to do."""

    reason: str
    hint: str = ""
    code: str = "port.binding_refused"


@runtime_checkable
class Mechanism(Protocol):
    """A mechanism driver. Third parties offer one through the entry point group `deuteron.mechanisms`."""

    @property
    def name(self) -> str: ...

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        """A binding, or why not. No effect, same answer for the same arguments."""
        ...


class UnknownMechanism(ValueError):
    """A mechanism name in the settings that neither we nor an installed package provides."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f'unknown mechanism "{name}" (known: {", ".join(sorted(known))})')


def bind_port(
    mechanisms: Iterable[Mechanism], port: PortToBind, segments: Iterable[Segment], host: HostFacts
) -> Binding | Refusal:
    """The first binding, trying mechanisms in their order on each segment in its order; else every reason at once.

    Source: ML2 asks the mechanism drivers in configured order and stops at the first that binds
    (openstack/neutron, neutron/plugins/ml2/managers.py, `_bind_port_level`).
    """
    refusals: list[tuple[str, Refusal]] = []
    for segment in segments:
        for mechanism in mechanisms:
            answer = mechanism.bind(port, segment, host)
            if isinstance(answer, Binding):
                return answer
            refusals.append((mechanism.name, answer))
    if not refusals:
        return Refusal("no mechanism is enabled", hint="enable one, for example openvswitch")
    if len(refusals) == 1:
        return refusals[0][1]
    return Refusal(
        "; ".join(f"{name}: {refusal.reason}" for name, refusal in refusals),
        hint="; ".join(sorted({refusal.hint for _, refusal in refusals if refusal.hint})),
        code=refusals[0][1].code,
    )


def listed(mapping: Mapping[str, object]) -> str:
    """The keys of a mapping for a message: `"a", "b"`, or `none`."""
    return ", ".join(f'"{name}"' for name in sorted(mapping)) or "none"
