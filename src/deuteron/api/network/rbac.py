"""RBAC policies: networks, subnet pools and groups that one project shares with another.

A network shared with everybody has the policy with target `*`; the two say the same, whichever is set.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError

from deuteron.api.cloud import Cloud
from deuteron.api.network import faults, quotas
from deuteron.api.network.kinds import Kind, add, change, find, remove
from deuteron.model.caller import Caller
from deuteron.model.network import RBAC_POLICY
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports, rbac_policies
from deuteron.store.query import Values

ACTIONS = {
    "network": ("access_as_shared", "access_as_external"),
    "security_group": ("access_as_shared",),
}


def create_policy(tx: Tx, cloud: Cloud, caller: Caller, values: Values) -> Values:
    """Share an object. Raises: BadRequest, NotFound, Conflict."""
    kind, action = values["object_type"], values["action"]
    if kind not in ACTIONS:
        raise faults.invalid_input(f"Object type '{kind}' cannot be shared; accepted: {', '.join(ACTIONS)}")
    if action not in ACTIONS[kind]:
        raise faults.invalid_input(
            f"Action '{action}' on RBAC policy for object type '{kind}' not supported. "
            f"Supported actions are {list(ACTIONS[kind])}"
        )
    target = find(tx, kind, values["object_id"])
    if target is None or not (caller.is_admin or target["project_id"] == caller.project_id):
        raise faults.missing(
            "RbacPolicyNotFound", f"RBAC policy of type {kind} with ID {values['object_id']} not found"
        )
    quotas.check(tx, "rbac_policy", values["project_id"])
    try:
        row = add(tx, "rbac_policy", values)
    except IntegrityError:
        raise faults.conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.") from None
    _mirror(tx, row, True)
    return row


def update_policy(tx: Tx, cloud: Cloud, caller: Caller, row: Values, values: Values) -> Values:
    """Share with another project instead. Raises: Conflict."""
    _refuse_if_used(tx, row)
    _mirror(tx, row, False)
    try:
        changed = change(tx, "rbac_policy", row, values)
    except IntegrityError:
        raise faults.conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.") from None
    _mirror(tx, changed, True)
    return changed


def delete_policy(tx: Tx, cloud: Cloud, caller: Caller, row: Values) -> None:
    """Stop sharing. Raises: Conflict while the other project has ports there."""
    _refuse_if_used(tx, row)
    remove(tx, "rbac_policy", row["id"])
    _mirror(tx, row, False)


def _mirror(tx: Tx, policy: Values, present: bool) -> None:
    if policy["object_type"] != "network" or policy["target_tenant"] != "*":
        return
    network = find(tx, "network", policy["object_id"])
    if network is not None:
        name = "shared" if policy["action"] == "access_as_shared" else "router:external"
        change(tx, "network", network, {name: present})


def _refuse_if_used(tx: Tx, row: Values) -> None:
    if row["object_type"] != "network" or row["target_tenant"] == "*":
        return
    used = tx.first(
        select(ports.c.id)
        .where(ports.c.network_id == row["object_id"], ports.c.project_id == row["target_tenant"])
        .limit(1)
    )
    if used is not None:
        raise faults.conflict(
            "RbacPolicyInUse",
            f"RBAC policy on object {row['object_id']} cannot be removed because other objects depend on it.",
        )


def _visible(caller: Caller) -> ColumnElement[bool] | None:
    if caller.is_admin:
        return None
    return rbac_policies.c.project_id == caller.project_id


KIND = Kind(resource=RBAC_POLICY, create=create_policy, update=update_policy, delete=delete_policy, visible=_visible)
