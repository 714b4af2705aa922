"""RBAC policies: networks, groups, pools and what else is declared with its users, shared by one project with another.

What is shared with everybody has the policy with target `*`, and its row says `shared`; a network with any policy
`access_as_external` is external, for the targets of these policies. The row and the policies say the same, whichever
is set: `keep` follows the row, and creating, changing and deleting a policy carries the row along.

A policy stays while another project needs it.

Source: neutron/db/rbac_db_mixin.py, external_net_db.py, db_base_plugin_v2.py (`ensure_no_project_ports_on_network`),
neutron/objects/rbac_db.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, SelectBase, select, update
from sqlalchemy.exc import IntegrityError

from deuteron.model.caller import Caller
from deuteron.model.network import ADDRESS_SCOPE, RBAC_POLICY, RESOURCES, ROUTER_GATEWAY
from deuteron.model.network.rows import RbacPolicyRow, SubnetPoolRow
from deuteron.model.resource import Resource
from deuteron.model.scalars import NetworkId, ProjectId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, quotas, sight
from deuteron.rules.network.kinds import Kind, add, change, find, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES, ports, rbac_policies, routers, security_group_ports, subnets
from deuteron.store.query import Values

Shared = sight.Shareable
"""A row of what can be shared."""
SHARED, EXTERNAL = "access_as_shared", "access_as_external"
EVERYBODY = "*"

_SHAREABLE: Final[dict[str, Resource[Any]]] = {resource.name: resource for resource in RESOURCES if resource.used_by}
"""By kind. What names an object of it, is declared."""
ACTIONS: Final = {kind: (SHARED, EXTERNAL) if kind == "network" else (SHARED,) for kind in _SHAREABLE}


def create_policy(tx: Tx, settings: Settings, caller: Caller, values: Values) -> RbacPolicyRow:
    """Share an object. Raises: BadRequest, NotFound, Conflict."""
    kind, action = values["object_type"], values["action"]
    if caller.is_admin and kind != "subnetpool":
        _refuse_action(kind, action)
    row = _shared(tx, kind, values["object_id"])
    is_own = row is not None and (caller.is_admin or row["project_id"] == caller.project_id)
    if row is None or not (is_own or sight.is_shared(tx, caller, row)):
        raise faults.missing(
            "RbacPolicyNotFound", f"RBAC policy of type {kind} with ID {values['object_id']} not found"
        )
    if not is_own:
        raise faults.invalid_input(f"{kind} {row['id']} is another project's, which alone may share it further")
    _refuse_action(kind, action)
    if kind == "subnetpool":
        refuse_closed_scope(tx, cast("SubnetPoolRow", row), values["target_tenant"])
    quotas.check(tx, "rbac_policy", values["project_id"])
    policy = _add(tx, values)
    _carry(tx, kind, row)
    return policy


def _refuse_action(kind: str, action: str) -> None:
    """Raises: BadRequest. Neutron asks it of what is the caller's: of an administrator first, but for pools."""
    if action not in ACTIONS[kind]:
        raise faults.refused(
            "InvalidActionForType",
            f"Invalid action '{action}' for object type '{kind}'. Valid actions: {', '.join(ACTIONS[kind])}",
        )


def update_policy(tx: Tx, settings: Settings, caller: Caller, row: RbacPolicyRow, values: Values) -> RbacPolicyRow:
    """Share with another project instead. Raises: BadRequest, Conflict."""
    target: str = values["target_tenant"] if "target_tenant" in values else row["target_tenant"]
    if target == row["target_tenant"]:
        return row
    shared = _shared(tx, row["object_type"], row["object_id"])
    assert shared is not None  # its policies go with it
    if row["object_type"] == "subnetpool":
        refuse_closed_scope(tx, cast("SubnetPoolRow", shared), target)
    _refuse_if_needed(tx, row, shared, target)
    try:
        changed = change(tx, RBAC_POLICY, row, values)
    except IntegrityError:
        raise _duplicate() from None
    _carry(tx, row["object_type"], shared)
    return changed


def delete_policy(tx: Tx, settings: Settings, caller: Caller, row: RbacPolicyRow) -> None:
    """Stop sharing. Raises: Conflict while another project needs it."""
    shared = _shared(tx, row["object_type"], row["object_id"])
    if shared is not None:
        _refuse_if_needed(tx, row, shared, None)
    remove(tx, RBAC_POLICY, row["id"])
    if shared is not None:
        _carry(tx, row["object_type"], shared)


def keep(tx: Tx, kind: str, row: Shared, before: Mapping[str, object], *, project_id: ProjectId | None = None) -> None:
    """Make the policies say what `row` says that `before` did not: shared with everybody or no longer, external or not.

    A network that ceases to be external is external for nobody. A new policy is the object's project's, unless told:
    of who shares what is there already, as Neutron has it of all but networks.
    """
    for name, action in (("shared", SHARED), ("router:external", EXTERNAL)):
        is_so = bool(row.get(name))
        if is_so == bool(before.get(name)):
            continue
        found = [rbac_policies.c.object_id == row["id"], rbac_policies.c.action == action]
        if action == SHARED:
            found.append(rbac_policies.c.target_tenant == EVERYBODY)
        _remove_all(tx, *found)
        if is_so:
            names = {"project_id": project_id or row["project_id"], "object_type": kind, "object_id": row["id"]}
            _add(tx, {**names, "target_tenant": EVERYBODY, "action": action})
        if action == EXTERNAL:
            _show_on_subnets(tx, NetworkId(row["id"]), is_so)


def refuse_to_hide(tx: Tx, kind: str, row: Shared) -> None:
    """Raises: Conflict when somebody uses the object that is shared with everybody, and with them in no other way."""
    mine = (rbac_policies.c.object_id == row["id"], rbac_policies.c.action == SHARED)
    for policy in query.rows(tx, rbac_policies, *mine, rbac_policies.c.target_tenant == EVERYBODY):
        _refuse_if_needed(tx, policy, row, None)


def forget(tx: Tx, object_id: str) -> None:
    """The object is gone, and its policies with it."""
    _remove_all(tx, rbac_policies.c.object_id == object_id)


def _remove_all(tx: Tx, *conditions: ColumnElement[bool]) -> None:
    for policy_id in tx.scalars(select(rbac_policies.c.id).where(*conditions)):
        remove(tx, RBAC_POLICY, policy_id)


def refuse_closed_scope(tx: Tx, pool: SubnetPoolRow, target: str) -> None:
    """Whoever is to use a pool has to have access to its address scope. Raises: BadRequest.

    Source: neutron/objects/subnetpool.py `validate_rbac_policy_create`.
    """
    scope_id = pool.get("address_scope_id")
    if scope_id is None:
        return
    scope = find(tx, ADDRESS_SCOPE, scope_id)
    if scope is None or scope["project_id"] == target:
        return
    if not {EVERYBODY, target} & set(_targets(tx, scope_id, SHARED)):
        raise faults.invalid_input(
            f"Failed to create RBAC policy on object {pool['id']} because target project doesn't have access to "
            "associated address scope"
        )


def _add(tx: Tx, values: Values) -> RbacPolicyRow:
    try:
        return add(tx, RBAC_POLICY, values)
    except IntegrityError:
        raise _duplicate() from None


def _duplicate() -> Exception:
    return faults.conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")


def _targets(tx: Tx, object_id: str, action: str) -> list[str]:
    """With whom the object is shared."""
    return tx.scalars(
        select(rbac_policies.c.target_tenant).where(
            rbac_policies.c.object_id == object_id, rbac_policies.c.action == action
        )
    )


def _shared(tx: Tx, kind: str, object_id: str) -> Shared | None:
    """The row of what a policy shares, of whichever kind it is."""
    found: Shared | None = find(tx, _SHAREABLE[kind], object_id)
    return found


def _carry(tx: Tx, kind: str, row: Shared) -> None:
    """Make the object's row say what its policies say."""
    changed = {"shared": EVERYBODY in _targets(tx, row["id"], SHARED)}
    if kind == "network":
        changed["router:external"] = bool(_targets(tx, row["id"], EXTERNAL))
        if changed["router:external"] != row.get("router:external"):
            _show_on_subnets(tx, NetworkId(row["id"]), changed["router:external"])
    change(tx, _SHAREABLE[kind], row, changed)


def _show_on_subnets(tx: Tx, network_id: NetworkId, external: bool) -> None:
    tx.execute(
        update(subnets).where(subnets.c.network_id == network_id).values({subnets.c["router:external"]: external})
    )


# --- who needs a policy -------------------------------------------------------------------------------------------


def _refuse_if_needed(tx: Tx, policy: RbacPolicyRow, row: Shared, instead: str | None) -> None:
    """Raises: Conflict when somebody needs the policy, which is to go or to name `instead`."""
    target = policy["target_tenant"]
    others = [each for each in _targets(tx, row["id"], policy["action"]) if each != target]
    if policy["action"] == EXTERNAL:
        if target == EVERYBODY and row.get("is_default"):
            raise _in_use(row["id"], "Default external networks must be shared to everyone.")
        if instead is not None:
            others.append(instead)
        attached = routers.c.gateway_network_id == row["id"]
        if _needs(tx, select(routers.c.project_id).where(attached), target, others):
            raise _in_use(
                row["id"], "There are routers attached to this network that depend on this policy for access."
            )
        gateways = select(ports.c.id).where(ports.c.network_id == row["id"], ports.c.device_owner == ROUTER_GATEWAY)
        if not others and tx.first(gateways.limit(1)) is not None:
            raise _in_use(row["id"], "It is the last that makes the network external, which has gateway ports.")
        return
    if row["project_id"] == target or (instead == EVERYBODY and policy["object_type"] != "network"):
        return
    if policy["object_type"] == "network":
        # Of other kinds the owner's own use counts, too: `_validate_rbac_policy_delete` of neutron/objects/rbac_db.py.
        others.append(row["project_id"])
    if _needs(tx, _users(policy["object_type"], row["id"]), target, others):
        raise _in_use(row["id"], f"It is used by {'other projects' if target == EVERYBODY else f'project {target}'}.")


def _users(kind: str, object_id: str) -> SelectBase:
    """The projects that use the object."""
    found = []
    for user, attribute in _SHAREABLE[kind].used_by:
        table = TABLES[user]
        if table is ports and attribute == "security_groups":
            has = select(security_group_ports.c.port_id).where(security_group_ports.c.security_group_id == object_id)
            found.append(select(ports.c.project_id).where(ports.c.id.in_(has)))
        else:
            found.append(select(table.c.project_id).where(table.c[attribute] == object_id))
    return found[0].union_all(*found[1:]) if found[1:] else found[0]


def _needs(tx: Tx, users: SelectBase, target: str, others: Collection[str]) -> bool:
    """Whether one of the projects that `users` selects loses access with `target` and keeps none through `others`."""
    if EVERYBODY in others:
        return False
    using = users.subquery()
    column = using.c.project_id
    # A project without a name is the cloud's own: floating IPs and gateways.
    lost = column.not_in([*others, ""]) if target == EVERYBODY else column == target
    return tx.first(select(column).where(lost).limit(1)) is not None


def _in_use(object_id: str, details: str) -> Exception:
    return faults.conflict(
        "RbacPolicyInUse",
        f"RBAC policy on object {object_id} cannot be removed because other objects depend on it.\nDetails: {details}",
    )


def _visible(caller: Caller) -> ColumnElement[bool] | None:
    if caller.is_admin:
        return None
    return rbac_policies.c.project_id == caller.project_id


KIND = Kind(resource=RBAC_POLICY, create=create_policy, update=update_policy, delete=delete_policy, visible=_visible)
