"""What hosts promise to ports: the bandwidth and the packets a second that QoS policies ask for at least.

A port asks by the minimum rules of its policy, else of its network's; `resource_request` says so in Placement's words.
Compute puts a server only where what its ports ask fits beside what is promised there (`lacks`). The promise is written
with the binding (`keep`): into the port (`promised`; `binding:profile` names who keeps it, as Nova writes it) and into
the sums of the host (`store.usage`). It ends when the port leaves the host (`release`).

What a host has to promise is said by its operator in the topology: of the bridge of each physical network, of tunnels
together, and of packets in all. A host of which nothing is said promises nothing. As in Neutron, a port that Compute
did not place is promised nothing, nor one that gets its policy when a server has it already.

Source: neutron/services/qos/qos_plugin.py; neutron/agent/common/placement_report.py; neutron_lib/placement/utils.py;
nova/network/neutron.py (`_get_binding_profile_allocation`).
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict, cast

from sqlalchemy import func, select

from deuteron.model.intent import TUNNEL_PROVIDER
from deuteron.model.network import PORT
from deuteron.model.network.rows import PortRow, QosPolicyId
from deuteron.model.scalars import NetworkId, PortId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.network import faults, qos
from deuteron.rules.network.kinds import change
from deuteron.store import query, usage
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks
from deuteron.store.network_tables import ports as table

_BANDWIDTH: Final = {"egress": "NET_BW_EGR_KILOBIT_PER_SEC", "ingress": "NET_BW_IGR_KILOBIT_PER_SEC"}
_PACKETS: Final = {
    "egress": "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
    "ingress": "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
    "any": "NET_PACKET_RATE_KILOPACKET_PER_SEC",
}
_UNITS: Final = {
    **{resource: f"kbit/s {direction}" for direction, resource in _BANDWIDTH.items()},
    **{resource: f"kpacket/s {direction}" for direction, resource in _PACKETS.items()},
    _PACKETS["any"]: "kpacket/s",
}
_AGENT: Final = "agent"
"""Who promises packets, which pass no bridge more than another."""
_PLUGGED: Final = frozenset(("normal",))
"""Kinds of devices (`binding:vnic_type`) that hosts have."""
_PROVIDERS: Final = uuid.UUID("87ee7d5c-73bb-11e8-9008-c4d987b2a692")
"""In which ids of providers are made by name. Source: neutron, mech_openvswitch.py."""


@dataclass(frozen=True)
class Part:
    """What one provider is asked for: a group of a `resource_request`."""

    group: str
    required: tuple[str, ...]
    resources: Mapping[str, int]


@dataclass(frozen=True)
class Request:
    """What a port asks for."""

    vnic_type: str
    physical_network: str | None
    parts: Mapping[str, Part]
    """`bandwidth` and `packets`, where it asks for some."""


class Kept(TypedDict):
    """A part that is promised, as a port's row has it."""

    group: str
    provider: str
    resources: Mapping[str, int]


def requests(tx: Tx, rows: Sequence[PortRow]) -> dict[PortId, Request]:
    """What those of the ports ask for that ask for something; three queries, however many there are."""
    inherited = qos.of_networks(tx, {row["network_id"] for row in rows}) if rows else {}
    if not inherited and all(row["qos_policy_id"] is None for row in rows):
        return {}
    policies = {row["id"]: row["qos_policy_id"] or inherited.get(row["network_id"]) for row in rows}
    least = qos.minimums_of(tx, {policy for policy in policies.values() if policy is not None})
    asking = [(row, least[policy]) for row in rows if (policy := policies[row["id"]]) in least]
    physical = _physical_networks(tx, {row["network_id"] for row, _ in asking})
    return {row["id"]: _request(row, rules, physical[row["network_id"]]) for row, rules in asking}


def show(tx: Tx, rows: Sequence[MutableMapping[str, object]], names: frozenset[str]) -> None:
    """What each port asks for, in the words of Placement."""
    if "resource_request" not in names:
        return
    asked = requests(tx, cast("Sequence[PortRow]", rows))
    for row in rows:
        request = asked.get(PortId(str(row["id"])))
        parts = () if request is None else request.parts.values()
        groups = [{"id": part.group, "required": part.required, "resources": part.resources} for part in parts]
        same = [part.group for part in parts]
        row["resource_request"] = {"request_groups": groups, "same_subtree": same} if groups else None


def asks_by_network(tx: Tx, network_id: NetworkId) -> bool:
    """Whether a new port of the network would ask for something."""
    return bool(qos.minimums_of(tx, qos.of_networks(tx, {network_id}).values()))


def lacks(tx: Tx, hosts: Sequence[Host], wanted: Collection[Request]) -> dict[str, str]:
    """By host, what it lacks to promise all that is wanted; hosts that have it are missing."""
    found: dict[str, str] = {}
    taken: dict[str, dict[str, int]] = {}
    for host in hosts if wanted else ():
        needed: Counter[str] = Counter()
        for request in wanted:
            if request.vnic_type not in _PLUGGED:
                found[host.name] = f'no device of vnic_type "{request.vnic_type}"'
            for name, part in request.parts.items():
                needed.update(_keyed(_provider(host, request, name), part.resources))
        offered = _offers(host)
        for key, amount in needed.items():
            if key not in taken:
                taken[key] = usage.amounts(tx, "host", key)
            free = offered.get(key, 0) - taken[key].get(host.name, 0)
            if amount > free and host.name not in found:
                resource, _, provider = key.partition(":")
                found[host.name] = f"{amount} {_UNITS[resource]} of {provider} wanted, {max(0, free)} free"
    return found


def keep(tx: Tx, host: Host, port: PortRow, request: Request) -> dict[str, object]:
    """Promise what the port asks for, which the host does not lack; returns the values that say so in its row."""
    parts: dict[str, Kept] = {
        name: {"group": part.group, "provider": _provider(host, request, name), "resources": dict(part.resources)}
        for name, part in request.parts.items()
    }
    _count(tx, host.name, parts, 1)
    return {"promised": {"host": host.name, "parts": parts}, "binding:profile": _profile(port, host.name, parts)}


def release(tx: Tx, port: PortRow) -> dict[str, object]:
    """End what the port is promised; returns the values that say so in its row, none where it was promised nothing."""
    if port["promised"] is None:
        return {}
    _count(tx, port["promised"]["host"], port["promised"]["parts"], -1)
    return {"promised": None, "binding:profile": _profile(port, "", {})}


def follow_policy(tx: Tx, settings: Settings, port: PortRow, own: QosPolicyId | None) -> dict[str, object]:
    """A port is given another policy, or that of its network: its host promises what that asks for instead.

    What the policy before did not ask for at all is promised no more than to a port that Compute did not place.
    Returns the values that say so in the port's row. Raises: Conflict when the host lacks it.
    """
    if port["promised"] is None:
        return {}
    return _follow(tx, settings, port, own or qos.of_networks(tx, {port["network_id"]}).get(port["network_id"]))


def follow_network(
    tx: Tx, settings: Settings, network_id: NetworkId, before: QosPolicyId | None, policy_id: QosPolicyId | None
) -> None:
    """The same for the ports of a network that is given another policy, and that have none of their own."""
    if before is None or before == policy_id or not qos.minimums_of(tx, [before]):
        return
    # Not IS NULL, for which SQLite would go through every port that has no policy.
    inherits = func.coalesce(table.c.qos_policy_id, "") == ""
    own = (table.c.network_id == network_id, inherits, table.c.promised.is_not(None))
    for port in query.rows(tx, table, *own, order_by=(table.c.id,)):
        change(tx, PORT, port, _follow(tx, settings, port, policy_id))


def _follow(tx: Tx, settings: Settings, port: PortRow, policy_id: QosPolicyId | None) -> dict[str, object]:
    assert port["promised"] is not None
    name: str = port["promised"]["host"]
    before: Mapping[str, Kept] = port["promised"]["parts"]
    least = qos.minimums_of(tx, [] if policy_id is None else [policy_id]).get(policy_id or "")
    physical = _physical_networks(tx, {port["network_id"]})[port["network_id"]]
    asked = {} if least is None else _request(port, least, physical).parts
    parts: dict[str, Kept] = {
        part: {**held, "group": asked[part].group, "resources": dict(asked[part].resources)}
        for part, held in before.items()
        if part in asked
    }
    _refuse_other_directions(before, parts)
    host = registry.find(tx, settings, name)
    offered = {} if host is None else _offers(host)
    more = _amounts(parts)
    more.subtract(_amounts(before))
    for key, amount in more.items():
        if amount > 0 and usage.amount(tx, "host", name, key) + amount > offered.get(key, 0):
            resource, _, provider = key.partition(":")
            difference = {_provider_id(name, provider): {resource: amount}}
            raise faults.conflict(
                "QosPlacementAllocationUpdateConflict",
                f"Updating placement allocation with {difference} for consumer {port['device_id']} failed. The "
                "requested resources would exceed the capacity available.",
            )
    usage.add(tx, "host", name, {key: amount for key, amount in more.items() if amount})
    promised = {"host": name, "parts": parts} if parts else None
    return {"promised": promised, "binding:profile": _profile(port, name, parts)}


def _request(row: PortRow, least: qos.Minimums, physical_network: str | None) -> Request:
    vnic_type = row["binding:vnic_type"]
    device = _trait(f"VNIC_TYPE_{vnic_type}")
    network = "CUSTOM_NETWORK_TUNNEL_PROVIDER" if physical_network is None else _trait(f"PHYSNET_{physical_network}")
    parts: dict[str, Part] = {}
    if least.bandwidth:
        resources = {_BANDWIDTH[rule["direction"]]: rule["min_kbps"] for rule in least.bandwidth}
        parts["bandwidth"] = Part(
            _group(row["id"], [rule["id"] for rule in least.bandwidth]), (network, device), resources
        )
    if least.packets:
        resources = {_PACKETS[rule["direction"]]: rule["min_kpps"] for rule in least.packets}
        parts["packets"] = Part(_group(row["id"], [rule["id"] for rule in least.packets]), (device,), resources)
    return Request(vnic_type, physical_network, parts)


def _group(port_id: str, rule_ids: Sequence[str]) -> str:
    return str(uuid.uuid5(uuid.UUID(port_id), ":".join(rule_ids)))


def _trait(name: str) -> str:
    """A trait of our own. Source: os_traits `normalize_name`."""
    return "CUSTOM_" + re.sub("[^0-9A-Za-z]+", "_", name).upper()


def _physical_networks(tx: Tx, network_ids: Collection[NetworkId]) -> dict[NetworkId, str | None]:
    columns = select(networks.c.id, networks.c["provider:physical_network"])
    return dict(tx.all(columns.where(query.any_of(networks.c.id, list(network_ids))))) if network_ids else {}


def _provider(host: Host, request: Request, part: str) -> str:
    """Who of the host would promise that part; the network's name where the host has no bridge for it."""
    if part == "packets":
        return _AGENT
    if request.physical_network is None:
        return TUNNEL_PROVIDER
    return host.bridge_mappings.get(request.physical_network, request.physical_network)


def _provider_id(host: str, provider: str) -> str:
    return str(uuid.uuid5(_PROVIDERS, host if provider == _AGENT else f"{host}:{provider}"))


def _offers(host: Host) -> dict[str, int]:
    """What the host has to promise, by resource and provider."""
    if host.hello is None:
        return {}
    found: dict[str, int] = {}
    for provider, rates in host.hello.bandwidths.items():
        found |= {f"{_BANDWIDTH[direction]}:{provider}": kbps for direction, kbps in rates.items()}
    return found | {f"{_PACKETS[direction]}:{_AGENT}": kpps for direction, kpps in host.hello.packet_rates.items()}


def _keyed(provider: str, resources: Mapping[str, int]) -> dict[str, int]:
    return {f"{resource}:{provider}": amount for resource, amount in resources.items()}


def _amounts(parts: Mapping[str, Kept]) -> Counter[str]:
    """What all parts of a promise come to, by resource and provider."""
    found: Counter[str] = Counter()
    for part in parts.values():
        found.update(_keyed(part["provider"], part["resources"]))
    return found


def _count(tx: Tx, host: str, parts: Mapping[str, Kept], sign: int) -> None:
    usage.add(tx, "host", host, {key: sign * amount for key, amount in _amounts(parts).items() if amount})


def _profile(port: PortRow, host: str, parts: Mapping[str, Kept]) -> dict[str, object]:
    """The port's profile, in which `allocation` says who keeps each part of a promise."""
    rest = {name: value for name, value in (port["binding:profile"] or {}).items() if name != "allocation"}
    kept = {part["group"]: _provider_id(host, part["provider"]) for part in parts.values()}
    return {**rest, "allocation": kept} if kept else rest


def _refuse_other_directions(before: Mapping[str, Kept], after: Mapping[str, Kept]) -> None:
    """Raises: Conflict when packets are promised of each direction and would be of any, or the other way round."""
    if "packets" not in after:
        return
    if (_PACKETS["any"] in before["packets"]["resources"]) != (_PACKETS["any"] in after["packets"]["resources"]):
        raise faults.conflict(
            "NotImplementedError",
            "Changing from direction-less QoS minimum packet rate rule to a direction-oriented minimum packet rate "
            "rule, or vice versa, is not supported.",
        )
