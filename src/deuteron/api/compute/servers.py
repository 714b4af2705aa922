"""Servers: create, list, show, change, delete.

Create is one transaction: image, flavor, key, networks and quota are checked, a host is chosen, ports are made
and bound there, and the row says what should be. The host hears of it after the commit. What nobody could have
asked differently is no refusal but a server in ERROR that says why: no host has room, no mechanism can bind.

Source: nova/api/openstack/compute/servers.py; nova/compute/api.py.
"""

from __future__ import annotations

import re
import secrets
import string
import unicodedata
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, Text, and_, func, insert, not_, or_, select, type_coerce

from deuteron.api.call import Call, Reply
from deuteron.api.compute import (
    access,
    bodies,
    drives,
    flavors,
    history,
    images,
    interfaces,
    keypairs,
    lifecycle,
    paging,
    placement,
    quotas,
    views,
)
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.errors import disallowed, invalid, over_quota
from deuteron.api.compute.interfaces import Unbound, Wanted
from deuteron.api.compute.lifecycle import ServerRow
from deuteron.api.compute.placement import NoHost, Wish
from deuteron.api.hosts import registry
from deuteron.model.compute import Nic
from deuteron.model.errors import BadRequest, NotFound
from deuteron.store.compute_tables import server_groups, servers
from deuteron.store.database import Tx

_FIELDS: Final = (
    (1, "name"), (1, "imageRef"), (1, "flavorRef"), (1, "adminPass"), (1, "metadata"), (1, "networks"),
    (1, "OS-DCF:diskConfig"), (1, "accessIPv4"), (1, "accessIPv6"), (1, "personality"), (1, "security_groups"),
    (1, "key_name"), (1, "user_data"), (1, "availability_zone"), (1, "config_drive"), (1, "min_count"),
    (1, "max_count"), (1, "return_reservation_id"), (1, "block_device_mapping"), (1, "block_device_mapping_v2"),
    (1, "os:scheduler_hints"), (19, "description"), (52, "tags"), (63, "trusted_image_certificates"), (74, "host"),
    (74, "hypervisor_hostname"), (90, "hostname"),
)  # fmt: skip
"""What a create body may hold, from which microversion on."""

MAX_USER_DATA: Final = 65535
MAX_AT_ONCE: Final = 100


def create(call: Call, tx: Tx) -> Reply:
    body = wrapped(call, "server")
    body.only([name for since, name in _FIELDS if call.version >= since], ("name", "flavorRef"))
    access.require(call, "servers:create")
    project_id = call.caller.project_id or ""
    _refuse_not_built(call, body)
    name = body.name()
    flavor = flavors.embedded(_flavor(tx, call, body.raw["flavorRef"]))
    if not body.raw.get("imageRef"):
        raise BadRequest(
            "Invalid imageRef provided: without an image a server boots from a volume, and volumes are not available "
            "in this cloud.",
            type="HTTPBadRequest",
        )
    image = images.bootable(tx, call, body.raw["imageRef"], flavor)
    key_name, key_data = _key(tx, call, body)
    metadata = body.metadata()
    check_metadata_quota(tx, project_id, metadata)
    wanted = interfaces.requested(call, tx, body)
    names = [group.text("name") or "" for group in body.objects("security_groups")]
    groups = interfaces.groups_for(tx, call.caller, project_id, names) if names else None
    zone, wish = _where(call, tx, body)
    least, most = _counts(body)
    if most > 1 and any(want.port_id or want.fixed_ip for want in wanted):
        raise BadRequest(
            "Unable to launch multiple instances with a single configured port ID or fixed IP. "
            "Launch your instances one by one with different ports.",
            type="MultiplePortsNotApplicable",
        )
    many = quotas.check_servers(tx, project_id, flavor, least, most)
    password = body.text("adminPass") or make_password()
    files = drives.files_of(call, tx, body, project_id)
    common: dict[str, Any] = {
        "project_id": project_id,
        "user_id": call.caller.user_id,
        "description": body.text("description") if call.version >= 19 else None,
        "availability_zone": zone,
        "flavor": msgspec.to_builtins(flavor),
        "key_name": key_name,
        "key_data": key_data,
        "user_data": body.base64("user_data", MAX_USER_DATA),
        "metadata": metadata,
        "tags": _tags(body),
        "security_groups": names or ["default"],
        "access_ipv4": body.address("accessIPv4", 4),
        "access_ipv6": body.address("accessIPv6", 6),
        "disk_config": body.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL"),
        "reservation_id": "r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8)),
        "group_id": wish.group_id,
        **image.columns(),
        **drives.columns(body.boolean("config_drive"), image.demands_config_drive, files, password),
    }
    hostname = _hostname(call, body)
    taken = placement.loads(tx)
    hosts = placement.candidates(tx, call.cloud)
    first = ""
    for index in range(many):
        server_id = str(uuid.uuid4())
        first = first or server_id
        shown = name if most == 1 else f"{name}-{index + 1}"
        chosen = placement.choose(hosts, taken, flavor, wish)
        if isinstance(chosen, str):
            taken.setdefault(chosen, placement.Load()).add(flavor, wish.group_id)
        own = {"id": server_id, "name": shown, "launch_index": index}
        own["hostname"] = hostname if hostname and most == 1 else hostname_of(shown, server_id)
        _insert(tx, {**common, **own}, None if isinstance(chosen, NoHost) else chosen)
        history.begin(tx, call, server_id, "create", None if isinstance(chosen, NoHost) else chosen)
        if isinstance(chosen, NoHost):
            lifecycle.fail(tx, server_id, chosen.message, "; ".join(chosen.reasons))
        else:
            _plug_all(tx, call, server_id, project_id, wanted, groups, chosen)
    if body.boolean("return_reservation_id"):
        return Reply(202, {"reservation_id": common["reservation_id"]})
    answer: dict[str, Any] = {
        "id": first,
        "links": paging.links(call, f"servers/{first}"),
        "OS-DCF:diskConfig": common["disk_config"],
        "security_groups": [{"name": group} for group in common["security_groups"]],
        "adminPass": password,
    }
    return Reply(202, {"server": answer}, {"location": f"{call.base_url}/compute/v2.1/servers/{first}"})


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, links = _list(call, tx, "servers")
    return Reply(200, {"servers": [views.brief(call, row) for row in rows], **links})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, links = _list(call, tx, "servers/detail")
    return Reply(200, {"servers": views.details(call, tx, rows), **links})


def show(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:show")
    return Reply(200, {"server": views.details(call, tx, [row], single=True)[0]})


def update(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:update")
    body = wrapped(call, "server")
    fields = ["name", "accessIPv4", "accessIPv6", "OS-DCF:diskConfig"]
    fields += (["description"] if call.version >= 19 else []) + (["hostname"] if call.version >= 90 else [])
    body.only(fields)
    values: dict[str, Any] = {}
    if "name" in body:
        values["name"] = body.name()
    if "description" in body:
        values["description"] = body.text("description")
    if "accessIPv4" in body:
        values["access_ipv4"] = body.address("accessIPv4", 4)
    if "accessIPv6" in body:
        values["access_ipv6"] = body.address("accessIPv6", 6)
    if "OS-DCF:diskConfig" in body:
        values["disk_config"] = body.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL")
    if "hostname" in body:
        values["hostname"] = _hostname(call, body)
    lifecycle.set_server(tx, row.id, **values)
    fresh = access.server_for(call, tx, "servers:update")
    shown = views.details(call, tx, [fresh], single=True)[0]
    if call.version < 75:
        # Before 2.75 the answer to a change is shorter than the answer to a look.
        short = (
            "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created",
            "updated", "addresses", "accessIPv4", "accessIPv6", "links", "progress", "fault", "OS-DCF:diskConfig",
            "locked", "description", "tags", "trusted_image_certificates", "server_groups", "locked_reason",
        )  # fmt: skip
        shown = {key: value for key, value in shown.items() if key in short}
    return Reply(200, {"server": shown})


def remove(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:delete")
    access.require_unlocked(call, row)
    remove_server(call, tx, row)
    return Reply(204)


def remove_server(call: Call, tx: Tx, row: ServerRow) -> None:
    """Take the server from its host; where no host is there or awaited, it is gone at once.

    A host that is away for long removes the instance when it comes back: it is not in the intent any more.
    """
    history.begin(tx, call, row.id, "delete", row.host)
    if row.host is None or not registry.is_awaited(tx, row.host):
        lifecycle.finish_delete(tx, call.cloud, row)
    else:
        lifecycle.set_server(tx, row.id, task_state="deleting")


# --- pieces that actions use too ------------------------------------------------------------------------------------


def make_password(length: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def check_metadata_quota(tx: Tx, project_id: str, metadata: dict[str, str]) -> None:
    """Raises: Forbidden."""
    hard = quotas.limit(tx, project_id, "metadata_items")
    if 0 <= hard < len(metadata):
        raise over_quota("metadata_items", len(metadata), 0, hard)


def hostname_of(name: str, server_id: str) -> str:
    """A host name from a server's name. Source: nova/utils.py sanitize_hostname (RFC 1123)."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[ _.]", "-", text)
    text = re.sub(r"[^\w-]+", "", text, flags=re.ASCII).lower().strip("-")[:63].rstrip("-")
    return text or f"server-{server_id}"


def _plug_all(
    tx: Tx,
    call: Call,
    server_id: str,
    project_id: str,
    wanted: Sequence[Wanted],
    groups: Sequence[str] | None,
    host: str,
) -> None:
    """Make and bind the server's ports; what cannot be bound leaves no port behind and a server in ERROR."""
    made: list[Nic] = []
    try:
        for want in wanted:
            made.append(interfaces.plug(tx, call, server_id, project_id, want, groups, host))
    except Unbound as error:
        unplugged = Nic(error.port_id, owned=all(want.port_id != error.port_id for want in wanted))
        for nic in (*made, unplugged):
            lifecycle.release_port(tx, call.cloud, server_id, nic)
        lifecycle.set_server(tx, server_id, host=None)
        lifecycle.fail(tx, server_id, str(error), str(error))
        return
    lifecycle.set_server(tx, server_id, nics=msgspec.to_builtins(made), task_state="spawning")


def _insert(tx: Tx, values: dict[str, Any], host: str | None) -> None:
    row = {
        "number": (tx.scalar(select(func.max(servers.c["number"]))) or 0) + 1,
        "created": history.stamp(tx.now),
        "updated": history.stamp(tx.now),
        "launched_at": None,
        "vm_state": "building",
        "task_state": "scheduling",
        "power_state": 0,
        "power": "running",
        "reboot_generation": 0,
        "reboot_kind": "HARD",
        "build_generation": 0,
        "host": host,
        "nics": [],
        "locked": False,
        "locked_by": None,
        "locked_reason": None,
        "fault": None,
        "progress": 0,
        "state_reset": False,
        **values,
    }
    tx.execute(insert(servers), row)
    tx.changed("server", row["id"])


def _refuse_not_built(call: Call, body: Body) -> None:
    """Refuse what this cloud cannot do, by name, rather than ignore it."""
    if "personality" in body and call.version > drives.LAST_WITH_FILES:
        raise invalid("server", body.raw, "Additional properties are not allowed ('personality' was unexpected)")
    if body.raw.get("trusted_image_certificates"):
        raise BadRequest("Certified images are not available in this cloud.", type="HTTPBadRequest")
    if body.raw.get("block_device_mapping"):
        raise BadRequest("Block Device Mapping is Invalid: volumes are not available in this cloud.", type="InvalidBDM")
    for device in body.objects("block_device_mapping_v2"):
        raw = device.raw
        source, target = raw.get("source_type"), raw.get("destination_type", "local")
        # The openstack client names the image twice: here as the local root disk, and as imageRef.
        if source == "image" and target == "local" and raw.get("uuid") == body.raw.get("imageRef"):
            continue
        raise BadRequest(
            f"Block Device Mapping is Invalid: source_type {source!r} to destination_type {target!r} needs volumes or "
            "further disks, which are not available in this cloud; the image as local root disk is accepted.",
            type="InvalidBDM",
        )


def _flavor(tx: Tx, call: Call, reference: Any) -> ServerRow:
    if not isinstance(reference, str | int) or isinstance(reference, bool) or reference == "":
        raise invalid("flavorRef", reference, f"{reference!r} is not of type 'string'")
    # Older clients give the whole address of the flavor.
    flavor_id = str(reference).rsplit("/", 1)[-1]
    try:
        return flavors.find(tx, call, flavor_id)
    except NotFound as error:
        raise BadRequest(error.message, type=error.type) from None


def _key(tx: Tx, call: Call, body: Body) -> tuple[str | None, str | None]:
    name = body.text("key_name", least=1)
    if name is None:
        return None, None
    try:
        row = keypairs.find(tx, call.caller.user_id, name)
    except NotFound:
        raise BadRequest("Invalid key_name provided.", type="KeypairNotFound") from None
    return row.name, row.public_key


def _tags(body: Body) -> list[str]:
    raw = body.raw.get("tags", [])
    if not isinstance(raw, list) or len(raw) > 50:
        raise invalid("tags", raw, "at most 50 tags are expected, in a list")
    return list(dict.fromkeys(bodies.tag(item) for item in raw))


def _counts(body: Body) -> tuple[int, int]:
    least = body.integer("min_count", least=1, default=1)
    most = body.integer("max_count", least=1, default=least)
    if least > most:
        raise BadRequest("min_count must be <= max_count", type="HTTPBadRequest")
    if most > MAX_AT_ONCE:
        raise invalid("max_count", most, f"{most} is greater than the maximum of {MAX_AT_ONCE}")
    return least, most


def _where(call: Call, tx: Tx, body: Body) -> tuple[str | None, Wish]:
    """The zone that was asked for, and what the placement has to respect."""
    zone = body.text("availability_zone", least=1)
    host = None
    if zone is not None:
        zone, _, rest = zone.partition(":")
        host = rest.partition(":")[0] or None
        if host is not None:
            access.require(call, "servers:create:forced_host")
        if zone not in ("", placement.ZONE):
            raise BadRequest("The requested availability zone is not available", type="AvailabilityZoneNotAvailable")
    for field in ("host", "hypervisor_hostname"):
        named = body.text(field, least=1)
        if named is not None:
            access.require(call, "servers:create:forced_host")
            if registry.find(tx, call.cloud, named) is None:
                raise BadRequest(f"Compute host {named} could not be found.", type="ComputeHostNotFound")
            host = named
    hints = _hints(call, body)
    group_id = hints.get("group")
    if group_id is None:
        return zone or None, Wish(host)
    row = None
    if isinstance(group_id, str):
        row = tx.first(select(server_groups).where(server_groups.c["id"] == group_id))
    if row is None or (row.project_id != call.caller.project_id and not call.caller.is_admin):
        raise BadRequest(f"Instance group {group_id} could not be found.", type="InstanceGroupNotFound")
    if row.policy == "affinity" and host is None:
        host = tx.scalar(
            select(servers.c["host"]).where(servers.c["group_id"] == row.id, servers.c["host"].is_not(None)).limit(1)
        )
    return zone or None, Wish(host, row.id, row.policy, int((row.rules or {}).get("max_server_per_host", 1)))


def _hints(call: Call, body: Body) -> dict[str, Any]:
    whole = call.json()
    for place in (whole, body.raw):
        for name in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            if isinstance(place.get(name), dict):
                found: dict[str, Any] = place[name]
                return found
    return {}


def _hostname(call: Call, body: Body) -> str | None:
    text = body.text("hostname", least=1, most=63 if call.version < 94 else 255)
    if text is not None and not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)*", text):
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    if text is not None and call.version < 94 and "." in text:
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    return text


# --- lists ------------------------------------------------------------------------------------------------------------

_PLAIN_FILTERS: Final = {
    "reservation_id": "reservation_id",
    "key_name": "key_name",
    "image": "image_id",
    "hostname": "hostname",
    "availability_zone": "availability_zone",
    "launch_index": "launch_index",
}
_ADMIN_FILTERS: Final = {
    "host": "host",
    "node": "host",
    "user_id": "user_id",
    "vm_state": "vm_state",
    "task_state": "task_state",
}
_SORT_KEYS: Final = {
    "created_at": "created",
    "updated_at": "updated",
    "display_name": "name",
    "uuid": "id",
    "instance_type_id": "id",
    "display_description": "description",
    "access_ip_v4": "access_ipv4",
    "access_ip_v6": "access_ipv6",
    "image_ref": "image_id",
    **{name: name for name in ("availability_zone", "hostname", "key_name", "launch_index", "launched_at", "progress",
                               "project_id", "user_id", "power_state", "task_state", "vm_state", "host", "locked")},
}  # fmt: skip


def _list(call: Call, tx: Tx, path: str) -> tuple[list[ServerRow], dict[str, Any]]:
    """The page of servers that the query asks for, and its links."""
    access.require(call, "servers:detail" if path.endswith("detail") else "servers:index")
    limit = paging.limit_of(call)
    conditions = _conditions(call, tx)
    if conditions is None:
        return [], {}
    statement: Select[Any] = select(servers).where(*conditions)
    for column, descending in _order(call):
        statement = statement.order_by(column.desc() if descending else column.asc())
    rows = list(tx.all(statement))
    address = call.get("ip") or call.get("ip6")
    if address:
        rows = _with_address(tx, rows, address)
    if limit is None and not call.get("marker"):
        return list(rows[: paging.MAX_LIMIT]), {} if len(rows) <= paging.MAX_LIMIT else paging.page(
            call, rows, "servers", path
        )[1]
    found, links = paging.page(call, rows, "servers", path)
    return list(found), links


def _conditions(call: Call, tx: Tx) -> list[ColumnElement[bool]] | None:
    """The query's filters; None when nothing can match."""
    result: list[ColumnElement[bool]] = []
    everyone = call.get("all_tenants") is not None and _true(call, "all_tenants")
    if everyone:
        access.require(call, "servers:index:get_all_tenants")
        project = call.get("project_id") or call.get("tenant_id")
        if project:
            result.append(servers.c["project_id"] == project)
    else:
        result.append(servers.c["project_id"] == call.caller.project_id)
    seen: dict[str, list[str]] = {}
    for name, value in call.query:
        seen.setdefault(name, []).append(value)
    if "deleted" in seen and call.caller.is_admin and _true(call, "deleted"):
        return None
    for name in ("name", "description", "display_description"):
        if name in seen:
            column = servers.c["name" if name == "name" else "description"]
            result.append(_regex(tx, column, _pattern(name, seen[name][0]), result))
    if "status" in seen:
        statuses: list[ColumnElement[bool]] = []
        for word in seen["status"]:
            pairs = views.states_of(word)
            if pairs is None:
                if word.upper() == "DELETED" and not call.caller.is_admin:
                    raise disallowed("Only administrators may list deleted instances")
                if call.version >= 38:
                    raise BadRequest(f"Invalid status: {word}", type="InvalidStatus")
                continue
            statuses += [_in_state(vm, task) for vm, task in pairs]
        if not statuses:
            return None
        result.append(or_(*statuses))
    if "flavor" in seen:
        flavor_id = seen["flavor"][0].rsplit("/", 1)[-1]
        result.append(func.json_extract(type_coerce(servers.c["flavor"], Text), "$.flavorid") == flavor_id)
    for name, attribute in (_PLAIN_FILTERS | (_ADMIN_FILTERS if call.caller.is_admin else {})).items():
        if name in seen and name != "availability_zone":
            values = [value.rsplit("/", 1)[-1] for value in seen[name]]
            result.append(servers.c[attribute].in_(values))
    if "uuid" in seen:
        result.append(servers.c["id"].in_(seen["uuid"]))
    if "locked" in seen and call.version >= 73:
        result.append(servers.c["locked"] if _true(call, "locked") else not_(servers.c["locked"]))
    for name, later in (("changes-since", True), ("changes-before", False)):
        if name in seen and (later or call.version >= 66):
            moment = _moment(name, seen[name][0])
            result.append(servers.c["updated"] >= moment if later else servers.c["updated"] <= moment)
    for name in ("tags", "tags-any", "not-tags", "not-tags-any"):
        if name in seen and call.version >= 26:
            wanted = seen[name][0].split(",")
            held = [func.instr(type_coerce(servers.c["tags"], Text), f'"{tag}"') > 0 for tag in wanted]
            joined = or_(*held) if name.endswith("any") else and_(*held)
            result.append(not_(joined) if name.startswith("not") else joined)
    return result


def _order(call: Call) -> list[tuple[ColumnElement[Any], bool]]:
    keys = [value for name, value in call.query if name == "sort_key"]
    directions = [value for name, value in call.query if name == "sort_dir"]
    if any(direction not in ("asc", "desc") for direction in directions):
        raise BadRequest(
            f"Unknown sort direction, must be one of: asc, desc (given: {', '.join(directions)})", type="InvalidInput"
        )
    result: list[tuple[ColumnElement[Any], bool]] = []
    for place, key in enumerate(keys):
        if key not in _SORT_KEYS:
            raise invalid("sort_key", key, f"'{key}' is not one of {sorted(_SORT_KEYS)}")
        result.append(
            (servers.c[_SORT_KEYS[key]], (directions[place] if place < len(directions) else "desc") == "desc")
        )
    if not result:
        result = [(servers.c["created"], True), (servers.c["number"], True)]
    return [*result, (servers.c["id"], True)]


def _in_state(vm: str, task: str | None) -> ColumnElement[bool]:
    if task is not None:
        return and_(servers.c["vm_state"] == vm, servers.c["task_state"] == task)
    shown_otherwise = list(views.tasks_shown(vm))
    return and_(
        servers.c["vm_state"] == vm,
        or_(servers.c["task_state"].is_(None), servers.c["task_state"].not_in(shown_otherwise)),
    )


def _with_address(tx: Tx, rows: list[ServerRow], pattern: str) -> list[ServerRow]:
    wanted = _pattern("ip", pattern)
    found = interfaces.plugged(tx, {row.id: lifecycle.nics(row) for row in rows})
    return [
        row
        for row in rows
        if any(wanted.match(item["addr"]) for listed in found.addresses(row.id).values() for item in listed)
    ]


MAX_PATTERN: Final = 255
MAX_REPETITIONS: Final = 2
_REPEATED_GROUP: Final = re.compile(r"\)[*+?{]|\\[1-9]|\(\?")


def _pattern(name: str, text: str) -> re.Pattern[str]:
    """A user's regular expression, if matching it takes no more than a moment.

    Python's matcher holds the whole process while it backtracks, and `(a+)+$` against a name of 30 letters takes
    hours. With no repeated groups, no references and at most `MAX_REPETITIONS` repetitions, the time is bounded by
    the third power of a name's length. Signs of repetition count wherever they stand, also where they are escaped.

    Raises: BadRequest.
    """
    repetitions = sum(text.count(sign) for sign in "*+?{")
    if len(text) > MAX_PATTERN or _REPEATED_GROUP.search(text) or repetitions > MAX_REPETITIONS:
        raise invalid(
            name, text, f"a regular expression without repeated groups and with at most {MAX_REPETITIONS} repetitions "
            f"in at most {MAX_PATTERN} characters is expected"
        )  # fmt: skip
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise invalid(name, text, f"not a regular expression: {error}") from None


def _regex(
    tx: Tx, column: ColumnElement[Any], wanted: re.Pattern[str], among: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    """Rows `among` others whose text the pattern is found in.

    Plain words are a case-insensitive LIKE in SQLite's own code.
    """
    pattern = wanted.pattern
    if re.fullmatch(r"[\w\- ]+", pattern):
        return column.contains(pattern.replace("_", "\\_"), escape="\\") if "_" in pattern else column.contains(pattern)
    names = tx.scalars(select(column).where(*among).distinct())
    return column.in_([name for name in names if name is not None and wanted.search(name)])


def _true(call: Call, name: str) -> bool:
    text = (call.get(name) or "true").strip().lower()
    if text in ("", "1", "t", "true", "on", "y", "yes"):
        return True
    if text in ("0", "f", "false", "off", "n", "no"):
        return False
    raise invalid(name, call.get(name), f"'{call.get(name)}' is not a boolean")


def _moment(name: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise invalid(name, text, f"'{text}' is not a 'date-time'") from None
    return history.stamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
