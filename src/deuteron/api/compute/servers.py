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
from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy import func, insert, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, bodies, drives, flavors, images, interfaces, keypairs, paging, shapes, views
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.interfaces import Unbound, Wanted
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.compute import Nic
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.compute import history, lifecycle, loads, placement, quotas
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.hosts import registry
from deuteron.store import query
from deuteron.store.compute_tables import server_groups, servers
from deuteron.store.database import Tx

MAX_USER_DATA: Final = 65535
MAX_AT_ONCE: Final = 100
MAX_PORTS_AT_ONCE: Final = 48
"""Ports of all servers of one request: all are made in one turn of the writer."""
MAX_GROUPS: Final = 100
MAX_DEVICES: Final = 255


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server", shapes.HINTS), shapes.CREATE, call.version)
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
    key = _key(tx, call, body)
    metadata = body.metadata()
    quotas.check_metadata(tx, project_id, metadata)
    wanted = interfaces.requested(call, tx, body)
    names = [group.text("name") or "" for group in body.objects("security_groups", MAX_GROUPS)]
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
    if wish.group_id is not None:
        quotas.check_group(tx, project_id, call.caller.user_id, wish.group_id, many)
    if many * len(wanted) > MAX_PORTS_AT_ONCE:
        raise BadRequest(
            f"{many} servers on {len(wanted)} networks need {many * len(wanted)} ports, at most {MAX_PORTS_AT_ONCE} "
            "are made in one request",
            type="HTTPBadRequest",
        )
    password = body.text("adminPass") or make_password()
    files = drives.files_of(call, tx, body, project_id)
    common: dict[str, Any] = {
        "project_id": project_id,
        "user_id": call.caller.user_id,
        "description": body.text("description") if call.version >= 19 else None,
        "availability_zone": zone,
        "flavor": msgspec.to_builtins(flavor),
        "key_name": None if key is None else key.name,
        "key_data": None if key is None else key.public_key,
        "key_type": None if key is None else key.type,
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
    chosen_name = hostname(call, body)
    taken = loads.loads(tx, wish.group_id)
    hosts = placement.candidates(tx, call.settings)
    first = ""
    for index in range(many):
        server_id = str(uuid.uuid4())
        first = first or server_id
        shown = name if most == 1 else f"{name}-{index + 1}"
        chosen = placement.choose(hosts, taken, flavor, wish)
        if isinstance(chosen, str):
            taken.setdefault(chosen, loads.Load()).add(flavor, wish.group_id)
        own = {"id": server_id, "name": shown, "launch_index": index}
        own["hostname"] = chosen_name if chosen_name and most == 1 else hostname_of(shown, server_id)
        _insert(tx, {**common, **own}, None if isinstance(chosen, NoHost) else chosen)
        history.begin(
            tx, call.caller, call.request_id, server_id, "create", None if isinstance(chosen, NoHost) else chosen
        )
        if isinstance(chosen, NoHost):
            lifecycle.set_server(tx, server_id, injected=None)  # no host will ever make its drive of it
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


def show(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:show")
    return Reply(200, {"server": views.details(call, tx, [row], single=True)[0]})


def update(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server"), shapes.UPDATE, call.version)
    row = access.server_for(call, tx, "servers:update")
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
        values["hostname"] = hostname(call, body)
    lifecycle.set_server(tx, row.id, **values)
    fresh = access.server_for(call, tx, "servers:update")
    shown = views.details(call, tx, [fresh], single=True)[0]
    if call.version < 75:
        shown = {key: value for key, value in shown.items() if key in views.SHORT}
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
    history.begin(tx, call.caller, call.request_id, row.id, "delete", row.host)
    if row.host is None or not registry.is_awaited(tx, row.host):
        lifecycle.finish_delete(tx, call.settings, row)
    else:
        lifecycle.set_server(tx, row.id, task_state="deleting")


# --- pieces that actions use too ------------------------------------------------------------------------------------


def make_password(length: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


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
            lifecycle.release_port(tx, call.settings, server_id, nic)
        lifecycle.leave_host(tx, server_id)
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
    loads.count_in_project(tx, row["project_id"], row["flavor"], 1)
    if host is not None:
        loads.count_on_host(tx, host, row["flavor"], 1)
    tx.changed("server", row["id"])


def _refuse_not_built(call: Call, body: Body) -> None:
    """Refuse what this cloud cannot do, by name, rather than ignore it."""
    if body.raw.get("trusted_image_certificates"):
        raise BadRequest("Certified images are not available in this cloud.", type="HTTPBadRequest")
    if body.raw.get("block_device_mapping"):
        raise BadRequest("Block Device Mapping is Invalid: volumes are not available in this cloud.", type="InvalidBDM")
    for device in body.objects("block_device_mapping_v2", MAX_DEVICES):
        raw = device.raw
        source, target = raw.get("source_type"), raw.get("destination_type", "local")
        # The openstack client names the image twice: here as the local root disk, and as imageRef.
        if source == "image" and target == "local" and raw.get("uuid") == body.raw.get("imageRef"):
            continue
        raise BadRequest(
            f"Block Device Mapping is Invalid: source_type {quoted(source)} to destination_type {quoted(target)} needs "
            "volumes or further disks, which are not available in this cloud; the image as local root disk is "
            "accepted.",
            type="InvalidBDM",
        )


def _flavor(tx: Tx, call: Call, reference: Any) -> ServerRow:
    if not isinstance(reference, str | int) or isinstance(reference, bool) or reference == "":
        raise invalid("flavorRef", reference, f"{quoted(reference)} is not of type 'string'")
    # Older clients give the whole address of the flavor.
    flavor_id = str(reference).rsplit("/", 1)[-1]
    try:
        return flavors.find(tx, call, flavor_id)
    except NotFound as error:
        raise BadRequest(error.message, type=error.type) from None


def _key(tx: Tx, call: Call, body: Body) -> ServerRow | None:
    name = body.text("key_name", least=1)
    if name is None:
        return None
    try:
        return keypairs.find(tx, call.caller.user_id, name)
    except NotFound:
        raise BadRequest("Invalid key_name provided.", type="KeypairNotFound") from None


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
            if registry.find(tx, call.settings, named) is None:
                raise BadRequest(f"Compute host {named} could not be found.", type="ComputeHostNotFound")
            host = named
    hints = _hints(call)
    wish = Wish(host, only=_hosts_of(call, tx, hints, "same_host"))
    wish = replace(wish, not_on=_hosts_of(call, tx, hints, "different_host") or frozenset())
    group_id = hints.get("group")
    if group_id is None:
        return zone or None, wish
    row = None
    if isinstance(group_id, str):
        row = tx.first(select(server_groups).where(server_groups.c["id"] == group_id))
    if row is None or (row.project_id != call.caller.project_id and not call.caller.is_admin):
        raise BadRequest(f"Instance group {group_id} could not be found.", type="InstanceGroupNotFound")
    if row.policy == "affinity" and host is None:
        host = tx.scalar(
            select(servers.c["host"]).where(servers.c["group_id"] == row.id, servers.c["host"].is_not(None)).limit(1)
        )
    most = int((row.rules or {}).get("max_server_per_host", 1))
    return zone or None, replace(wish, host=host, group_id=row.id, policy=row.policy, most_per_host=most)


def _hints(call: Call) -> dict[str, Any]:
    """Raises: BadRequest for a hint that no placement looks at; Nova takes those and does nothing."""
    whole = call.json()
    for name in shapes.HINTS:
        if name in whole:
            return Body(name, whole[name]).only(_HINTS).raw
    return {}


_HINTS: Final = ("group", "same_host", "different_host")
_MOST_HINTED: Final = 100


def _hosts_of(call: Call, tx: Tx, hints: dict[str, Any], name: str) -> frozenset[str] | None:
    """Where the project's servers are that a hint names; None without the hint. Raises: BadRequest."""
    if name not in hints:
        return None
    given = [hints[name]] if isinstance(hints[name], str) else hints[name]
    if not isinstance(given, list) or not 0 < len(given) <= _MOST_HINTED or not all(map(_is_id, given)):
        raise invalid(name, quoted(hints[name]), f"an id of a server, or a list of 1 to {_MOST_HINTED}, is expected")
    found = select(servers.c["host"]).where(
        query.any_of(servers.c["id"], given),
        servers.c["project_id"] == call.caller.project_id,
        servers.c["host"].is_not(None),
    )
    return frozenset(tx.scalars(found))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and is_uuid(value)


def hostname(call: Call, body: Body) -> str | None:
    """The host name that a body gives. Raises: BadRequest."""
    text = body.text("hostname", least=1, most=63 if call.version < 94 else 255)
    if text is not None and not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)*", text):
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    if text is not None and call.version < 94 and "." in text:
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    return text
