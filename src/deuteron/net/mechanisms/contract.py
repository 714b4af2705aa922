"""What a mechanism is to the API: the one question it answers, and the values it is asked with.

A mechanism is a package with two halves, each found by its name in an entry point group of its own:

    deuteron.mechanisms         `Mechanism`, here: may this port be bound on this host; what its agent is called
    deuteron.mechanisms.host    `wiring.HostMechanism`: its part of a host's plan, its kernel tables, the guest's plug

The API loads the first alone, so that no driver of a kernel is ever part of it. Ours come through the same door.

A `Mechanism` is a value with a name and a pure `bind`. It may not keep state, so the transaction that asks
may be run again and two API servers give the same answer. A refusal is an answer, not an error: the port
stays unbound (`binding_failed`) and the reason is stored with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from deuteron.model.intent import (
    DEVICE_KINDS,
    MECHANISM,
    DeviceKind,
    FirewallDriver,
    NetworkType,
    PortTrunk,
    Rates,
)

VifDetails: TypeAlias = dict[str, object]

SERVICES = "network:"
"""How the `device_owner` of a port begins that belongs to DHCP or to a router."""


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
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    """The mechanisms whose other half runs there."""
    device_kinds: tuple[DeviceKind, ...] = DEVICE_KINDS
    """Kinds of devices that its kernel makes, of those that not every kernel does."""
    interface_mappings: dict[str, str] = {}
    """Physical network to interface; empty before its agent first connected."""
    is_alive: bool = True
    bandwidths: dict[str, Rates] = {}
    """Kilobits a second that it may promise to ports, by bridge or `rp_tunnelled`."""
    packet_rates: Rates = {}
    """Thousands of packets a second."""


class PortToBind(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a mechanism may know of a port."""

    id: str
    vnic_type: str = "normal"
    device_owner: str = ""
    port_security_enabled: bool = True
    has_qos_policy: bool = False
    """Whether it, or its network, names one."""
    trunk: PortTrunk | None = None
    """The trunk that it is in. Only a mechanism is asked that `WiresTrunks`."""


class Binding(msgspec.Struct, frozen=True):
    """A port can be plugged: how, by which mechanism, on which segment.

    Users with the right to see bindings see `vif_type` and `vif_details`. The mechanism's half on the host is told
    the plain values of `vif_details` with the port, so that what `bind` chose is known there.
    """

    mechanism: str
    vif_type: str
    vif_details: VifDetails
    segment: Segment


class Refusal(msgspec.Struct, frozen=True):
    """A port cannot be plugged. `reason` completes "cannot bind port … on host …: "; `hint` says what to do."""

    reason: str
    hint: str = ""
    code: str = "port.binding_refused"


class AgentKind(msgspec.Struct, frozen=True):
    """What `openstack network agent list` calls the part of a host that does a mechanism's work."""

    binary: str
    agent_type: str
    topic: str = "N/A"


@runtime_checkable
class Mechanism(Protocol):
    """The half of a mechanism that the API asks."""

    @property
    def name(self) -> str: ...

    @property
    def agent(self) -> AgentKind:
        """What Neutron's clients see of it on each host that runs it."""
        ...

    @property
    def wires_services(self) -> bool:
        """Whether it is asked for the ports of DHCP and routers, whose devices live in namespaces of a host."""
        ...

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        """A binding, or why not. No effect, same answer for the same arguments."""
        ...

    def agent_configurations(self, host: HostFacts, devices: int) -> dict[str, object]:
        """What `configurations` of its agent says on a host where `devices` ports are bound."""
        ...


@runtime_checkable
class WiresTrunks(Mechanism, Protocol):
    """What a `Mechanism` says in addition when its half on a host reads `IntentPort.trunk`."""

    @property
    def wires_trunks(self) -> bool: ...


class Step(msgspec.Struct, frozen=True):
    """What an after-commit step is told: an object of the Network API that a transaction made or deleted."""

    action: Literal["create", "delete"]
    kind: Literal["network", "subnet", "port"]
    id: str
    values: dict[str, Any]
    """The object's attributes by their names in the API, as they were in that transaction."""


class StepFailed(Exception):
    """An after-commit step could not do its work; the words go to the client."""


@runtime_checkable
class AfterCommit(Mechanism, Protocol):
    """What a `Mechanism` has in addition when somebody outside of the cloud must hear of its objects.

    Source: ML2's `create_network_postcommit` and its like, with the same outcomes: when the step fails for an object
    that was made, the object is deleted again and the client gets the error; one that was deleted stays deleted.
    """

    def after_commit(self, step: Step) -> None:
        """Carry the step out. Called in a thread of the mechanism's own, in the order of commits.

        It may take `hub.steps.BOUND_S`; later it counts as failed, and what it still does is taken back by the step of
        the deletion, which comes next. It may be repeated after a crash: it must not matter how often it is done.

        Raises: StepFailed, or anything else, when it could not be done.
        """
        ...


def bind_port(
    mechanisms: Iterable[Mechanism], port: PortToBind, segments: Iterable[Segment], host: HostFacts
) -> Binding | Refusal:
    """The first binding, trying mechanisms in their order on each segment in its order; else every reason at once.

    Only mechanisms that the host runs are asked, and for a port of DHCP or a router those that can wire it. The binding
    says in `bound_drivers` who gave it.

    Source: ML2 asks the mechanism drivers in configured order and stops at the first that binds
    (openstack/neutron, neutron/plugins/ml2/managers.py, `_bind_port_level`).
    """
    refusals: list[tuple[str, Refusal]] = []
    for segment in segments:
        for mechanism in mechanisms:
            answer = _ask(mechanism, port, segment, host)
            if isinstance(answer, Binding):
                named = {"bound_drivers": {"0": mechanism.name}}
                return msgspec.structs.replace(answer, vif_details={**answer.vif_details, **named})
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


def _ask(mechanism: Mechanism, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
    if mechanism.name not in host.mechanism_drivers:
        return Refusal(
            f"the host does not run it (it runs: {', '.join(host.mechanism_drivers) or 'none'})",
            hint=f"add {mechanism.name} to mechanism_drivers of {host.host} in the topology file",
        )
    if port.device_owner.startswith(SERVICES) and not mechanism.wires_services:
        return Refusal(f"it wires no ports of {port.device_owner}", hint="enable openvswitch as well")
    if port.trunk is not None and not (isinstance(mechanism, WiresTrunks) and mechanism.wires_trunks):
        return Refusal("it wires no ports of trunks", hint="enable openvswitch as well, or delete the trunk")
    return mechanism.bind(port, segment, host)


def bound_by(vif_details: Mapping[str, object] | None) -> str:
    """The mechanism that bound a port with these details."""
    drivers = (vif_details or {}).get("bound_drivers")
    return str(drivers.get("0", MECHANISM)) if isinstance(drivers, dict) else MECHANISM


def listed(mapping: Mapping[str, object]) -> str:
    """The keys of a mapping for a message: `"a", "b"`, or `none`."""
    return ", ".join(f'"{name}"' for name in sorted(mapping)) or "none"
