"""Security groups and their rules: what ports let in and out.

Every project has a group `default`, made when it is first needed. A rule that says the same as another of
its group is found by the index over what it says, so that a large group takes a rule as fast as an empty one.

Source: openstack/neutron, neutron/db/securitygroups_db.py; neutron-lib, neutron_lib/constants.py (protocols).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, bindparam, delete, or_, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import whole_number
from deuteron.model.network import (
    ADDRESS_GROUP,
    DEFAULT_SECURITY_GROUP_RULE,
    PARENT,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS,
)
from deuteron.model.network.rows import DefaultSecurityGroupRuleRow, SecurityGroupRow, SecurityGroupRuleRow
from deuteron.model.network.security import PROTOCOLS
from deuteron.model.scalars import ProjectId, SecurityGroupId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, logged, quotas, rbac, rule_values, sight
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    default_groups,
    security_group_ports,
    security_group_rules,
    security_groups,
    table_of,
)
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

DEFAULT = "default"

_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ICMP = frozenset({1, 58})
_ICMP6_NAMES = {"icmp": "ipv6-icmp", "icmpv6": "ipv6-icmp", "1": "58"}
"""What ICMP is called in an IPv6 rule, and what Neutron makes of it."""
_ONLY_IPV6 = frozenset({41, 43, 44, 58, 59, 60})
_ALL_PORTS = (1, 65535)
_EVERYWHERE = (None, "0.0.0.0/0", "::/0")

_SAME_RULE = Prepared(
    select(security_group_rules.c.id).where(
        security_group_rules.c.security_group_id == bindparam("group"),
        security_group_rules.c.signature == bindparam("says"),
    )
)
_templates = table_of(DEFAULT_SECURITY_GROUP_RULE)
_stateful = table_of(SECURITY_GROUPS_DEFAULT_STATEFULNESS)
_STATEFULNESS = Prepared(
    select(_stateful.c.project_id, _stateful.c.stateful).where(
        or_(_stateful.c.project_id == bindparam("project"), _stateful.c.project_id.is_(None))
    )
)
_DEFAULT_GROUP = Prepared(
    select(default_groups.c.security_group_id).where(default_groups.c.project_id == bindparam("project"))
)


def default_group(tx: Tx, project_id: ProjectId) -> SecurityGroupId:
    """The id of the project's default group, which is made when it is not there."""
    key = f"default group of {project_id}"
    found: SecurityGroupId | None = tx.kept.get(key) or tx.run(_DEFAULT_GROUP, {"project": project_id}).scalar()
    if found is not None:
        tx.kept[key] = found
        return found
    group = add(
        tx,
        SECURITY_GROUP,
        {
            "name": DEFAULT,
            "project_id": project_id,
            "description": "Default security group",
            "stateful": True,
            "shared": False,
            "is_default": True,
        },
    )
    tx.insert(default_groups, {"project_id": project_id, "security_group_id": group["id"]})
    _add_rules(tx, group, _first_rules(tx, "used_in_default_sg"))
    return group["id"]


def has_default_group(tx: Tx, project_id: ProjectId) -> bool:
    return tx.run(_DEFAULT_GROUP, {"project": project_id}).scalar() is not None


def require(tx: Tx, caller: Caller | None, groups: Sequence[SecurityGroupId], project_id: ProjectId) -> None:
    """Raises: NotFound for a group that neither the caller nor the project may use; Conflict for some with states and
    some without, which one port cannot have.
    """
    if not groups:
        return
    columns = (security_groups.c[name] for name in ("id", "project_id", "shared", "stateful"))
    found: dict[SecurityGroupId, sight.Shareable] = {}
    stateful: set[bool] = set()
    for row in tx.all(select(*columns).where(query.any_of(security_groups.c.id, groups))):
        found[row.id] = {"id": row.id, "project_id": row.project_id, "shared": row.shared}
        stateful.add(row.stateful)
    for group_id in groups:
        group = found.get(group_id)
        if group is None or not (group["project_id"] == project_id or sight.may_use(tx, caller, group)):
            raise faults.not_found("security_group", group_id)
    if len(stateful) > 1:
        raise faults.conflict(
            "SecurityGroupConflict",
            "Error Cannot apply both stateful and stateless security groups on the same port at the same time while "
            "attempting the operation.",
        )


def create_group(tx: Tx, settings: Settings, caller: Caller, values: Values) -> SecurityGroupRow:
    """A new group, with the rules that the templates say: at first those that let everything out. Raises: Conflict."""
    default_group(tx, values["project_id"])
    if values["name"].lower() == DEFAULT:
        raise faults.conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
    quotas.check(tx, "security_group", values["project_id"])
    first = _first_rules(tx, "used_in_non_default_sg")
    quotas.check(tx, "security_group_rule", values["project_id"], len(first))
    if "stateful" not in values:
        values = {**values, "stateful": _default_stateful(tx, values["project_id"])}
    group = add(tx, SECURITY_GROUP, {**values, "shared": False, "is_default": False})
    _add_rules(tx, group, first)
    return group


def update_group(tx: Tx, settings: Settings, caller: Caller, row: SecurityGroupRow, values: Values) -> SecurityGroupRow:
    """The group with `values` set. Raises: Conflict."""
    if row["is_default"] and values.get("name", row["name"]) != row["name"]:
        raise faults.conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
    if values.get("name", "").lower() == DEFAULT and not row["is_default"]:
        raise faults.conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
    if "stateful" in values and values["stateful"] != row["stateful"]:
        _refuse_if_used(tx, row["id"])
    return change(tx, SECURITY_GROUP, row, values)


def delete_group(tx: Tx, settings: Settings, caller: Caller, row: SecurityGroupRow) -> None:
    """Delete the group with its rules, and rules of others that name it. Raises: Conflict while ports use it."""
    if row["is_default"] and not caller.is_admin:
        raise faults.conflict(
            "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."
        )
    _refuse_if_used(tx, row["id"])
    rules = security_group_rules
    for rule_id, group_id in tx.all(
        select(rules.c.id, rules.c.security_group_id).where(
            or_(rules.c.security_group_id == row["id"], rules.c.remote_group_id == row["id"])
        )
    ):
        remove(tx, SECURITY_GROUP_RULE, rule_id)
        if group_id != row["id"]:
            touch(tx, SECURITY_GROUP, group_id)
    for template_id in tx.scalars(select(_templates.c.id).where(_templates.c.remote_group_id == row["id"])):
        remove(tx, DEFAULT_SECURITY_GROUP_RULE, template_id)
    tx.execute(delete(default_groups).where(default_groups.c.security_group_id == row["id"]))
    rbac.forget(tx, row["id"])
    logged.group_gone(tx, row["id"])
    remove(tx, SECURITY_GROUP, row["id"])


def create_rule(tx: Tx, settings: Settings, caller: Caller, values: Values) -> SecurityGroupRuleRow:
    """A new rule. Raises: BadRequest, NotFound, Conflict."""
    decoded = decoded_rule(values)
    group = find(tx, SECURITY_GROUP, values["security_group_id"])
    if group is None or not (caller.is_admin or group["project_id"] == caller.project_id):
        raise faults.not_found("security_group", values["security_group_id"])
    remote = decoded.get("remote_group_id")
    if remote is not None:
        other = group if remote == group["id"] else find(tx, SECURITY_GROUP, remote)
        if other is None or not sight.may_use(tx, caller, other):
            raise faults.not_found("security_group", remote)
    addresses = decoded.get("remote_address_group_id")
    if addresses is not None:
        named = find(tx, ADDRESS_GROUP, addresses)
        if named is None or not sight.may_use(tx, caller, named):
            raise faults.not_found("address_group", addresses)
    quotas.check(tx, "security_group_rule", values["project_id"])
    rule = _add_rule(tx, group, decoded)
    touch(tx, SECURITY_GROUP, group["id"])
    return rule


def delete_rule(tx: Tx, settings: Settings, caller: Caller, row: SecurityGroupRuleRow) -> None:
    remove(tx, SECURITY_GROUP_RULE, row["id"])
    touch(tx, SECURITY_GROUP, row["security_group_id"])


def derive_groups(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """Put each group's rules into its answer, with one query for all."""
    sight.show_shared(tx, settings, caller, rows, names)
    if "security_group_rules" not in names or not rows:
        return
    rules = security_group_rules
    shown = [a.name for a in SECURITY_GROUP_RULE.attributes if a.read and a.stored]
    by_id: dict[str, list[Values]] = {row["id"]: [] for row in rows}
    condition: ColumnElement[bool] | None = None
    if len(by_id) <= 500:
        condition = query.any_of(rules.c.security_group_id, list(by_id))
    for rule in query.answers(tx, rules, shown, () if condition is None else (condition,)):
        group_id = rule["security_group_id"]
        if group_id in by_id:
            rule["tenant_id"] = rule["project_id"]
            by_id[group_id].append(rule)
    for row in rows:
        row["security_group_rules"] = by_id[row["id"]]


def _refuse_if_used(tx: Tx, group_id: SecurityGroupId) -> None:
    used = select(security_group_ports.c.port_id).where(security_group_ports.c.security_group_id == group_id).limit(1)
    if tx.first(used) is not None:
        raise faults.conflict("SecurityGroupInUse", f"Security Group {group_id} in use.")


def signature(values: Values) -> str:
    """What a decoded rule says, as one text."""
    prefix = values.get("remote_ip_prefix")
    return "|".join(
        "" if part is None else str(part)
        for part in (
            values["direction"],
            values["ethertype"],
            _number(values.get("protocol"), values["ethertype"]),
            values.get("port_range_min"),
            values.get("port_range_max"),
            # As in Neutron: a rule for every address is one without a prefix, and host bits make another rule.
            None if prefix in _EVERYWHERE else prefix,
            values.get("remote_group_id") or values.get("remote_address_group_id"),  # no two kinds have one id
        )
    )


def _first_rules(tx: Tx, used: str) -> Sequence[DefaultSecurityGroupRuleRow]:
    """The templates of what a new group begins with: those of which `used` is true."""
    return query.rows(tx, _templates, _templates.c[used], order_by=(_templates.c.id,))


def _add_rules(tx: Tx, group: SecurityGroupRow, first: Sequence[DefaultSecurityGroupRuleRow]) -> None:
    for each in first:
        values = {
            "direction": each["direction"],
            "ethertype": each["ethertype"],
            "protocol": each["protocol"],
            "port_range_min": each["port_range_min"],
            "port_range_max": each["port_range_max"],
            "remote_group_id": group["id"] if each["remote_group_id"] == PARENT else each["remote_group_id"],
            "remote_address_group_id": each["remote_address_group_id"],
        }
        _add_rule(tx, group, {**values, **_prefix(each["remote_ip_prefix"], each["ethertype"])})


def _default_stateful(tx: Tx, project_id: ProjectId) -> bool:
    """Whether a group of the project is stateful that does not say."""
    found = dict(tx.run(_STATEFULNESS, {"project": project_id}).all())
    return bool(found.get(project_id, found.get(None, True)))


def _add_rule(tx: Tx, group: SecurityGroupRow, values: Values) -> SecurityGroupRuleRow:
    row = {
        "description": "",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
        "normalized_cidr": None,
        **values,
        "id": new_id(),
        "project_id": values.get("project_id", group["project_id"]),
        "security_group_id": group["id"],
        "belongs_to_default_sg": bool(group["is_default"]),
        "protocol_number": _number(values.get("protocol"), values["ethertype"]),
        "signature": signature(values),
    }
    # Looked for, and not left to the constraint: a failed statement would end the transaction on some engines.
    other = tx.run(_SAME_RULE, {"group": group["id"], "says": row["signature"]}).scalar()
    if other is not None:
        raise faults.conflict("SecurityGroupRuleExists", f"Security group rule already exists. Rule id is {other}.")
    return add(tx, SECURITY_GROUP_RULE, row)


def decoded_rule(values: Values) -> Values:
    """The rule with its protocol, ports and prefix checked against each other. Raises: BadRequest."""
    ethertype = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(str(values.get("ethertype", "IPv4")).lower())
    if ethertype is None:
        raise faults.refused(
            "SecurityGroupRuleInvalidEtherType",
            f"Security group rule for ethertype '{values['ethertype']}' not supported. "
            "Allowed values are ['IPv4', 'IPv6'].",
        )
    result = {**values, "ethertype": ethertype}
    protocol = values.get("protocol")
    if protocol is not None:
        protocol = str(protocol).lower()
        if protocol == "any":
            protocol = None
        elif ethertype == "IPv6":
            protocol = _ICMP6_NAMES.get(protocol, protocol)
    result["protocol"] = protocol
    number = _number(protocol, ethertype)
    if (values.get("port_range_min"), values.get("port_range_max")) == _ALL_PORTS:
        result["port_range_min"] = result["port_range_max"] = None
    _check_ports(number, protocol, result.get("port_range_min"), result.get("port_range_max"))
    result.update(_prefix(values.get("remote_ip_prefix"), ethertype))
    if ethertype == "IPv4" and number in _ONLY_IPV6:
        raise faults.refused(
            "SecurityGroupEthertypeConflictWithProtocol",
            f"Invalid ethertype {ethertype} for protocol {protocol}.",
        )
    names = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")
    remotes = [name for name in names if values.get(name) is not None]
    if len(remotes) > 1:
        raise faults.refused(
            "SecurityGroupMultipleRemoteEntites",
            "Only one of remote_ip_prefix, remote_group_id or remote_address_group_id may be provided.",
        )
    return result


def _prefix(text: str | None, ethertype: str) -> Values:
    """The addresses on the other side, as given with a mask, and without host bits. Raises: BadRequest."""
    if not text:
        return {"remote_ip_prefix": None}
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise faults.refused(
            "HTTPBadRequest", f"Invalid input for remote_ip_prefix. Reason: '{text}' is not a valid CIDR."
        ) from None
    if network.version != int(ethertype[-1]):
        raise faults.refused(
            "SecurityGroupRuleParameterConflict", f"Conflicting value ethertype {ethertype} for CIDR {text}"
        )
    return {"remote_ip_prefix": text if "/" in text else str(network), "normalized_cidr": str(network)}


def _number(protocol: str | None, ethertype: str) -> int | None:
    if protocol is None:
        return None
    if protocol == "icmp" and ethertype == "IPv6":
        return 58
    if protocol in PROTOCOLS:
        return PROTOCOLS[protocol]
    number = whole_number(protocol)
    if number is not None and number <= 255:
        return number
    names = ", ".join(f"'{name}'" for name in PROTOCOLS)
    raise faults.refused(
        "SecurityGroupRuleInvalidProtocol",
        f"Security group rule protocol {protocol} not supported. Only protocol values (None, 'any', {names}) and "
        "integer representations [0 to 255] are supported.",
    )


def _check_ports(number: int | None, protocol: str | None, low: int | None, high: int | None) -> None:
    if low is None and high is None:
        return
    for value in (low, high):
        if value is not None and not 0 <= value <= 65535:
            raise faults.refused("SecurityGroupInvalidPortValue", f"Invalid value for port {value}")
    if number in _ICMP:
        for name, field, value in (("type", "port_range_min", low), ("code", "port_range_max", high)):
            if value is not None and not 0 <= value <= 255:
                raise faults.refused(
                    "SecurityGroupInvalidIcmpValue",
                    f"Invalid value for ICMP {name} ({field}) {value}. It must be 0 to 255.",
                )
        if low is None:
            raise faults.refused(
                "SecurityGroupMissingIcmpType",
                f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing.",
            )
        return
    if number is None:
        raise faults.refused(
            "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."
        )
    if number not in _WITH_PORTS:
        raise faults.refused(
            "SecurityGroupInvalidProtocolForPort",
            f"Invalid protocol {protocol} for port range, only supported for "
            "['tcp', 'udp', 'udplite', 'sctp', 'dccp'].",
        )
    if 0 in (low, high):
        raise faults.refused("SecurityGroupInvalidPortValue", "Invalid value for port 0")
    if low is None or high is None or low > high:
        raise faults.refused(
            "SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max"
        )


def _visible_rules(caller: Caller) -> ColumnElement[bool] | None:
    if caller.is_admin:
        return None
    mine = select(security_groups.c.id).where(security_groups.c.project_id == caller.project_id)
    return or_(
        security_group_rules.c.project_id == caller.project_id, security_group_rules.c.security_group_id.in_(mine)
    )


def _rule_seen_as(caller: Caller, row: Mapping[str, object]) -> Mapping[str, object]:
    # What a caller sees is in a group that it owns, or a rule of its own that was left in another's.
    return {"security_group:project_id": caller.project_id}


_OWNER = Prepared(select(security_groups.c.project_id).where(security_groups.c.id == bindparam("id")))


def _rule_target(tx: Tx, caller: Caller, values: Mapping[str, object]) -> Mapping[str, object]:
    owner = tx.run(_OWNER, {"id": values.get("security_group_id")}).scalar()
    return {} if owner is None else {"security_group:project_id": owner}


KIND = Kind(
    resource=SECURITY_GROUP,
    create=create_group,
    update=update_group,
    delete=delete_group,
    visible=sight.own_or_shared(security_groups),
    seen_as=sight.as_shared,
    filters={"shared": sight.by_shared(security_groups.c.id)},
    derive=derive_groups,
    shows_rows_of=security_group_rules,
)

RULE_KIND = Kind(
    resource=SECURITY_GROUP_RULE,
    create=create_rule,
    update=None,
    delete=delete_rule,
    visible=_visible_rules,
    target=_rule_target,
    refuse=rule_values.refuse_values,
    filters=rule_values.of_rules(security_group_rules),
    seen_as=_rule_seen_as,
)
