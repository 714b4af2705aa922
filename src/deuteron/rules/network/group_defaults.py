"""What new security groups begin with: templates of their rules, and whether they are stateful.

A template names groups that are there: Neutron takes any text, and then fails to make groups. It is gone with the
security group that it names, as rules are.

Source: neutron/db/securitygroups_db.py, neutron/db/security_groups_default_statefulness.py (whose writes answer 500 in
Neutron 29; here they do what its reference says).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, func, or_, select

from deuteron.model.caller import Caller
from deuteron.model.network import (
    ADDRESS_GROUP,
    DEFAULT_SECURITY_GROUP_RULE,
    PARENT,
    SECURITY_GROUP,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS,
)
from deuteron.model.network.rows import DefaultSecurityGroupRuleRow, SecurityGroupsDefaultStatefulnessRow
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, rule_values, security_groups, sight
from deuteron.rules.network.kinds import Kind, add, change, find, remove
from deuteron.store.database import Tx
from deuteron.store.network_tables import table_of
from deuteron.store.query import Values

_templates = table_of(DEFAULT_SECURITY_GROUP_RULE)
_statefulness = table_of(SECURITY_GROUPS_DEFAULT_STATEFULNESS)
MAX_TEMPLATES: Final = 100
"""Each new group has a rule of each: it is made in one turn of the writer. Neutron has no bound but the quota."""

_FIRST: Final = "Legacy default SG rule for {} traffic"
"""By what is said of them, tools tell the templates that a cloud begins with.

Source: neutron/db/migration, c33da356b165_security_group_default_rules.py.
"""


def bootstrap(tx: Tx) -> None:
    """Make the templates that a cloud begins with, once: while it has neither templates nor groups."""
    groups = table_of(SECURITY_GROUP)
    if any(tx.first(select(table.c.id).limit(1)) is not None for table in (_templates, groups)):
        return
    for ethertype in ("IPv4", "IPv6"):
        _add(tx, {"direction": "egress", "ethertype": ethertype, "description": _FIRST.format("egress")}, others=True)
        inside = {"direction": "ingress", "ethertype": ethertype, "remote_group_id": PARENT}
        _add(tx, {**inside, "description": _FIRST.format("ingress")}, others=False)


def create_template(tx: Tx, settings: Settings, caller: Caller, values: Values) -> DefaultSecurityGroupRuleRow:
    """A new template. Raises: BadRequest; NotFound for a group that is not there; Conflict for one that says the same.

    As in Neutron, what other groups begin with is not said again, whatever the flags; beyond it, what default groups
    begin with is not said to them twice.
    """
    decoded = security_groups.decoded_rule(values)
    remote, addresses = decoded.get("remote_group_id"), decoded.get("remote_address_group_id")
    if remote not in (None, PARENT) and find(tx, SECURITY_GROUP, remote) is None:
        raise faults.not_found("security_group", remote)
    if addresses is not None and find(tx, ADDRESS_GROUP, addresses) is None:
        raise faults.not_found("address_group", addresses)
    same: ColumnElement[bool] = _templates.c.used_in_non_default_sg
    if values["used_in_default_sg"]:
        same = or_(same, _templates.c.used_in_default_sg)
    says = security_groups.signature(decoded)
    other = tx.scalar(select(_templates.c.id).where(_templates.c.signature == says, same).limit(1))
    if other is not None:
        raise faults.conflict(
            "DefaultSecurityGroupRuleExists", f"Default Security group rule already exists. Rule id is {other}."
        )
    held = tx.scalar(select(func.count()).select_from(_templates)) or 0
    if held >= MAX_TEMPLATES:
        raise faults.conflict(
            "OverQuota", f"Another template of rules was to be made: there are {held}, and at most {MAX_TEMPLATES}."
        )
    columns = {name: value for name, value in decoded.items() if name in _templates.c}
    return add(tx, DEFAULT_SECURITY_GROUP_RULE, {**columns, "signature": says})


def delete_template(tx: Tx, settings: Settings, caller: Caller, row: DefaultSecurityGroupRuleRow) -> None:
    """Groups that are there keep their rules."""
    remove(tx, DEFAULT_SECURITY_GROUP_RULE, row["id"])


def create_statefulness(
    tx: Tx, settings: Settings, caller: Caller, values: Values
) -> SecurityGroupsDefaultStatefulnessRow:
    """What groups of a project are that do not say, or of all others. Raises: Conflict for a second one."""
    owner = values["project_id"]
    same = _statefulness.c.project_id.is_(None) if owner is None else _statefulness.c.project_id == owner
    if tx.first(select(_statefulness.c.id).where(same).limit(1)) is not None:
        raise faults.conflict(
            "SecurityGroupDefaultStatefulnessAlreadyExists",
            f"A security group default statefulness setting already exists for project '{owner or 'system-wide'}'.",
        )
    return add(tx, SECURITY_GROUPS_DEFAULT_STATEFULNESS, values)


def update_statefulness(
    tx: Tx, settings: Settings, caller: Caller, row: SecurityGroupsDefaultStatefulnessRow, values: Values
) -> SecurityGroupsDefaultStatefulnessRow:
    """Groups that are there stay as they are."""
    return change(tx, SECURITY_GROUPS_DEFAULT_STATEFULNESS, row, values)


def delete_statefulness(tx: Tx, settings: Settings, caller: Caller, row: SecurityGroupsDefaultStatefulnessRow) -> None:
    remove(tx, SECURITY_GROUPS_DEFAULT_STATEFULNESS, row["id"])


def _add(tx: Tx, values: Values, *, others: bool) -> None:
    values = {**values, "used_in_default_sg": True, "used_in_non_default_sg": others}
    add(tx, DEFAULT_SECURITY_GROUP_RULE, {**values, "signature": security_groups.signature(values)})


KIND = Kind(
    resource=DEFAULT_SECURITY_GROUP_RULE,
    create=create_template,
    update=None,
    delete=delete_template,
    visible=lambda caller: None,
    refuse=rule_values.refuse_values,
    filters=rule_values.of_rules(_templates),
    max_bulk=0,
)

STATEFULNESS_KIND = Kind(
    resource=SECURITY_GROUPS_DEFAULT_STATEFULNESS,
    create=create_statefulness,
    update=update_statefulness,
    delete=delete_statefulness,
    visible=sight.own(_statefulness.c.project_id),
    max_bulk=0,
)
