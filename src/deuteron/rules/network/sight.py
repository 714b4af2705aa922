"""Who sees what: visibility as SQL conditions, and what policy rules ask of a row.

What a caller may not see is not found (404); what it sees and may not do is refused (403). `None` as caller
is the cloud itself, which sees everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, false, or_, select
from typing_extensions import ReadOnly, TypedDict

from deuteron.model.caller import Caller
from deuteron.model.codecs import Boolean, Invalid
from deuteron.model.network.rows import NetworkRow
from deuteron.model.resource import RowT
from deuteron.model.settings import Settings
from deuteron.rules.network import faults
from deuteron.rules.network.kinds import Kind
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, rbac_policies, subnets
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values


class Shareable(TypedDict):
    """What is asked of a row that another project may share."""

    id: ReadOnly[str]
    project_id: ReadOnly[str]
    shared: ReadOnly[bool]


def shared_with(caller: Caller, action: str = "access_as_shared") -> Select[Any]:
    """Ids of objects that RBAC policies share with the caller's project."""
    return select(rbac_policies.c.object_id).where(
        rbac_policies.c.target_tenant.in_((caller.project_id, "*")), rbac_policies.c.action == action
    )


_SHARED = Prepared(
    select(rbac_policies.c.object_id).where(
        or_(rbac_policies.c.target_tenant == bindparam("project"), rbac_policies.c.target_tenant == "*"),
        rbac_policies.c.action == "access_as_shared",
    )
)


def ids_shared_with(tx: Tx, caller: Caller) -> set[str]:
    """What `shared_with` selects, as far as using is concerned."""
    return set(tx.run(_SHARED, {"project": caller.project_id}).scalars())


def show_shared(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """What is shared with the caller's project says so: a `derive` function."""
    if "shared" in names and caller.project_id is not None:
        shared = ids_shared_with(tx, caller)
        if shared:
            for row in rows:
                row["shared"] = row["shared"] or row["id"] in shared


def own(column: ColumnElement[Any]) -> Callable[[Caller], ColumnElement[bool] | None]:
    """A `visible` function: everything for an admin, else what the caller's project owns."""

    def visible(caller: Caller) -> ColumnElement[bool] | None:
        return None if caller.is_admin else column == caller.project_id

    return visible


def for_admins(caller: Caller) -> ColumnElement[bool] | None:
    """A `visible` function: everything for an admin, nothing for others."""
    return None if caller.is_admin else false()


def own_or_shared(table: Table) -> Callable[[Caller], ColumnElement[bool] | None]:
    """A `visible` function: what the caller's project owns, or is shared with it."""

    def visible(caller: Caller) -> ColumnElement[bool] | None:
        if caller.is_admin:
            return None
        return or_(table.c.project_id == caller.project_id, table.c.shared, table.c.id.in_(shared_with(caller)))

    return visible


def as_shared(caller: Caller, row: Mapping[str, object]) -> Mapping[str, object]:
    """A `seen_as` function: what the caller sees and does not own is shared with it."""
    return {} if row.get("project_id") == caller.project_id or caller.is_admin else {"shared": True}


def may_use(tx: Tx, caller: Caller | None, row: Shareable) -> bool:
    """Whether the caller owns the object, or it is shared with it. None is the cloud itself."""
    if caller is None or caller.is_admin or caller.is_service or row["project_id"] == caller.project_id:
        return True
    return is_shared(tx, caller, row)


def is_shared(tx: Tx, caller: Caller, row: Shareable) -> bool:
    """Whether the object is shared with the caller's project, by name or with everybody."""
    if row["shared"]:
        return True
    policies = shared_with(caller).where(rbac_policies.c.object_id == row["id"])
    return tx.first(policies.limit(1)) is not None


def visible_networks(caller: Caller) -> ColumnElement[bool] | None:
    if caller.is_admin or caller.is_service:
        return None
    return or_(
        networks.c.project_id == caller.project_id,
        networks.c.shared,
        networks.c.id.in_(shared_with(caller)),
        networks.c.id.in_(shared_with(caller, "access_as_external")),
    )


def visible_subnets(caller: Caller) -> ColumnElement[bool] | None:
    """Its own, and all on networks that others share with it, or that are external: not on a network because it is its
    own, where an administrator may have made one for another project.

    Source: neutron/db/models_v2.py, `Subnet.rbac_entries`.
    """
    if caller.is_admin or caller.is_service:
        return None
    column = subnets.c.network_id
    return or_(
        subnets.c.project_id == caller.project_id,
        column.in_(select(networks.c.id).where(networks.c.shared)),
        column.in_(shared_with(caller)),
        column.in_(shared_with(caller, "access_as_external")),
    )


def by_shared(column: ColumnElement[Any]) -> Callable[[Caller, Sequence[str]], ColumnElement[bool]]:
    """A `shared` filter by what `column` names, an object or its network: whether another project shares it.

    Of several values the first counts, and each has to be one. Source: neutron-lib, neutron_lib/db/model_query.py
    `apply_filters`.
    """

    def condition(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
        try:
            wanted, *_ = [Boolean().decode(text) for text in texts]
        except Invalid as error:
            raise faults.invalid_input(error.reason) from None
        shared = column.in_(shared_with(caller))
        return shared if wanted else ~shared

    return condition


_NETWORK = Prepared(select(networks.c.project_id, networks.c.shared).where(networks.c.id == bindparam("network")))


def network_target(tx: Tx, caller: Caller, values: Mapping[str, object]) -> Mapping[str, object]:
    """What rules ask of the network that `values` are on: its owner, and whether the caller shares it."""
    network_id = values.get("network_id")
    kept = kept_network(tx, network_id)
    found = tx.run(_NETWORK, {"network": network_id}).first() if kept is None else (kept["project_id"], kept["shared"])
    if found is None:
        return {}
    owner, shared = found
    is_shared = bool(shared) or (owner != caller.project_id and network_id in ids_shared_with(tx, caller))
    return {"network:project_id": owner, "shared": is_shared}


def kept_network(tx: Tx, network_id: object) -> NetworkRow | None:
    """The network, when this transaction read it for what it makes there."""
    row: NetworkRow | None = tx.kept.get(f"network {network_id}")
    return row


def network_for(tx: Tx, caller: Caller | None, network_id: str) -> NetworkRow:
    """The network, if the caller may see it. Read once for all that a request makes on it. Raises: NotFound."""
    row = kept_network(tx, network_id) or query.row_by_id(tx, networks, network_id)
    if row is None:
        raise faults.not_found("network", network_id)
    tx.kept[f"network {network_id}"] = row
    if caller is None or caller.is_admin or caller.is_service or row["project_id"] == caller.project_id:
        return row
    if row["shared"]:
        return row
    condition = visible_networks(caller)
    assert condition is not None
    if query.row_by_id(tx, networks, network_id, condition) is None:
        raise faults.not_found("network", network_id)
    return row


def find_visible(tx: Tx, caller: Caller, kind: Kind[RowT], object_id: str, parent_id: str | None = None) -> RowT:
    """The row, if the caller may see it; of a nested kind, if it is in that parent. Raises: NotFound."""
    condition = kind.visible(caller)
    nesting = kind.resource.parent
    row_id = object_id if nesting is None else nesting.id_of(parent_id or "", object_id)
    row = query.row_by_id(tx, kind.table, row_id, *(() if condition is None else (condition,)))
    elsewhere = row is not None and nesting is not None and parent_id not in (None, row[nesting.attribute])
    if row is None or elsewhere:
        raise faults.not_found(kind.name, object_id, parent_id or "")
    return row


def parent_target(parent: Mapping[str, object] | None) -> dict[str, object]:
    """What rules ask of the object that another is a part of."""
    if parent is None:
        return {}
    return dict.fromkeys(("ext_parent:project_id", "ext_parent:tenant_id"), parent.get("project_id"))


def row_target(row: Mapping[str, object]) -> dict[str, object]:
    """A row under the names that policy rules use."""
    return {**row, "tenant_id": row.get("project_id")}
