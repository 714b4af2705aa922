"""Lists of servers: what a query asks for, in which order, page by page, living ones and those that are gone.

Everybody may ask for what their microversion lists; what else a query names is ignored for them, as Nova does, and acts
for administrators. Filters of text are regular expressions except where Nova compares.

Source: nova/api/openstack/compute/servers.py `_get_servers`, `_get_server_search_options`; nova/db/main/api.py
`instance_get_all_by_filters_sort`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, patterns, views
from deuteron.model.errors import BadRequest, Forbidden
from deuteron.rules.compute import aggregates, history, interfaces, lifecycle
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import listing
from deuteron.store import query as store_query
from deuteron.store.compute_tables import deleted_servers, servers
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field
from deuteron.store.filters import TAGS, tagged
from deuteron.store.listing import Asked, Keep, Listing
from deuteron.store.query import Order

Fields = Mapping[str, ColumnElement[Any]]


@dataclass(frozen=True)
class Filter:
    """What a name in a query compares with."""

    field: str
    since: int | None = None
    """The first microversion in which everybody may use it; None is for administrators alone, in all of them."""
    exact: bool = False


_FILTERS: Final = {
    "name": Filter("name", 1),
    "reservation_id": Filter("reservation_id", 1),
    "image": Filter("image_id", 1, exact=True),
    "availability_zone": Filter("zone", 83),
    "config_drive": Filter("drive", 83),
    "key_name": Filter("key_name", 83),
    "created_at": Filter("created", 83),
    "launched_at": Filter("launched_at", 83),
    "terminated_at": Filter("deleted_at", 83),
    "power_state": Filter("power_state", 83),
    "task_state": Filter("task_state", 83, exact=True),
    "vm_state": Filter("vm_state", 83, exact=True),
    "progress": Filter("progress", 83),
    "user_id": Filter("user_id", 83, exact=True),
    "hostname": Filter("hostname", 90),
    "image_ref": Filter("image_id", exact=True),
    "uuid": Filter("id", exact=True),
    "host": Filter("host", exact=True),
    "node": Filter("host"),
    "display_name": Filter("name"),
    "description": Filter("description"),
    "display_description": Filter("description"),
    "launch_index": Filter("launch_index"),
    "access_ip_v4": Filter("access_ipv4"),
    "access_ip_v6": Filter("access_ipv6"),
    "kernel_id": Filter("kernel_id"),
    "ramdisk_id": Filter("ramdisk_id"),
    "root_device_name": Filter("root_device"),
    "locked_by": Filter("locked_by"),
    "auto_disk_config": Filter("auto_disk"),
}
_SPECIAL: Final[Mapping[str, int | None]] = {
    "status": 1, "flavor": 1, "ip": 1, "all_tenants": 1, "changes-since": 1, "ip6": 5, "tags": 26, "tags-any": 26,
    "not-tags": 26, "not-tags-any": 26, "changes-before": 66, "locked": 73, "deleted": None, "project_id": None,
    "tenant_id": None,
}  # fmt: skip
"""Filters that are more than a comparison, with the first microversion in which everybody may use them."""
_JOINED: Final = (
    "block_device_mapping", "services", "metadata", "system_metadata", "info_cache", "security_groups", "pci_devices",
)  # fmt: skip
"""What Nova refuses to administrators by name, and ignores for others."""
_PAGES: Final = ("limit", "marker", "sort_key", "sort_dir")
QUERY: Final = dict.fromkeys((*_FILTERS, *_SPECIAL, *_JOINED, *_PAGES, "soft_deleted"), 1)
"""What the lists know in their query. In 2.75 and later, when others are refused, all of it is known."""
_SORT_KEYS: Final = {
    "created_at": "created",
    "updated_at": "updated",
    "display_name": "name",
    "uuid": "id",
    "instance_type_id": "flavor_id",
    "display_description": "description",
    "access_ip_v4": "access_ipv4",
    "access_ip_v6": "access_ipv6",
    "image_ref": "image_id",
    "availability_zone": "zone",
    "config_drive": "drive",
    "auto_disk_config": "auto_disk",
    "root_device_name": "root_device",
    "terminated_at": "deleted_at",
    "node": "host",
    **{name: name for name in ("hostname", "key_name", "launch_index", "launched_at", "progress", "project_id",
                               "user_id", "power_state", "task_state", "vm_state", "host", "locked", "locked_by",
                               "kernel_id", "ramdisk_id")},
}  # fmt: skip
_IGNORED_SORT_KEYS: Final = frozenset({
    "architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device", "deleted", "deleted_at",
    "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data", "launched_on", "locked", "memory_mb",
    "os_type", "reservation_id", "root_gb", "shutdown_terminate", "user_data", "vcpus", "vm_mode",
})  # fmt: skip
"""Taken and not acted on before 2.75, refused from then on."""


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, links = _list(call, tx, "servers")
    return Reply(200, {"servers": [views.brief(call, row) for row in rows], **links})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, links = _list(call, tx, "servers/detail")
    return Reply(200, {"servers": views.details(call, tx, rows), **links})


def _list(call: Call, tx: Tx, path: str) -> tuple[Sequence[ServerRow], dict[str, Any]]:
    """The page of servers that the query asks for, and its links."""
    access.require(call, "servers:detail" if path.endswith("detail") else "servers:index")
    asked = listing.read(call.query, _WORDS)
    listing.limit_of(asked, _WORDS)
    query = _asked(call)
    project = _project(call, query)
    found: list[Select[Any]] = []
    for table in _tables(call, query):
        fields = _fields(tx, table)
        conditions = _conditions(call, tx, query, fields, project)
        if conditions is not None:
            columns = [column.label(name) for name, column in fields.items()]
            found.append(select(*columns).where(*conditions))
    if not found:
        return [], {}
    source = (found[0] if len(found) == 1 else union_all(*found)).subquery()
    addresses: dict[str, str] = {name: query[name][-1] for name in ("ip", "ip6") if name in query}
    keep = _with_addresses(tx, addresses) if addresses else None
    return paging.page(call, tx, Listing(source, (), _order(call, asked), keep=keep), "servers", path)


def _asked(call: Call) -> dict[str, list[str]]:
    """The filters that act for this caller, with what each was given. Raises: BadRequest."""
    found: dict[str, list[str]] = {}
    for name, value in call.query:
        if call.caller.is_admin and (name in _JOINED or name.startswith("_")):
            raise BadRequest(f"Invalid filter field: {name}.", type="HTTPBadRequest")
        since = _FILTERS[name].since if name in _FILTERS else _SPECIAL.get(name)
        known = name in _FILTERS or name in _SPECIAL
        if known and (call.caller.is_admin or (since is not None and call.version >= since)):
            found.setdefault(name, []).append(value)
    return found


def _project(call: Call, query: Mapping[str, list[str]]) -> str | None:
    """The project whose servers are asked for; None is every one. Raises: Forbidden."""
    if "all_tenants" not in query or not _true("all_tenants", query["all_tenants"][-1] or "1"):
        return call.caller.project_id or ""
    access.require(call, "servers:index:get_all_tenants")
    named = query.get("project_id") or query.get("tenant_id")
    return named[-1] if named else None


def _tables(call: Call, query: Mapping[str, list[str]]) -> tuple[Table, ...]:
    """Living servers, those that are gone, or both: a question about changes means both. Raises: Forbidden."""
    words = {word.upper() for word in query.get("status", ())}
    if words == {"DELETED"}:
        if not call.caller.is_admin:
            raise Forbidden("Only administrators may list deleted instances", type="HTTPForbidden")
        return (deleted_servers,)
    if "deleted" in query:
        return (deleted_servers if query["deleted"][-1].lower() in _YES else servers,)
    both = "changes-since" in query or "changes-before" in query
    return (servers, deleted_servers) if both else (servers,)


def _fields(tx: Tx, table: Table) -> Fields:
    """Columns of a server's row, whichever table it is in, and what Nova has as columns and we do not."""
    found: dict[str, ColumnElement[Any]] = {column.key: column for column in servers.c}
    if table is deleted_servers:
        found = {name: deleted_servers.c[name] for name in found}
    gone: ColumnElement[Any] = deleted_servers.c["deleted_at"] if table is deleted_servers else null()
    return {
        **found,
        "deleted_at": type_coerce(gone, Text),
        "zone": _zone(tx, found),
        "drive": case((found["config_drive"], literal("True")), else_=literal("")),
        "auto_disk": case((found["disk_config"] == "AUTO", literal("1")), else_=literal("0")),
        "root_device": type_coerce(literal("/dev/vda"), Text),
        "kernel_id": func.coalesce(text_field(found["kernel"], "id"), ""),
        "ramdisk_id": func.coalesce(text_field(found["ramdisk"], "id"), ""),
        "flavor_id": text_field(found["flavor"], "flavorid"),
    }


def _zone(tx: Tx, found: Fields) -> ColumnElement[Any]:
    """The zone of the host that a server is on; until it is on one, that which it asked for."""
    on: dict[str, list[str]] = {}
    for host, zone in sorted(aggregates.zones(tx).items()):
        on.setdefault(zone, []).append(host)
    return case(
        *((store_query.any_of(found["host"], there), literal(zone)) for zone, there in on.items()),
        (found["host"].is_not(None), literal(aggregates.ZONE)),
        else_=func.coalesce(found["availability_zone"], ""),
    )


def _conditions(
    call: Call, tx: Tx, query: Mapping[str, list[str]], fields: Fields, project: str | None
) -> list[ColumnElement[bool]] | None:
    """What the filters ask of a row; None when nothing can match. Raises: BadRequest."""
    result: list[ColumnElement[bool]] = [] if project is None else [fields["project_id"] == project]
    if "status" in query:
        pairs = [found for word in query["status"] if (found := views.states_of(word)) is not None]
        if not pairs and call.version >= 38:
            raise BadRequest("Invalid status value", type="HTTPBadRequest")
        states = {state for found in pairs for state in found}
        if not states:
            return None
        result.append(or_(*(_in_state(fields, vm, task) for vm, task in states)))
    if "flavor" in query:
        result.append(fields["flavor_id"] == query["flavor"][-1].rsplit("/", 1)[-1])
    if "locked" in query:
        result.append(fields["locked"] if _true("locked", query["locked"][-1]) else not_(fields["locked"]))
    result += _changes(call, query, fields)
    for name in TAGS:
        if name in query:
            wanted = query[name][-1].split(",")
            if len(wanted) > MAX_TAG_WORDS:
                raise invalid(name, query[name][-1], f"{len(wanted)} tags, at most {MAX_TAG_WORDS} are accepted")
            result.append(tagged(fields["tags"], name, wanted))
    search = patterns.Search()
    # Regular expressions last: they are tried on what the rest leaves.
    for name, values in sorted(query.items(), key=lambda item: item[0] in _FILTERS and not _FILTERS[item[0]].exact):
        chosen = _FILTERS.get(name)
        if chosen is None:
            continue
        if chosen.exact:
            result.append(fields[chosen.field] == values[-1].rsplit("/", 1)[-1])
        else:
            result.append(
                patterns.regex(tx, name, fields[chosen.field], patterns.pattern(name, values[-1]), result, search)
            )
    return result


def _changes(call: Call, query: Mapping[str, list[str]], fields: Fields) -> list[ColumnElement[bool]]:
    since, before = paging.moments(call, until="changes-before" in query)
    result: list[ColumnElement[bool]] = [] if since is None else [fields["updated"] >= history.stamp(since)]
    return result if before is None else [*result, fields["updated"] <= history.stamp(before)]


_WORDS: Final = replace(
    paging.WORDS,
    direction="desc",
    bad_directions=lambda given: BadRequest(
        f"Unknown sort direction, must be one of: asc, desc (given: {', '.join(given)})", type="InvalidInput"
    ),
)
_LAST: Final = Order("id", descending=True, has_nulls=False)
_NEWEST: Final = [Order(name, descending=True, has_nulls=False) for name in ("created", "number")]


def _order(call: Call, asked: Asked) -> list[Order]:
    """What to sort by. Raises: BadRequest for a key that is none, Forbidden."""
    with_lock = call.version >= 73

    def column(key: str) -> str:
        if key not in _SORT_KEYS or (key == "locked" and not with_lock):
            raise invalid("sort_key", key, f"'{key}' is not one of {sorted(_SORT_KEYS)}")
        if key in ("host", "node") and not call.caller.is_admin:
            raise Forbidden(f"Only administrators can sort servers by {key}", type="HTTPForbidden")
        return _SORT_KEYS[key]

    ignored = _IGNORED_SORT_KEYS - {"locked" if with_lock else ""} if call.version < 75 else frozenset[str]()
    return listing.order_of(asked, _WORDS, "servers", column, default=_NEWEST, last=[_LAST], ignored=ignored)


def _in_state(fields: Fields, vm: str, task: str | None) -> ColumnElement[bool]:
    if task is not None:
        return and_(fields["vm_state"] == vm, fields["task_state"] == task)
    shown_otherwise = list(views.tasks_shown(vm))
    return and_(
        fields["vm_state"] == vm,
        or_(fields["task_state"].is_(None), fields["task_state"].not_in(shown_otherwise)),
    )


def _with_addresses(tx: Tx, wanted: Mapping[str, str]) -> Keep:
    """Keeps servers that have an address that begins as each pattern says. Raises: BadRequest."""
    looked_for = {name: patterns.pattern(name, text) for name, text in wanted.items()}
    search = patterns.Search()

    def keep(rows: Sequence[ServerRow]) -> Sequence[ServerRow]:
        plugged = interfaces.plugged(tx, {row.id: lifecycle.nics(row) for row in rows})
        found = {row.id: [item["addr"] for of in plugged.addresses(row.id).values() for item in of] for row in rows}
        for name, pattern in looked_for.items():
            search.refuse_long(name, pattern, [text for texts in found.values() for text in texts], anywhere=False)
            found = {id: texts for id, texts in found.items() if any(pattern.match(text) for text in texts)}
        return [row for row in rows if row.id in found]

    return Keep(("nics",), keep)


MAX_TAG_WORDS: Final = 200
"""Of one filter."""


_YES: Final = ("1", "t", "true", "on", "y", "yes")


def _true(name: str, value: str) -> bool:
    text = value.strip().lower()
    if text in _YES:
        return True
    if text in ("0", "f", "false", "off", "n", "no"):
        return False
    raise invalid(name, value, f"'{value}' is not a boolean")
