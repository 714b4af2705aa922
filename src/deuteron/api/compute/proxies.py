"""What the Compute API answered for other services before 2.36: images, networks, security groups.

Each answer is made of the other service's rows, in the shape that Nova had; each change calls the other
service's own functions.

Source: nova/api/openstack/compute/{images,security_groups}.py; nova/network/security_group_api.py.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging
from deuteron.api.compute import images as bootable_images
from deuteron.api.compute.attributes import group_view, rule_view
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.errors import invalid
from deuteron.api.compute.versions import only_until
from deuteron.api.network import security_groups as network_groups
from deuteron.api.network import sight
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images
from deuteron.store.network_tables import networks, security_group_rules, security_groups
from deuteron.store.query import Values

_LAST = 35
"""The last microversion with proxies."""


def list_images(call: Call, tx: Tx) -> Reply:
    return _images(call, tx, detail=False)


def list_images_detail(call: Call, tx: Tx) -> Reply:
    return _images(call, tx, detail=True)


def show_image(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    row = bootable_images.find(tx, call.caller, call.params["id"])
    if row is None:
        raise NotFound(f"Image {call.params['id']} could not be found.", type="ImageNotFound")
    return Reply(200, {"image": _image(call, row, detail=True)})


def list_networks(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    condition = sight.visible_networks(call.caller)
    rows = query.rows(tx, networks, *(() if condition is None else (condition,)), order_by=(networks.c["id"],))
    # Source: nova/api/openstack/compute/networks.py: all but three fields are null with Neutron.
    return Reply(200, {"networks": [{"id": row["id"], "label": row["name"], "cidr": None} for row in rows]})


def list_groups(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-security-groups:get")
    project_id = call.caller.project_id or ""
    everyone = call.caller.is_admin and call.get("all_tenants") is not None
    conditions = () if everyone else (security_groups.c["project_id"] == project_id,)
    rows = query.rows(tx, security_groups, *conditions, order_by=(security_groups.c["name"], security_groups.c["id"]))
    return Reply(200, {"security_groups": [group_view(tx, row) for row in rows]})


def show_group(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"security_group": group_view(tx, _group(call, tx, "os-security-groups:show"))})


def create_group(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-security-groups:create")
    body = wrapped(call, "security_group").only((), ("name", "description"))
    values = {
        "name": body.name(),
        "description": body.text("description") or "",
        "project_id": call.caller.project_id,
        "stateful": True,
    }
    row = network_groups.create_group(tx, call.cloud, call.caller, values)
    return Reply(200, {"security_group": group_view(tx, row)})


def update_group(call: Call, tx: Tx) -> Reply:
    row = _group(call, tx, "os-security-groups:update")
    body = wrapped(call, "security_group").only((), ("name", "description"))
    values = {"name": body.name(), "description": body.text("description") or ""}
    changed = network_groups.update_group(tx, call.cloud, call.caller, row, values)
    return Reply(200, {"security_group": group_view(tx, changed)})


def remove_group(call: Call, tx: Tx) -> Reply:
    row = _group(call, tx, "os-security-groups:delete")
    try:
        network_groups.delete_group(tx, call.cloud, call.caller, row)
    except ApiError as error:
        # Nova answered 400 where Neutron answers 409.
        raise BadRequest(error.message, type=error.type) from None
    return Reply(202)


def create_rule(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    body = wrapped(call, "security_group_rule")
    body.only(("from_port", "to_port", "ip_protocol", "cidr", "group_id"), ("parent_group_id",))
    parent = _by_id(call, tx, str(body.raw["parent_group_id"]))
    access.require(call, "os-security-groups:rule:create", project_id=parent["project_id"])
    values: Values = {
        "security_group_id": parent["id"],
        "project_id": parent["project_id"],
        "direction": "ingress",
        "ethertype": "IPv6" if ":" in str(body.raw.get("cidr") or "") else "IPv4",
        "protocol": (body.text("ip_protocol") or "").lower() or None,
        "port_range_min": _port(body, "from_port"),
        "port_range_max": _port(body, "to_port"),
        "remote_ip_prefix": body.text("cidr"),
        "remote_group_id": body.text("group_id"),
        "description": "",
    }
    if values["remote_ip_prefix"] is None and values["remote_group_id"] is None:
        values["remote_ip_prefix"] = "0.0.0.0/0"
    rule = network_groups.create_rule(tx, call.cloud, call.caller, values)
    remote = query.row_by_id(tx, security_groups, rule["remote_group_id"] or "")
    names = {} if remote is None else {remote["id"]: remote}
    return Reply(200, {"security_group_rule": rule_view(rule, names)})


def remove_rule(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    row = query.row_by_id(tx, security_group_rules, call.params["id"])
    if row is None or not (call.caller.is_admin or row["project_id"] == call.caller.project_id):
        raise NotFound(f"Rule ({call.params['id']}) not found", type="SecurityGroupRuleNotFound")
    access.require(call, "os-security-groups:rule:delete", project_id=row["project_id"])
    network_groups.delete_rule(tx, call.cloud, call.caller, row)
    return Reply(202)


def _group(call: Call, tx: Tx, rule: str) -> Values:
    only_until(call, _LAST)
    row = _by_id(call, tx, call.params["id"])
    access.require(call, rule, project_id=row["project_id"])
    return row


def _by_id(call: Call, tx: Tx, group_id: str) -> Values:
    if not is_uuid(group_id):
        raise BadRequest("Security group id should be uuid", type="HTTPBadRequest")
    row = query.row_by_id(tx, security_groups, group_id)
    if row is None or not (call.caller.is_admin or row["project_id"] == call.caller.project_id):
        raise NotFound(f"Security group {group_id} not found.", type="SecurityGroupNotFound")
    return row


def _port(body: Body, name: str) -> int | None:
    if body.raw.get(name) is None:
        return None
    value = body.integer(name)
    if not -1 <= value <= 65535:
        raise invalid(name, value, f"{value} is not a port")
    return None if value == -1 else value


def _images(call: Call, tx: Tx, *, detail: bool) -> Reply:
    only_until(call, _LAST)
    conditions = [images.c["status"] != "deleted"]
    if not call.caller.is_admin:
        conditions.append(or_(images.c["visibility"] == "public", images.c["owner"] == call.caller.project_id))
    rows = query.rows(tx, images, *conditions, order_by=(images.c["created_at"].desc(), images.c["id"]))
    for name in ("name", "status"):
        wanted = call.get(name)
        if wanted is not None:
            rows = [row for row in rows if (row[name] or "").lower() == wanted.lower()]
    return Reply(200, {"images": [_image(call, row, detail=detail) for row in rows]})


def _image(call: Call, row: Values, *, detail: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row["id"], "name": row["name"], "links": paging.links(call, f"images/{row['id']}")}
    if not detail:
        return shown
    status = {"active": "ACTIVE", "queued": "SAVING", "saving": "SAVING", "deleted": "DELETED"}.get(
        row["status"], "UNKNOWN"
    )
    return {
        **shown,
        "created": row["created_at"],
        "updated": row["updated_at"],
        "status": status,
        "progress": {"SAVING": 50, "ACTIVE": 100}.get(status, 0),
        "minRam": row["min_ram"],
        "minDisk": row["min_disk"],
        "metadata": row["properties"] or {},
        "OS-EXT-IMG-SIZE:size": row["size"] or 0,
    }
