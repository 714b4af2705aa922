"""Bindings: how a port is plugged on its host, asked of the mechanisms in the transaction.

A port that no mechanism can bind keeps its host with vif_type `binding_failed`, and the reason stays with
it in `binding_refusal`. Who may read bindings finds it in `binding:vif_details`: Neutron has no place for it, and
clients show whatever they find there. A bound port has its numbers on the host (`slots`); an unbound one has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, select

from deuteron.model.intent import MECHANISM, PortTrunk, VifDetails
from deuteron.model.network import NETWORK
from deuteron.model.network.parts import Lan
from deuteron.model.network.rows import NetworkRow, PortRow
from deuteron.model.scalars import NetworkId, PortId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import (
    Binding,
    Mechanism,
    PortToBind,
    Refusal,
    Segment,
    UnknownMechanism,
    bind_port,
    bound_by,
    mechanisms_by_name,
)
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Agent
from deuteron.rules.network import addresses, faults, segments, spread
from deuteron.rules.network.kinds import find
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import port_bindings, ports
from deuteron.store.prepared import Prepared

__all__ = [
    "REFUSAL",
    "UNBOUND",
    "UnknownMechanism",
    "bind",
    "forget",
    "mechanisms_of",
    "prepare",
    "refuse_policy",
    "unbind",
    "wired_by",
    "wired_ports",
    "would_bind",
]

REFUSAL: Final = "refusal"
"""Key of `binding:vif_details` of a port whose binding failed: why, and what to do."""

UNBOUND: Mapping[str, object] = {
    "binding:host_id": "",
    "binding:vif_type": "unbound",
    "binding:vif_details": {},
    "binding_refusal": None,
    "status": "DOWN",
}
"""What a port says that is plugged nowhere."""

_OF_PORT = port_bindings.c.port_id == bindparam("port")
_FORGET = Prepared(delete(port_bindings).where(_OF_PORT, port_bindings.c.host == bindparam("on")))
_FORGET_ALL = Prepared(delete(port_bindings).where(_OF_PORT))


def mechanisms_of(settings: Settings) -> tuple[Mechanism, ...]:
    """The mechanisms of the cloud, in the order in which they are asked. Raises: UnknownMechanism."""
    return mechanisms_by_name(settings.mechanism_drivers)


def bind(
    tx: Tx,
    settings: Settings,
    port: Mapping[str, Any],
    network: NetworkRow,
    host: str,
    trunk: PortTrunk | None = None,
) -> dict[str, object]:
    """The values that say how the port, a row or what becomes one, is plugged on `host`; gives it its numbers there.

    `trunk` is the one that the port is in.

    The port's numbers on another host are freed; one that it has on this host already, because its guest was awaited
    there, stays. Whether the host is alive does not matter: what is bound there works as soon as it connects.
    """
    answer = _ask(tx, settings, port, network, host, trunk)
    lan_id = _lan(network, answer.segment)["id"] if isinstance(answer, Binding) else ""
    places = slots.detach_port(tx, port["id"], keep=(host, lan_id))
    if isinstance(answer, Binding):
        try:
            slots.attach_port(tx, host, port["id"], lan_id)
        except slots.HostFull as error:
            answer = Refusal(str(error), code="port.host_full")
        else:
            spread.came(tx, host, lan_id)
    spread.left(tx, places)
    forget(tx, port["id"], host)
    return _said(answer, port["id"], host)


def rebind(
    tx: Tx, settings: Settings, before: PortRow, after: PortRow, trunk: PortTrunk | None
) -> Mapping[str, object]:
    """The same after its addresses have changed, where they are on another segment that its host has; else nothing."""
    segment_of = {each["id"]: each["segment_id"] for each in addresses.subnets_of(tx, after["network_id"])}
    old, new = ({segment_of.get(item["subnet_id"]) for item in port["fixed_ips"]} - {None} for port in (before, after))
    network = find(tx, NETWORK, after["network_id"])
    if old == new or not new or network is None:
        return {}
    return bind(tx, settings, after, network, after["binding:host_id"], trunk)


def refuse_numa_policy(row: PortRow, policy: str | None) -> None:
    """Where a port is plugged, its NUMA policy has been decided by. Raises: Conflict, also for the policy it has."""
    if row["binding:vif_type"] not in ("unbound", "binding_failed"):
        raise faults.conflict(
            "PortBoundNUMAAffinityPolicy",
            f"Unable to complete operation on port {row['id']}, port is already bound to host "
            f"{row['binding:host_id']}, numa_affinity_policy value given {policy}.",
        )


def refuse_policy(
    tx: Tx, settings: Settings, network_id: NetworkId, policy_id: str | None, bound: Sequence[PortRow] | None = None
) -> None:
    """Raises: Conflict where a port is bound by a mechanism that would not take it with a QoS policy.

    Without `bound`, the ports of the network are meant. Source: neutron, services/qos/qos_plugin.py,
    `_validate_policy_with_port`; it names a rule of the policy.
    """
    if policy_id is None or settings.mechanism_drivers == (MECHANISM,):
        return
    network = find(tx, NETWORK, network_id)
    if network is None:
        return
    if bound is None:
        bound = query.rows(tx, ports, ports.c["network_id"] == network_id, ports.c["binding:host_id"] != "")
    asked: set[tuple[str, str]] = set()
    for port in bound:
        mechanism, host = bound_by(port["binding:vif_details"]), port["binding:host_id"]
        if mechanism == MECHANISM or port["binding:vif_type"] in ("unbound", "binding_failed"):
            continue
        if (mechanism, host) in asked:  # it says the same of the next
            continue
        asked.add((mechanism, host))
        answers = [
            _ask(tx, settings, query.with_values(port, {"qos_policy_id": each}), network, host, None)
            for each in (None, policy_id)
        ]
        if isinstance(answers[1], Refusal) and not isinstance(answers[0], Refusal):
            raise faults.conflict(
                "QosRuleNotSupported",
                f"QoS policy {policy_id} is not supported by port {port['id']} on host {host}: {answers[1].reason}.",
                answers[1].hint,
            )


def _said(answer: Binding | Refusal, port_id: PortId, host: str) -> dict[str, object]:
    if isinstance(answer, Refusal):
        told = _told(answer, port_id, host)
        return {
            **UNBOUND,
            "binding:host_id": host,
            "binding:vif_type": "binding_failed",
            "binding:vif_details": {REFUSAL: told},
            "binding_refusal": told,
        }
    return {
        "binding:host_id": host,
        "binding:vif_type": answer.vif_type,
        "binding:vif_details": answer.vif_details,
        "binding_refusal": None,
        "status": "DOWN",
    }


def would_bind(
    tx: Tx, settings: Settings, port: PortRow, network: NetworkRow, host: str, trunk: PortTrunk | None
) -> Binding | str:
    """How the port would be plugged in on `host`, or why it cannot be: it gets no number there, and keeps its own."""
    answer = _ask(tx, settings, port, network, host, trunk)
    return _told(answer, port["id"], host) if isinstance(answer, Refusal) else answer


def prepare(
    tx: Tx, settings: Settings, port: PortRow, network: NetworkRow, host: str, trunk: PortTrunk | None
) -> str | None:
    """Give the port its number on `host`, where nothing goes to it or comes from it before it is bound there.

    Why that cannot be; None when it is done. The same mechanism has to wire it as where it is.
    """
    answer = _ask(tx, settings, port, network, host, trunk)
    if isinstance(answer, Refusal):
        return _told(answer, port["id"], host)
    if wired_by(answer.vif_details) != wired_by(port["binding:vif_details"]):
        return f"port {port['id']} would be wired in another way on host {host} than where it is"
    try:
        lan_id = _lan(network, answer.segment)["id"]
        slots.attach_port(tx, host, port["id"], lan_id)
    except slots.HostFull as error:
        return str(error)
    spread.came(tx, host, lan_id)
    return None


def _told(refusal: Refusal, port_id: PortId, host: str) -> str:
    told = f"cannot bind port {port_id} on host {host}: {refusal.reason}"
    return f"{told}\nhint: {refusal.hint}" if refusal.hint else told


def forget(tx: Tx, port_id: PortId, host: str | None = None) -> None:
    """The port's inactive binding on the host is gone; all of them without one."""
    if host is None:
        tx.run(_FORGET_ALL, {"port": port_id})
    else:
        tx.run(_FORGET, {"port": port_id, "on": host})


def unbind(tx: Tx, port_id: PortId) -> dict[str, object]:
    """The values of an unplugged port; frees its numbers."""
    spread.left(tx, slots.detach_port(tx, port_id))
    return dict(UNBOUND)


def wired_by(vif_details: Mapping[str, Any] | None) -> tuple[str, VifDetails]:
    """The mechanism that wires a bound port, and what its half on the host is told of the binding.

    Ours says nothing there that the host's own settings do not.
    """
    mechanism = bound_by(vif_details)
    if mechanism == MECHANISM or vif_details is None:
        return mechanism, ()
    plain = {name: value for name, value in vif_details.items() if isinstance(value, str | int)}
    return mechanism, tuple(sorted(plain.items()))


def wired_ports(tx: Tx, agent: Agent) -> int:
    """How many ports the agent's mechanism wires on its host."""
    bound = ports.c["binding:host_id"] == agent.host.name
    if agent.mechanism is None or len(agent.host.mechanism_drivers) == 1:
        return query.count(tx, ports, bound)
    details = tx.scalars(select(ports.c["binding:vif_details"]).where(bound))
    return sum(bound_by(each) == agent.mechanism.name for each in details)


def _ask(
    tx: Tx,
    settings: Settings,
    port: Mapping[str, Any],
    network: NetworkRow,
    host: str,
    trunk: PortTrunk | None,
) -> Binding | Refusal:
    found = registry.find(tx, settings, host)
    if found is None:
        known = ", ".join(sorted(settings.hosts)) or "none"
        return Refusal(f"there is no such host (known: {known})", hint="name a host of `openstack network agent list`")
    facts = registry.facts(found)
    asked = PortToBind(
        id=port["id"],
        vnic_type=port["binding:vnic_type"],
        device_owner=port["device_owner"],
        port_security_enabled=bool(port["port_security_enabled"]),
        has_qos_policy=(port.get("qos_policy_id") or _inherited_policy(port["device_owner"], network)) is not None,
        trunk=trunk,
    )
    wanted = [segments.segment_of(lan) for lan in _lans_for(tx, port, network)]
    if not wanted:
        return Refusal("its network has no segment", hint="add one with `openstack network segment create`")
    return bind_port(mechanisms_of(settings), asked, wanted, facts)


def _inherited_policy(device_owner: str, network: NetworkRow) -> str | None:
    """Ports of DHCP and interfaces of routers have no part in the policy of their network, as in Neutron."""
    is_of_network = device_owner.startswith("network:") and device_owner != "network:router_gateway"
    return None if is_of_network else network["qos_policy_id"]


def _lans_for(tx: Tx, port: Mapping[str, Any], network: NetworkRow) -> Sequence[Lan]:
    """The segments that the port may be plugged into: that of its addresses, where subnets are on segments."""
    lans = segments.lans_of(network)
    if network["l2_adjacency"] or not port["fixed_ips"]:
        return lans
    segment_of = {subnet["id"]: subnet["segment_id"] for subnet in addresses.subnets_of(tx, network["id"])}
    named = {segment_of.get(item["subnet_id"]) for item in port["fixed_ips"]} - {None}
    return [lan for lan in lans if lan["segment_id"] in named] if named else lans


def _lan(network: NetworkRow, chosen: Segment) -> Lan:
    """Which of the network's segments was chosen."""
    lans = segments.lans_of(network)
    return next((lan for lan in lans if segments.segment_of(lan) == chosen), lans[0])
