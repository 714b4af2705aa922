"""What hangs on a server: metadata, tags, addresses, security groups, interfaces, volumes, recorded actions."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, bodies, interfaces, paging, views
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.interfaces import Unbound, Wanted
from deuteron.api.compute.versions import only_from
from deuteron.model.compute import Nic
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.compute import history, lifecycle, quotas
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import query
from deuteron.store.compute_tables import actions
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports, security_group_rules, security_groups
from deuteron.store.query import Values

# --- metadata ---------------------------------------------------------------------------------------------------------


def list_metadata(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"metadata": access.server_for(call, tx, "server-metadata:index").metadata or {}})


def show_metadata(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "server-metadata:show")
    return Reply(200, {"meta": {call.params["key"]: _item(row, call.params["key"])}})


def merge_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    row = access.server_for(call, tx, "server-metadata:create")
    return Reply(200, {"metadata": _set_metadata(call, tx, row, {**(row.metadata or {}), **given})})


def replace_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    row = access.server_for(call, tx, "server-metadata:update_all")
    return Reply(200, {"metadata": _set_metadata(call, tx, row, given)})


def set_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.one_item(call)
    row = access.server_for(call, tx, "server-metadata:update")
    _set_metadata(call, tx, row, {**(row.metadata or {}), **given})
    return Reply(200, {"meta": given})


def remove_metadata(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "server-metadata:delete")
    _item(row, call.params["key"])
    left = {key: value for key, value in row.metadata.items() if key != call.params["key"]}
    _set_metadata(call, tx, row, left)
    return Reply(204)


def _item(row: ServerRow, key: str) -> str:
    value = (row.metadata or {}).get(key)
    if value is None:
        raise NotFound("Metadata item was not found", type="InstanceMetadataNotFound")
    return str(value)


def _set_metadata(call: Call, tx: Tx, row: ServerRow, metadata: dict[str, str]) -> dict[str, str]:
    access.require_unlocked(call, row)
    quotas.check_metadata(tx, row.project_id, metadata)
    lifecycle.set_server(tx, row.id, metadata=metadata)
    return metadata


# --- tags -------------------------------------------------------------------------------------------------------------


def list_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    return Reply(200, {"tags": access.server_for(call, tx, "os-server-tags:index").tags or []})


def show_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:show")
    if call.params["tag"] not in (row.tags or ()):
        raise _no_tag(row, call.params["tag"])
    return Reply(204)


def add_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:update")
    tag = bodies.tag(call.params["tag"])
    if tag in (row.tags or ()):
        return Reply(204)
    if len(row.tags or ()) >= 50:
        raise BadRequest("The number of tags exceeded the per-server limit 50", type="HTTPBadRequest")
    lifecycle.set_server(tx, row.id, tags=[*(row.tags or ()), tag])
    where = f"{call.base_url}/compute/v2.1/servers/{row.id}/tags/{tag}"
    return Reply(201, None, {"location": where})


def replace_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:update_all")
    body = call.json()
    raw = Body("tags", body).only((), ("tags",)).raw["tags"]
    if not isinstance(raw, list) or len(raw) > 50:
        raise invalid("tags", raw, "at most 50 tags are expected, in a list")
    tags = list(dict.fromkeys(bodies.tag(item) for item in raw))
    lifecycle.set_server(tx, row.id, tags=tags)
    return Reply(200, {"tags": tags})


def remove_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:delete")
    if call.params["tag"] not in (row.tags or ()):
        raise _no_tag(row, call.params["tag"])
    lifecycle.set_server(tx, row.id, tags=[tag for tag in row.tags if tag != call.params["tag"]])
    return Reply(204)


def remove_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:delete_all")
    lifecycle.set_server(tx, row.id, tags=[])
    return Reply(204)


def _no_tag(row: ServerRow, tag: str) -> NotFound:
    return NotFound(f"Server {row.id} has no tag '{tag}'", type="ServerTagNotFound")


# --- addresses --------------------------------------------------------------------------------------------------------


def list_addresses(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "ips:index")
    return Reply(200, {"addresses": _addresses(tx, row)})


def show_addresses(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "ips:show")
    found = _addresses(tx, row)
    name = call.params["network"]
    if name not in found:
        raise NotFound("Instance is not a member of specified network", type="HTTPNotFound")
    return Reply(200, {name: found[name]})


def _addresses(tx: Tx, row: ServerRow) -> dict[str, list[dict[str, Any]]]:
    shown = interfaces.plugged(tx, {row.id: lifecycle.nics(row)}).addresses(row.id)
    return {
        name: [{"version": item["version"], "addr": item["addr"]} for item in listed] for name, listed in shown.items()
    }


# --- security groups --------------------------------------------------------------------------------------------------


def list_security_groups(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-security-groups:list")
    plugged = interfaces.plugged(tx, {row.id: lifecycle.nics(row)})
    ids: dict[str, None] = {}
    for port in plugged.ports[row.id]:
        ids |= dict.fromkeys(port["security_groups"] or ())
    rows = query.rows(tx, security_groups, security_groups.c["id"].in_(ids))
    return Reply(200, {"security_groups": [group_view(tx, group) for group in rows]})


def group_view(tx: Tx, group: Values) -> dict[str, Any]:
    """A group in the shape that Nova had before Neutron."""
    rules = query.rows(
        tx,
        security_group_rules,
        security_group_rules.c["security_group_id"] == group["id"],
        security_group_rules.c["direction"] == "ingress",
        order_by=(security_group_rules.c["id"],),
    )
    names: dict[str, Values] = {
        row["id"]: row
        for row in query.rows(
            tx, security_groups, security_groups.c["id"].in_([rule["remote_group_id"] for rule in rules])
        )
    }
    return {
        "id": group["id"],
        "name": group["name"],
        "description": group["description"] or "",
        "tenant_id": group["project_id"],
        "rules": [rule_view(rule, names) for rule in rules],
    }


def rule_view(rule: Values, groups: dict[str, Values]) -> dict[str, Any]:
    """A rule in the shape that Nova had before Neutron. Source: nova/network/security_group_api.py."""
    protocol, low, high = rule["protocol"], rule["port_range_min"], rule["port_range_max"]
    if protocol is not None and low is None and high is None:
        low, high = (1, 65535) if protocol in ("tcp", "udp") else (-1, -1)
    remote = groups.get(rule["remote_group_id"] or "")
    any_range = {} if remote is not None else {"cidr": rule["remote_ip_prefix"] or "0.0.0.0/0"}
    return {
        "id": rule["id"],
        "parent_group_id": rule["security_group_id"],
        "ip_protocol": protocol,
        "from_port": low,
        "to_port": high,
        "ip_range": any_range,
        "group": {} if remote is None else {"name": remote["name"], "tenant_id": remote["project_id"]},
    }


# --- interfaces -------------------------------------------------------------------------------------------------------


def list_interfaces(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:list")
    tags = {nic.port_id: nic.tag for nic in lifecycle.nics(row)}
    plugged = interfaces.plugged(tx, {row.id: lifecycle.nics(row)})
    return Reply(200, {"interfaceAttachments": [_interface(call, port, tags) for port in plugged.ports[row.id]]})


def show_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:show")
    tags = {nic.port_id: nic.tag for nic in lifecycle.nics(row)}
    for port in interfaces.plugged(tx, {row.id: lifecycle.nics(row)}).ports[row.id]:
        if port["id"] == call.params["port"]:
            return Reply(200, {"interfaceAttachment": _interface(call, port, tags)})
    raise NotFound(f"Instance {row.id} does not have a port with id {call.params['port']}", type="HTTPNotFound")


def attach_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:create")
    body = bodies.wrapped(call, "interfaceAttachment") if call.raw else Body("interfaceAttachment", {})
    body.only(["net_id", "port_id", "fixed_ips"] + (["tag"] if call.version >= 49 else []))
    access.require_unlocked(call, row)
    access.require_state(row, "attach_interface", ("active", "paused", "stopped"))
    if body.raw.get("net_id") and body.raw.get("port_id"):
        raise BadRequest("Must not input both network_id and port_id", type="HTTPBadRequest")
    addresses = body.objects("fixed_ips", 1)
    if addresses and not body.raw.get("net_id"):
        raise BadRequest("Must input network_id when request IP address", type="HTTPBadRequest")
    tag = bodies.tag(body.raw["tag"]) if body.raw.get("tag") is not None else None
    if body.raw.get("port_id"):
        want = Wanted(port_id=body.uuid("port_id"), tag=tag)
    elif body.raw.get("net_id"):
        given = [item.only((), ("ip_address",)).raw["ip_address"] for item in addresses]
        fixed_ip = interfaces.address_of(given[0]) if given else None
        want = Wanted(network_id=body.uuid("net_id"), fixed_ip=fixed_ip, tag=tag)
    else:
        taken = {port["network_id"] for port in interfaces.plugged(tx, {row.id: lifecycle.nics(row)}).ports[row.id]}
        left = [network for network in interfaces.available(tx, call.caller) if network not in taken]
        if len(left) != 1:
            raise Conflict(
                "Multiple possible networks found, use a Network ID to be more specific.", type="NetworkAmbiguous"
            )
        want = Wanted(network_id=left[0], tag=tag)
    try:
        interfaces.check(tx, call.caller, want)
    except BadRequest as error:
        # What is not there makes a new server a bad request, but here the path leads to it.
        if error.type in ("PortNotFound", "NetworkNotFound"):
            raise NotFound(error.message, type=error.type) from None
        raise
    history.begin(tx, call.caller, call.request_id, row.id, "attach_interface", row.host)
    try:
        nic = interfaces.plug(tx, call, row.id, row.project_id, want, None, row.host)
    except Unbound as error:
        raise BadRequest(f"Failed to attach interface: {error}", type="InterfaceAttachFailed") from None
    _set_nics(tx, row, [*lifecycle.nics(row), nic])
    history.finish(tx, row.id)
    port = query.row_by_id(tx, ports, nic.port_id)
    assert port is not None  # it was just plugged
    return Reply(200, {"interfaceAttachment": _interface(call, port, {nic.port_id: nic.tag})})


def detach_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:delete")
    access.require_unlocked(call, row)
    access.require_state(row, "detach_interface", ("active", "paused", "stopped"))
    held = lifecycle.nics(row)
    gone = next((nic for nic in held if nic.port_id == call.params["port"]), None)
    if gone is None:
        raise NotFound(f"Port {call.params['port']} not found.", type="PortNotFound")
    history.begin(tx, call.caller, call.request_id, row.id, "detach_interface", row.host)
    _set_nics(tx, row, [nic for nic in held if nic is not gone])
    lifecycle.release_port(tx, call.settings, row.id, gone)
    history.finish(tx, row.id)
    return Reply(202)


def _set_nics(tx: Tx, row: ServerRow, nics: list[Nic]) -> None:
    lifecycle.set_server(tx, row.id, nics=msgspec.to_builtins(nics))


def _interface(call: Call, port: Values, tags: dict[str, str | None]) -> dict[str, Any]:
    shown = {
        "port_state": port["status"],
        "port_id": port["id"],
        "net_id": port["network_id"],
        "mac_addr": port["mac_address"],
        "fixed_ips": [{"subnet_id": ip["subnet_id"], "ip_address": ip["ip_address"]} for ip in port["fixed_ips"]],
    }
    return {**shown, "tag": tags.get(port["id"])} if call.version >= 70 else shown


# --- volumes ----------------------------------------------------------------------------------------------------------


def list_volumes(call: Call, tx: Tx) -> Reply:
    access.server_for(call, tx, "os-volumes-attachments:index")
    return Reply(200, {"volumeAttachments": []})


# --- recorded actions -------------------------------------------------------------------------------------------------


def list_actions(call: Call, tx: Tx) -> Reply:
    row = access.server_or_gone(call, tx, "os-instance-actions:list")
    conditions = [actions.c["server_id"] == row.id]
    if call.version >= 58:
        since, before = paging.moments(call, until=call.version >= 66)
        conditions += [] if since is None else [actions.c["updated_at"] >= history.moment(since)]
        conditions += [] if before is None else [actions.c["updated_at"] <= history.moment(before)]
    found = tx.all(select(actions).where(*conditions).order_by(actions.c["start_time"].desc(), actions.c["id"]))
    if call.version < 58:
        return Reply(200, {"instanceActions": [_action(call, item) for item in found]})
    items = [_Marked(item.request_id, item) for item in found]
    page, links = paging.page(call, items, "links", f"servers/{row.id}/os-instance-actions")
    shown: dict[str, Any] = {"instanceActions": [_action(call, item.row) for item in page]}
    return Reply(200, {**shown, **({"links": links["links_links"]} if links else {})})


def show_action(call: Call, tx: Tx) -> Reply:
    row = access.server_or_gone(call, tx, "os-instance-actions:show")
    request_id = call.params["request"]
    item = tx.first(select(actions).where(actions.c["id"] == f"{row.id}/{request_id}"))
    if item is None:
        raise NotFound(
            f"Action for request_id {request_id} on instance {row.id} not found", type="InstanceActionNotFound"
        )
    shown = _action(call, item)
    full = access.allowed(call, "os-instance-actions:events", project_id=row.project_id)
    if full or call.version >= 51:
        shown["events"] = [_event(call, row, event, full=full) for event in item.events]
    return Reply(200, {"instanceAction": shown})


def _action(call: Call, item: ServerRow) -> dict[str, Any]:
    shown = {
        "action": item.action,
        "instance_uuid": item.server_id,
        "request_id": item.request_id,
        "user_id": item.user_id,
        "project_id": item.project_id,
        "start_time": item.start_time,
        "message": item.message,
    }
    return {**shown, "updated_at": item.updated_at} if call.version >= 58 else shown


def _event(call: Call, row: ServerRow, event: dict[str, Any], *, full: bool) -> dict[str, Any]:
    shown = {key: event.get(key) for key in ("event", "start_time", "finish_time", "result")}
    if full:
        shown["traceback"] = None
    if call.version >= 62:
        shown["hostId"] = views.host_id(row.project_id, event.get("host"))
        if full:
            shown["host"] = event.get("host")
    if call.version >= 84:
        shown["details"] = event.get("details")
    return shown


class _Marked:
    """An action whose paging marker is its request id."""

    def __init__(self, id: str, row: ServerRow) -> None:
        self.id = id
        self.row = row
