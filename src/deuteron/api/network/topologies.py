"""GET /auto-allocated-topology/{project} makes a network for the project, unless it has one already."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.network import rights
from deuteron.model.errors import Forbidden
from deuteron.model.scalars import ProjectId
from deuteron.rules.network import faults, security_groups, topologies
from deuteron.store.database import Tx
from deuteron.store.query import Values

_DRY_RUN = "dry-run"


def show(call: Call, tx: Tx) -> Reply:
    """The network's id; with `fields=dry-run` whether it could be made."""
    owner = _owner(call)
    if not call.policy.check(call.caller, "get_auto_allocated_topology", _target(owner)):
        raise faults.missing("HTTPNotFound", "The resource could not be found.")
    fields = _fields(call)
    if _DRY_RUN in fields:
        topologies.check(tx, call.caller)
        return Reply(200, {"auto_allocated_topology": {"id": "dry-run=pass", "project_id": owner}})
    if fields:
        raise faults.bad_request("auto_allocate", "Unrecognized field")
    if tx.writable:
        found = topologies.provide(tx, call.settings, call.caller, owner)
    else:
        there = topologies.network_of(tx, owner)
        if there is None:
            raise faults.conflict(
                "AutoAllocationFailure", f"The network of project {owner} went while it was read; ask for it again."
            )
        found = there
    return Reply(200, {"auto_allocated_topology": {"id": found, **_target(owner)}})


def lacks(call: Call, tx: Tx) -> bool:
    """Whether `show` has to make something."""
    caller, owner = call.caller, _named(call)
    if owner is None or _fields(call) or not call.policy.check(caller, "get_auto_allocated_topology", _target(owner)):
        return False
    return (caller.is_admin or owner == caller.project_id) and topologies.network_of(tx, owner) is None


def delete(call: Call, tx: Tx) -> Reply:
    """DELETE: what is not there is no mistake. Raises: Conflict as `show` where it could not be made."""
    owner = _owner(call)
    rights.require(call, "delete_auto_allocated_topology", _target(owner))
    if topologies.network_of(tx, owner) is None:
        topologies.check(tx, call.caller)  # Neutron looks for it as one who asks for it, and so makes it
        security_groups.default_group(tx, owner)  # stays of what was made
    topologies.take_down(tx, call.settings, call.caller, owner)
    return Reply(204)


def _named(call: Call) -> ProjectId | None:
    """The project in the path; clients write None for their own."""
    named = call.params["project"]
    return call.caller.project_id if named == "None" else ProjectId(named)


def _owner(call: Call) -> ProjectId:
    owner = _named(call)
    if owner is None or not (call.caller.is_admin or owner == call.caller.project_id):
        raise Forbidden("Not authorized.", type="NotAuthorized")
    return owner


def _fields(call: Call) -> set[str]:
    return {value for name, value in call.query if name == "fields" and value}


def _target(owner: ProjectId) -> Values:
    return {"project_id": owner, "tenant_id": owner}
