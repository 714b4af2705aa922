"""What hangs on a server: metadata, tags, addresses, security groups, interfaces, recorded actions."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, bodies, interfaces, paging, views
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.compute import attachments, attributes, history, passwords
from deuteron.rules.compute.attachments import Attachment
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.interfaces import Wanted, plugged
from deuteron.rules.compute.lifecycle import ServerRow, nics
from deuteron.rules.network import devices
from deuteron.store.compute_tables import actions
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order

# --- metadata ---------------------------------------------------------------------------------------------------------


def list_metadata(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"metadata": access.server_for(call, tx, "server-metadata:index").metadata or {}})


def show_metadata(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "server-metadata:show")
    return Reply(200, {"meta": {call.params["key"]: attributes.item(row, call.params["key"])}})


def merge_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    row = access.server_for(call, tx, "server-metadata:create")
    return Reply(200, {"metadata": attributes.merge_metadata(tx, call.caller, row, given)})


def replace_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    row = access.server_for(call, tx, "server-metadata:update_all")
    return Reply(200, {"metadata": attributes.set_metadata(tx, call.caller, row, given)})


def set_metadata(call: Call, tx: Tx) -> Reply:
    given = bodies.one_item(call)
    row = access.server_for(call, tx, "server-metadata:update")
    attributes.merge_metadata(tx, call.caller, row, given)
    return Reply(200, {"meta": given})


def remove_metadata(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "server-metadata:delete")
    attributes.remove_item(tx, call.caller, row, call.params["key"])
    return Reply(204)


# --- tags -------------------------------------------------------------------------------------------------------------


def list_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    return Reply(200, {"tags": access.server_for(call, tx, "os-server-tags:index").tags or []})


def show_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:show")
    attributes.require_tag(row, call.params["tag"])
    return Reply(204)


def add_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:update")
    tag = bodies.tag(call.params["tag"])
    if not attributes.add_tag(tx, row, tag):
        return Reply(204)
    where = f"{call.base_url}/compute/v2.1/servers/{row.id}/tags/{tag}"
    return Reply(201, None, {"location": where})


def replace_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:update_all")
    body = call.json()
    raw = Body("tags", body).only((), ("tags",)).raw["tags"]
    if not isinstance(raw, list) or len(raw) > attributes.MAX_TAGS:
        raise invalid("tags", raw, "at most 50 tags are expected, in a list")
    tags = list(dict.fromkeys(bodies.tag(item) for item in raw))
    attributes.set_tags(tx, row, tags)
    return Reply(200, {"tags": tags})


def remove_tag(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:delete")
    attributes.remove_tag(tx, row, call.params["tag"])
    return Reply(204)


def remove_tags(call: Call, tx: Tx) -> Reply:
    only_from(call, 26)
    row = access.server_for(call, tx, "os-server-tags:delete_all")
    attributes.set_tags(tx, row, [])
    return Reply(204)


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
    shown = plugged(tx, {row.id: nics(row)}).addresses(row.id)
    return {
        name: [{"version": item["version"], "addr": item["addr"]} for item in listed] for name, listed in shown.items()
    }


# --- security groups --------------------------------------------------------------------------------------------------


def list_security_groups(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-security-groups:list")
    found = plugged(tx, {row.id: nics(row)}).ports[row.id]
    ids = [group for port in found for group in port["security_groups"] or ()]
    return Reply(200, {"security_groups": views.groups(tx, devices.groups(tx, ids))})


# --- interfaces -------------------------------------------------------------------------------------------------------


def list_interfaces(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:list")
    return Reply(200, {"interfaceAttachments": [_interface(call, each) for each in attachments.listed(tx, row)]})


def show_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:show")
    return Reply(200, {"interfaceAttachment": _interface(call, attachments.find(tx, row, call.params["port"]))})


def attach_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:create")
    body = bodies.wrapped(call, "interfaceAttachment") if call.raw else Body("interfaceAttachment", {})
    body.only(["net_id", "port_id", "fixed_ips"] + (["tag"] if call.version >= 49 else []))
    attachments.require_changeable(call.caller, row, "attach_interface")
    want = _wanted(body)
    may_choose = interfaces.may_choose(call)
    made = attachments.attach(tx, call.settings, call.caller, call.request_id, row, want, may_choose)
    return Reply(200, {"interfaceAttachment": _interface(call, made)})


def _wanted(body: Body) -> Wanted:
    """The interface that a body asks for; one without port and network is any that the server lacks."""
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
        want = Wanted(tag=tag)
    return want


def detach_interface(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-attach-interfaces:delete")
    attachments.require_changeable(call.caller, row, "detach_interface")
    attachments.detach(tx, call.settings, call.caller, call.request_id, row, call.params["port"])
    return Reply(202)


def _interface(call: Call, found: Attachment) -> dict[str, Any]:
    port = found.port
    shown = {
        "port_state": port["status"],
        "port_id": port["id"],
        "net_id": port["network_id"],
        "mac_addr": port["mac_address"],
        "fixed_ips": [{"subnet_id": ip["subnet_id"], "ip_address": ip["ip_address"]} for ip in port["fixed_ips"]],
    }
    return {**shown, "tag": found.tag} if call.version >= 70 else shown


# --- password ---------------------------------------------------------------------------------------------------------


def show_password(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"password": access.server_for(call, tx, "os-server-password:show").password or ""})


def clear_password(call: Call, tx: Tx) -> Reply:
    passwords.clear(tx, access.server_for(call, tx, "os-server-password:clear"))
    return Reply(204)


# --- recorded actions -------------------------------------------------------------------------------------------------


def list_actions(call: Call, tx: Tx) -> Reply:
    row = access.server_or_gone(call, tx, "os-instance-actions:list")
    conditions = [actions.c["server_id"] == row.id]
    if call.version >= 58:
        since, before = paging.moments(call, until=call.version >= 66)
        conditions += [] if since is None else [actions.c["updated_at"] >= history.moment(since)]
        conditions += [] if before is None else [actions.c["updated_at"] <= history.moment(before)]
    newest = [Order("start_time", descending=True, has_nulls=False), Order("id")]
    listing = Listing(actions, conditions, newest, marker="request_id")
    path = f"servers/{row.id}/os-instance-actions"
    rows, links = paging.page(call, tx, listing, "links", path, is_paged=call.version >= 58)
    shown: dict[str, Any] = {"instanceActions": [_action(call, item) for item in rows]}
    return Reply(200, {**shown, **({"links": links["links_links"]} if links else {})})


def show_action(call: Call, tx: Tx) -> Reply:
    row = access.server_or_gone(call, tx, "os-instance-actions:show")
    request_id = call.params["request"]
    item = history.find(tx, row.id, request_id)
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
