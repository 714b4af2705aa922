"""Resizes, migrations and evacuations: `os-migrations`, and those under way below their server.

Source: nova/api/openstack/compute/migrations.py, server_migrations.py; nova/db/main/api.py
`migration_get_all_by_filters`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import false, or_

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_from
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.compute import history, live_moves, migrations
from deuteron.rules.compute.faults import invalid, wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.migrations import MigrationRow
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.hosts import registry
from deuteron.store import compute_tables
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order

_T = compute_tables.migrations
_FILTERS = {
    "status": "status",
    "migration_type": "type",
    "source_compute": "source",
    "instance_uuid": "server_id",
    "project_id": "project_id",
    "user_id": "user_id",
}


def list_all(call: Call, tx: Tx) -> Reply:
    """Raises: BadRequest, Forbidden."""
    access.require(call, "os-migrations:index")
    if call.get("project_id") != call.caller.project_id:
        access.require(call, "os-migrations:index:all_projects")
    listing = Listing(_T, _conditions(call), _newest_first(call), marker="id")
    rows, links = paging.page(call, tx, listing, "migrations", "os-migrations", is_paged=call.version >= 59)
    with_hosts = access.allowed(call, "os-migrations:index:host")
    shown = [_shown(call, tx, row, with_hosts=with_hosts) for row in rows]
    return Reply(200, {"migrations": shown, **links})


def list_of_server(call: Call, tx: Tx) -> Reply:
    """Those of a server that are under way and live. Raises: NotFound, Forbidden."""
    only_from(call, 23)
    row = access.server_for(call, tx, "servers:migrations:index")
    newest = migrations.newest(tx, row.id)
    with_hosts = access.allowed(call, "servers:migrations:index:host", project_id=row.project_id)
    shown = [] if newest is None or not _is_live(newest) else [_under_way(call, tx, newest, with_hosts=with_hosts)]
    return Reply(200, {"migrations": shown})


def show_of_server(call: Call, tx: Tx) -> Reply:
    """Raises: NotFound unless it is under way and live; Forbidden."""
    only_from(call, 23)
    row = access.server_for(call, tx, "servers:migrations:show")
    found = _of_server(call, tx, row)
    if found is None:
        raise _missing(f"In-progress live migration {call.params['migration']} is not found for server {row.id}.")
    if found.type != migrations.LIVE:
        raise _missing(f"Migration {found.number} for server {row.id} is not live-migration.")
    if not _is_live(found):
        raise _missing(f"Live migration {found.number} for server {row.id} is not in progress.")
    return Reply(200, {"migration": _under_way(call, tx, found, with_hosts=True)})


def abort(call: Call, tx: Tx) -> Reply:
    """DELETE, from 2.24 on. Raises: NotFound, Conflict, BadRequest."""
    only_from(call, 24)
    row = access.server_for(call, tx, "servers:migrations:delete")
    require_unlocked(call.caller, row)
    if row.task_state != "migrating":
        raise wrong_state("abort live migration", row.id, "task_state", row.task_state)
    found = _of_server(call, tx, row)
    if found is None:
        raise _missing(f"Migration {call.params['migration']} not found for instance {row.id}")
    if call.version < 65 and found.status in ("queued", "preparing"):
        raise live_moves.not_now("abort", row, found)
    live_moves.abort(tx, call.settings, call.caller, call.request_id, row, found)
    return Reply(202)


def force_complete(call: Call, tx: Tx) -> Reply:
    """POST of the action `force_complete`, from 2.22 on. Raises: NotFound, Conflict, BadRequest."""
    only_from(call, 22)
    given = Body("body", call.json()).only((), ("force_complete",)).raw["force_complete"]
    if given is not None:
        raise invalid("force_complete", given, f"{quoted(given)} is not of type 'null'")
    row = access.server_for(call, tx, "servers:migrations:force_complete")
    require_unlocked(call.caller, row)
    require_state(row, "force_complete", ("active",), ("migrating", None))
    found = _of_server(call, tx, row)
    if found is None:
        raise BadRequest(
            f"Migration {call.params['migration']} not found for instance {row.id}", type="MigrationNotFoundForInstance"
        )
    live_moves.force_complete(tx, call.caller, call.request_id, row, found)
    return Reply(202)


def _of_server(call: Call, tx: Tx, row: ServerRow) -> MigrationRow | None:
    number = whole_number(call.params["migration"])
    return None if number is None else migrations.find(tx, row.id, number)


def _missing(message: str) -> NotFound:
    return NotFound(message, type="HTTPNotFound")


def _is_live(row: MigrationRow) -> bool:
    return row.type == migrations.LIVE and row.status in migrations.IN_PROGRESS


def _newest_first(call: Call) -> list[Order]:
    """As Nova since 2.59; before it the order is that in which they were asked for."""
    if call.version < 59:
        return [Order("number", has_nulls=False), Order("id")]
    names = ("created_at", "number", "id")
    return [Order(name, descending=True, has_nulls=False) for name in names]


def _conditions(call: Call) -> list[Any]:
    """Raises: BadRequest."""
    found: list[Any] = []
    for name, column in _FILTERS.items():
        value = call.get(name)
        if value is not None:
            found.append(_T.c[column] == value)
    host = call.get("host")
    if host is not None:
        found.append(or_(_T.c["source"] == host, _T.c["dest"] == host))
    if call.get("hidden") in ("1", "true", "True"):
        found.append(false())  # none is hidden here, and Nova shows none that is
    if call.version >= 59:
        since, before = paging.moments(call, until=call.version >= 66)
        # Nova compares the time of the last change, which a new one has not yet.
        found += [] if since is None else [_T.c["updated_at"] >= history.moment(since)]
        found += [] if before is None else [_T.c["updated_at"] <= history.moment(before)]
    return found


def _places(call: Call, tx: Tx, row: MigrationRow, *, with_hosts: bool) -> dict[str, str | None]:
    """Who may not know of hosts sees null in their place."""
    source, dest = (row.source, row.dest) if with_hosts else (None, None)
    host = None if dest is None else registry.find(tx, call.settings, dest)
    address = None if host is None or host.hello is None else host.hello.tunnel_ip
    return {
        "source_compute": source,
        "source_node": source,
        "dest_compute": dest,
        "dest_node": dest,
        "dest_host": address or dest,
    }


def _shown(call: Call, tx: Tx, row: MigrationRow, *, with_hosts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.number,
        "instance_uuid": row.server_id,
        "status": row.status,
        # Numbers of Nova's own rows of flavors, which have none here.
        "old_instance_type_id": None,
        "new_instance_type_id": None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        **_places(call, tx, row, with_hosts=with_hosts),
    }
    if call.version >= 23:
        shown["migration_type"] = row.type
        if _is_live(row):
            shown["links"] = paging.links(call, f"servers/{row.server_id}/migrations/{row.number}")
    return shown | _named(call, row)


def _under_way(call: Call, tx: Tx, row: MigrationRow, *, with_hosts: bool) -> dict[str, Any]:
    known = row.figures or {}
    figures = {
        f"{what}_{part}_bytes": known.get(f"{what}_{part}", 0) if row.figures is not None else None
        for what in ("memory", "disk")
        for part in ("total", "processed", "remaining")
    }
    return {
        "id": row.number,
        "server_uuid": row.server_id,
        "status": row.status,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        **figures,
        **_places(call, tx, row, with_hosts=with_hosts),
        **_named(call, row),
    }


def _named(call: Call, row: MigrationRow) -> dict[str, str]:
    shown = {"uuid": row.id} if call.version >= 59 else {}
    return shown | ({"project_id": row.project_id, "user_id": row.user_id} if call.version >= 80 else {})
