"""QoS policies and their rules: what may be said, and which policy a port obeys.

A port obeys its own policy, else that of its network; of the ports of the cloud itself (`network:…`) only a router's
gateway looks at its network's. A floating IP and a gateway's address obey the policy that they name, which limits what
goes under that address. What the rules come to on a host, `effects_of` says.

Source: neutron/services/qos/qos_plugin.py, neutron/objects/qos/policy.py, neutron/core_extensions/qos.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec
from sqlalchemy import bindparam, func, select

from deuteron.model.caller import Caller
from deuteron.model.errors import Conflict, Forbidden
from deuteron.model.intent import LINUX_BRIDGE, MECHANISM
from deuteron.model.network import (
    BANDWIDTH_LIMIT_RULE,
    COMPUTE_PREFIX,
    DSCP_MARKING_RULE,
    MINIMUM_BANDWIDTH_RULE,
    MINIMUM_PACKET_RATE_RULE,
    PACKET_RATE_LIMIT_RULE,
    QOS_POLICY,
)
from deuteron.model.network.parts import Gateway, WantedGateway
from deuteron.model.network.rows import (
    MinimumBandwidthRuleRow,
    MinimumPacketRateRuleRow,
    QosPolicyId,
    QosPolicyRow,
)
from deuteron.model.resource import Attribute, Resource, RowT
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, rbac, sight
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES, networks, ports, table_of
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

_policies = table_of(QOS_POLICY)
# What every port that is shown, and every new network, asks.
_OF_NETWORK = Prepared(select(networks.c.qos_policy_id).where(networks.c.id == bindparam("network")))
_DEFAULT = Prepared(
    select(_policies.c.id).where(_policies.c.project_id == bindparam("project"), _policies.c.is_default)
)
_RULES: Final[tuple[Resource[Any], ...]] = (
    BANDWIDTH_LIMIT_RULE,
    DSCP_MARKING_RULE,
    PACKET_RATE_LIMIT_RULE,
    MINIMUM_BANDWIDTH_RULE,
    MINIMUM_PACKET_RATE_RULE,
)
_PROMISED: Final = ("minimum_bandwidth_rule", "minimum_packet_rate_rule")
"""Rules that say what a host is to promise when Compute places a server there."""


def create_policy(tx: Tx, settings: Settings, caller: Caller, values: Values) -> QosPolicyRow:
    """A policy without rules. Raises: BadRequest for one of nobody; Conflict for a second default of the project."""
    if not values["project_id"]:
        raise faults.bad_request("QoS policy", "a policy belongs to a project, and project_id is empty")
    if values.get("is_default"):
        _refuse_second_default(tx, values["project_id"], None)
    row = add(tx, QOS_POLICY, values)
    rbac.keep(tx, "qos_policy", row, {})
    return row


def update_policy(tx: Tx, settings: Settings, caller: Caller, row: QosPolicyRow, values: Values) -> QosPolicyRow:
    """Raises: Conflict for a second default of the project, and when who uses it may do so no longer."""
    if values.get("is_default"):
        _refuse_second_default(tx, row["project_id"], row["id"])
    if row["shared"] and values.get("shared") is False:
        rbac.refuse_to_hide(tx, "qos_policy", row)
    changed = change(tx, QOS_POLICY, row, values)
    rbac.keep(tx, "qos_policy", changed, row, project_id=caller.project_id)
    return changed


def delete_policy(tx: Tx, settings: Settings, caller: Caller, row: QosPolicyRow) -> None:
    """With its rules. Raises: Conflict while something obeys it."""
    for kind, attribute in QOS_POLICY.used_by:
        table = TABLES[kind]
        user = tx.scalar(select(table.c.id).where(table.c[attribute] == row["id"]).limit(1))
        if user is not None:
            name = "fip" if kind == "floatingip" else kind
            raise faults.conflict("QosPolicyInUse", f"QoS Policy {row['id']} is used by {name} {user}.")
    for rule in _RULES:
        table = TABLES[rule.name]
        for rule_id in tx.scalars(select(table.c.id).where(table.c.qos_policy_id == row["id"])):
            remove(tx, rule, rule_id)
    rbac.forget(tx, row["id"])
    remove(tx, QOS_POLICY, row["id"])


def policy_for(tx: Tx, caller: Caller | None, policy_id: QosPolicyId | None) -> QosPolicyId | None:
    """`policy_id`, if the caller may use that policy. Raises: NotFound."""
    if policy_id is not None:
        row = find(tx, QOS_POLICY, policy_id)
        if row is None or not sight.may_use(tx, caller, row):
            raise faults.not_found("qos_policy", policy_id)
    return policy_id


def change_policy(tx: Tx, caller: Caller | None, present: QosPolicyId | None, wanted: QosPolicyId | None) -> None:
    """Refuse to give a network or port another policy than `present`, or none, where the caller may not.

    Raises: Forbidden while it obeys one that the caller may not use, also to name that again; NotFound for such a one.

    Source: neutron/core_extensions/qos.py `_check_policy_change_permission`.
    """
    row = None if present is None else find(tx, QOS_POLICY, present)
    if row is not None and not sight.may_use(tx, caller, row):
        raise Forbidden(
            f"The policy {row['id']} is not taken away: it is another project's, and not shared with yours",
            type="PolicyRemoveAuthorizationError",
        )
    if wanted != present:
        policy_for(tx, caller, wanted)


def of_networks(tx: Tx, network_ids: Collection[NetworkId]) -> dict[NetworkId, QosPolicyId]:
    """The policies of those networks that have one."""
    if len(network_ids) == 1:
        (network_id,) = network_ids
        kept = sight.kept_network(tx, network_id)
        if kept is not None:
            policy_id = kept["qos_policy_id"]
        else:
            policy_id = tx.run(_OF_NETWORK, {"network": network_id}).scalar()
        return {} if policy_id is None else {network_id: policy_id}
    columns = select(networks.c.id, networks.c.qos_policy_id).where(networks.c.qos_policy_id.is_not(None))
    return dict(tx.all(columns.where(query.any_of(networks.c.id, list(network_ids)))))


def of_gateway(tx: Tx, caller: Caller, present: QosPolicyId | None, wanted: WantedGateway) -> QosPolicyId | None:
    """The policy of a gateway, which keeps the one it has unless it asks for another. Raises: NotFound."""
    policy_id = wanted.get("qos_policy_id", present)
    return present if policy_id == present else policy_for(tx, caller, QosPolicyId(policy_id) if policy_id else None)


def refuse_for_address(settings: Settings, policy_id: str | None) -> None:
    """Limits of floating IPs and gateways are meters of the switch: Linux bridges have none.

    Raises: Conflict where a router may be on a host without.
    """
    unfit = [
        name
        for name, host in sorted(settings.hosts.items())
        if "network" in host.roles and LINUX_BRIDGE in host.mechanism_drivers
    ]
    if policy_id is not None and unfit:
        raise faults.conflict(
            "QosRuleNotSupported",
            f"QoS policy {policy_id} is not supported by floating IPs and gateways here: routers may be on host "
            f"{unfit[0]}, which runs {LINUX_BRIDGE} and limits nothing. Ask without a policy, or run "
            f"{MECHANISM} there.",
        )


def default_of(tx: Tx, project_id: str) -> QosPolicyId | None:
    """The policy that new networks of the project get."""
    found: QosPolicyId | None = tx.run(_DEFAULT, {"project": project_id}).scalar()
    return found


@dataclass
class Effect:
    """What the rules of a policy come to: limits as (kilobits a second, kilobits at once), as they were said."""

    egress: tuple[int, int] | None = None
    ingress: tuple[int, int] | None = None
    dscp_mark: int | None = None
    egress_packets: tuple[int, int] | None = None
    """Thousands of packets a second, and at once."""
    ingress_packets: tuple[int, int] | None = None


def effects_of(tx: Tx, policy_ids: Collection[str]) -> dict[str, Effect]:
    """What those of the policies come to that are there, by their id."""
    there = select(_policies.c.id).where(query.any_of(_policies.c.id, list(policy_ids)))
    found = {policy_id: Effect() for policy_id in tx.scalars(there)}
    for rule in _of_policies(tx, BANDWIDTH_LIMIT_RULE, found):
        limit = (rule["max_kbps"], rule["max_burst_kbps"] or 0)
        setattr(found[rule["qos_policy_id"]], rule["direction"], limit)
    for rate in _of_policies(tx, PACKET_RATE_LIMIT_RULE, found):
        packets = (rate["max_kpps"], rate["max_burst_kpps"] or 0)
        setattr(found[rate["qos_policy_id"]], f"{rate['direction']}_packets", packets)
    for mark in _of_policies(tx, DSCP_MARKING_RULE, found):
        found[mark["qos_policy_id"]].dscp_mark = mark["dscp_mark"]
    return found


@dataclass
class Minimums:
    """The rules of a policy that ask for something at least, each sort in the order of their ids."""

    bandwidth: list[MinimumBandwidthRuleRow] = field(default_factory=list)
    packets: list[MinimumPacketRateRuleRow] = field(default_factory=list)


def minimums_of(tx: Tx, policy_ids: Collection[str]) -> dict[str, Minimums]:
    """Those of the policies that ask for something at least, by their id."""
    found: dict[str, Minimums] = {}
    for rule in _of_policies(tx, MINIMUM_BANDWIDTH_RULE, policy_ids) if policy_ids else ():
        found.setdefault(rule["qos_policy_id"], Minimums()).bandwidth.append(rule)
    for rate in _of_policies(tx, MINIMUM_PACKET_RATE_RULE, policy_ids) if policy_ids else ():
        found.setdefault(rate["qos_policy_id"], Minimums()).packets.append(rate)
    return found


def _of_policies(tx: Tx, resource: Resource[RowT], policy_ids: Collection[str]) -> Sequence[RowT]:
    table = table_of(resource)
    return query.rows(tx, table, query.any_of(table.c.qos_policy_id, list(policy_ids)), order_by=(table.c.id,))


def _refuse_second_default(tx: Tx, project_id: str, own_id: str | None) -> None:
    if default_of(tx, project_id) not in (None, own_id):
        raise faults.conflict("QoSPolicyDefaultAlreadyExists", f"A default QoS policy exists for project {project_id}.")


def _show_rules(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    sight.show_shared(tx, settings, caller, rows, names)
    if "rules" not in names:
        return
    by_policy: dict[str, list[Mapping[str, object]]] = {row["id"]: [] for row in rows}
    for resource in _RULES:
        for rule in _of_policies(tx, resource, list(by_policy)):
            by_policy[rule["qos_policy_id"]].append({**rule, "type": resource.name.removesuffix("_rule")})
    for row in rows:
        row["rules"] = by_policy[row["id"]]


def show_of_ports(tx: Tx, rows: Sequence[MutableMapping[str, object]], names: frozenset[str]) -> None:
    """A port shows its network's policy, whether it has one of its own or not."""
    if "qos_network_policy_id" in names:
        policies = of_networks(tx, {NetworkId(str(row["network_id"])) for row in rows})
        for row in rows:
            row["qos_network_policy_id"] = policies.get(NetworkId(str(row["network_id"])))


def show_of_gateways(tx: Tx, rows: Sequence[MutableMapping[str, object]], names: frozenset[str]) -> None:
    """The gateway names its policy; as in Neutron, nothing is said of one where neither it nor its network has any."""
    if "external_gateway_info" not in names:
        return
    reached = {NetworkId(str(row["gateway_network_id"])) for row in rows if row["gateway_network_id"] is not None}
    limited = of_networks(tx, reached) if reached else {}
    for row in rows:
        if row["gateway_network_id"] is not None and (row["qos_policy_id"] or row["gateway_network_id"] in limited):
            info = row["external_gateway_info"]
            if isinstance(info, msgspec.Raw):  # lists pass such values on as they are stored
                info = msgspec.json.decode(info)
            row["external_gateway_info"] = {**cast("Gateway", info), "qos_policy_id": row["qos_policy_id"]}


KIND = Kind(
    resource=QOS_POLICY,
    create=create_policy,
    update=update_policy,
    delete=delete_policy,
    visible=sight.own_or_shared(_policies),
    seen_as=sight.as_shared,
    derive=_show_rules,
    max_bulk=0,
    filters={"shared": sight.by_shared(_policies.c.id)},
)


def _rule_kind(resource: Resource[RowT]) -> Kind[RowT]:
    """The rules of a policy that are of one sort."""

    def create(tx: Tx, settings: Settings, caller: Caller, values: Values) -> RowT:
        rule_id = new_id()
        _refuse(tx, resource, values["qos_policy_id"], rule_id, values, values)
        row = add(tx, resource, {**values, "id": rule_id})
        touch(tx, QOS_POLICY, row["qos_policy_id"])
        return row

    def update(tx: Tx, settings: Settings, caller: Caller, row: RowT, values: Values) -> RowT:
        _refuse(tx, resource, row["qos_policy_id"], row["id"], values, {**row, **values})
        changed = change(tx, resource, row, values)
        touch(tx, QOS_POLICY, row["qos_policy_id"])
        return changed

    def delete(tx: Tx, settings: Settings, caller: Caller, row: RowT) -> None:
        _refuse_promised(tx, resource.name, row["qos_policy_id"])
        remove(tx, resource, row["id"])
        touch(tx, QOS_POLICY, row["qos_policy_id"])

    return Kind(
        resource=resource, create=create, update=update, delete=delete, visible=lambda caller: None, parent=KIND
    )


def _refuse(
    tx: Tx,
    resource: Resource[RowT],
    policy_id: str,
    own_id: str,
    values: Mapping[str, Any],
    becomes: Mapping[str, object],
) -> None:
    """Raises: Conflict if the rule, which becomes this by the values of the body, does not fit to what is there."""
    _refuse_less_than_least(tx, policy_id, values)
    if resource.name == MINIMUM_PACKET_RATE_RULE.name:
        for other in _of_policies(tx, MINIMUM_PACKET_RATE_RULE, [policy_id]):
            if other["id"] != own_id and (other["direction"] == "any") != (becomes["direction"] == "any"):
                raise _contradiction(policy_id, becomes["direction"], "minimum_packet_rate", other["direction"])
    _refuse_same(tx, resource, becomes, own_id)
    _refuse_promised(tx, resource.name, policy_id)


def _refuse_less_than_least(tx: Tx, policy_id: str, values: Mapping[str, Any]) -> None:
    """Raises: Conflict if at most would be less than at least.

    As Neutron has it, a change that names no direction is compared with the rules of both.
    """
    directions = (values["direction"],) if values.get("direction") else ("egress", "ingress")
    for least in _of_policies(tx, MINIMUM_BANDWIDTH_RULE, [policy_id]) if "max_kbps" in values else ():
        if least["direction"] in directions and least["min_kbps"] > values["max_kbps"]:
            raise _contradiction(policy_id, values["max_kbps"], "minimum_bandwidth", least["min_kbps"])
    for most in _of_policies(tx, BANDWIDTH_LIMIT_RULE, [policy_id]) if "min_kbps" in values else ():
        if most["direction"] in directions and most["max_kbps"] < values["min_kbps"]:
            raise _contradiction(policy_id, values["min_kbps"], "bandwidth_limit", most["max_kbps"])


def _contradiction(policy_id: str, value: object, kind: str, there: object) -> Conflict:
    return faults.conflict(
        "QoSRuleParameterConflict",
        f"Unable to add the rule with value {value} to the policy {policy_id} as the existing rule of type {kind} has "
        f"value {there}.",
    )


def _refuse_promised(tx: Tx, kind: str, policy_id: str) -> None:
    """Raises: Conflict for a rule of what is promised while a server's port obeys the policy: 501 in Neutron."""
    if kind not in _PROMISED:
        return
    inherits = ports.c.network_id.in_(select(networks.c.id).where(networks.c.qos_policy_id == policy_id))
    # Not IS NULL, for which SQLite would go through every port that has no policy.
    has_none = func.coalesce(ports.c.qos_policy_id, "") == ""
    for obeys in (ports.c.qos_policy_id == policy_id, inherits & has_none):
        own = select(ports.c.id).where(obeys, ports.c.device_owner.startswith(COMPUTE_PREFIX)).limit(1)
        if tx.scalar(own) is not None:
            raise faults.conflict(
                "NotImplementedError", "Cannot update QoS policies/rules backed by resources tracked in Placement"
            )


def _refuse_same(tx: Tx, resource: Resource[RowT], values: Mapping[str, object], own_id: str) -> None:
    """Raises: Conflict if another rule of the policy says the same thing.

    Looked for before anything is written: PostgreSQL answers no question in a transaction that broke a constraint.
    """
    table = TABLES[resource.name]
    same = [table.c[name] == values[name] for names in resource.unique for name in names]
    other = tx.scalar(select(table.c.id).where(*same, table.c.id != own_id))
    if other is not None:
        kind = resource.name.removesuffix("_rule")
        raise faults.conflict(
            "QoSRulesConflict",
            f"Rule {kind} conflicts with rule {other} which already exists in QoS Policy {values['qos_policy_id']}.",
        )


RULE_KINDS = tuple(_rule_kind(resource) for resource in _RULES)
RULE_TYPES: Final = {resource.name.removesuffix("_rule"): resource for resource in _RULES}


def rule_type(name: str) -> Mapping[str, object]:
    """What may be said in rules of a type, and who acts on it. Raises: NotFound."""
    if name not in RULE_TYPES:
        raise faults.missing("HTTPNotFound", f"QoS rule type {name} could not be found; accepted: {list(RULE_TYPES)}")
    said = [_parameter(each) for each in RULE_TYPES[name].attributes if each.create]
    return {"type": name, "drivers": [{"name": "openvswitch", "supported_parameters": said}]}


def _parameter(attribute: Attribute) -> Mapping[str, object]:
    schema = attribute.codec.schema()
    if "enum" in schema:
        told: dict[str, object] = {"parameter_type": "choices", "parameter_values": list(schema["enum"])}
    else:
        ends = {"start": schema["minimum"], "end": schema["maximum"]}
        told = {"parameter_type": "range", "parameter_values": ends}
    return {"parameter_name": attribute.name, **told}
