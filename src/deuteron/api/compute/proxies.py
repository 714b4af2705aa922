"""What the Compute API answered for other services before 2.36: images, networks, security groups.

Each answer is made of the other service's rows, in the shape that Nova had; each change calls the other
service's own functions.

Source: nova/api/openstack/compute/{images,security_groups}.py; nova/network/security_group_api.py.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import unquote

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, views
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.versions import only_until
from deuteron.api.compute.views import rule_view
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.image_rows import ImageRow
from deuteron.model.network import SECURITY_GROUP, SECURITY_GROUP_RULE
from deuteron.model.network.rows import SecurityGroupRow
from deuteron.model.scalars import CLOUD
from deuteron.rules.compute import images as bootable_images
from deuteron.rules.compute.faults import invalid
from deuteron.rules.image import listing as image_lists
from deuteron.rules.network import devices
from deuteron.rules.network import security_groups as network_groups
from deuteron.rules.network.kinds import find
from deuteron.store.database import Tx
from deuteron.store.query import Values

_LAST = 35
"""The last microversion with proxies."""
_RANGES = {"tcp": (1, 65535), "udp": (1, 65535), "icmp": (-1, 255)}
"""The protocols that Nova's rules know, with their least and greatest port, or type and code."""


def list_images(call: Call, tx: Tx) -> Reply:
    return _images(call, tx, detail=False)


def list_images_detail(call: Call, tx: Tx) -> Reply:
    return _images(call, tx, detail=True)


def show_image(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    row = bootable_images.find(tx, call.caller, call.params["id"])
    about = {} if row is None else {"project_id": row["owner"], "visibility": row["visibility"], "member_id": ""}
    if row is None or not call.policy.check(call.caller, "get_image", about):
        raise NotFound(f"Image {call.params['id']} could not be found.", type="ImageNotFound")
    return Reply(200, {"image": _image(call, row, detail=True)})


_NETWORK_FIELDS = ("cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6")
_ADMIN_FIELDS = (
    "created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan", "vpn_public_address",
    "vpn_public_port", "vpn_private_address", "dhcp_start", "project_id", "host", "bridge_interface", "multi_host",
    "priority", "rxtx_base", "mtu", "dhcp_server", "enable_dhcp", "share_address",
)  # fmt: skip
"""What networks had before Neutron, and are null with it. Source: nova/api/openstack/compute/networks.py."""


def list_networks(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"networks": [_network(call, *each) for each in _networks(call, tx, "os-networks:list")]})


def show_network(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"network": _network(call, *_one_network(call, tx, "os-networks:show"))})


def list_tenant_networks(call: Call, tx: Tx) -> Reply:
    rows = _networks(call, tx, "os-tenant-networks:list")
    return Reply(200, {"networks": [_tenant_network(*each) for each in rows]})


def show_tenant_network(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"network": _tenant_network(*_one_network(call, tx, "os-tenant-networks:show"))})


def _network(call: Call, network_id: str, name: str) -> dict[str, Any]:
    empty = dict.fromkeys((*_NETWORK_FIELDS, *(_ADMIN_FIELDS if call.caller.is_admin else ())))
    return {**empty, "id": network_id, "label": name}


def _tenant_network(network_id: str, name: str) -> dict[str, Any]:
    # The word "None" is what Nova answers. Source: nova/api/openstack/compute/tenant_networks.py.
    return {"id": network_id, "label": name, "cidr": "None"}


def _networks(call: Call, tx: Tx, rule: str) -> list[tuple[str, str]]:
    only_until(call, _LAST)
    access.require(call, rule)
    return devices.visible_networks(tx, call.caller)


def _one_network(call: Call, tx: Tx, rule: str) -> tuple[str, str]:
    """The network of the path, if the caller may see it. Raises: NotFound."""
    only_until(call, _LAST)
    access.require(call, rule)
    found = devices.visible_networks(tx, call.caller, call.params["id"])
    if not found:
        raise NotFound("Network not found", type="NetworkNotFound")
    return found[0]


def list_groups(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-security-groups:get")
    project_id = call.caller.project_id or CLOUD
    everyone = call.caller.is_admin and call.get("all_tenants") is not None
    rows = devices.groups_of(tx, None if everyone else project_id)
    return Reply(200, {"security_groups": views.groups(tx, rows)})


def show_group(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"security_group": views.groups(tx, [_group(call, tx, "os-security-groups:show")])[0]})


def create_group(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-security-groups:create")
    values = {**_words(call), "project_id": call.caller.project_id, "stateful": True}
    try:
        row = network_groups.create_group(tx, call.settings, call.caller, values)
    except Conflict as error:
        raise _limit_exceeded(error) from None
    return Reply(200, {"security_group": views.groups(tx, [row])[0]})


def update_group(call: Call, tx: Tx) -> Reply:
    row = _group(call, tx, "os-security-groups:update")
    try:
        changed = network_groups.update_group(tx, call.settings, call.caller, row, _words(call))
    except Conflict as error:
        # Nova did not expect Neutron's 409 here and answered 500.
        raise BadRequest(error.message, type=error.type) from None
    return Reply(200, {"security_group": views.groups(tx, [changed])[0]})


def remove_group(call: Call, tx: Tx) -> Reply:
    row = _group(call, tx, "os-security-groups:delete")
    try:
        network_groups.delete_group(tx, call.settings, call.caller, row)
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
    group_id = body.uuid("group_id", nullable=True)
    remote = None if group_id is None else _by_id(call, tx, group_id)
    cidr = None if remote is not None else _cidr(body.text("cidr"))
    values: Values = {
        "security_group_id": parent["id"],
        "project_id": parent["project_id"],
        "direction": "ingress",
        "ethertype": "IPv6" if cidr is not None and ":" in cidr else "IPv4",
        **_service(body, is_open=remote is not None),
        "remote_ip_prefix": cidr,
        "remote_group_id": group_id,
        "description": "",
    }
    try:
        rule = network_groups.create_rule(tx, call.settings, call.caller, values)
    except Conflict as error:
        if error.type != "SecurityGroupRuleExists":
            raise _limit_exceeded(error) from None
        raise BadRequest(f"This rule already exists in group {parent['id']}", type="Invalid") from None
    return Reply(200, {"security_group_rule": rule_view(rule, {} if remote is None else {remote["id"]: remote})})


def remove_rule(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    row = find(tx, SECURITY_GROUP_RULE, call.params["id"])
    if row is None or not (call.caller.is_admin or row["project_id"] == call.caller.project_id):
        raise NotFound(f"Rule ({call.params['id']}) not found", type="SecurityGroupRuleNotFound")
    access.require(call, "os-security-groups:rule:delete", project_id=row["project_id"])
    network_groups.delete_rule(tx, call.settings, call.caller, row)
    return Reply(202)


def _group(call: Call, tx: Tx, rule: str) -> SecurityGroupRow:
    only_until(call, _LAST)
    row = _by_id(call, tx, call.params["id"])
    access.require(call, rule, project_id=row["project_id"])
    return row


def _by_id(call: Call, tx: Tx, group_id: str) -> SecurityGroupRow:
    if not is_uuid(group_id):
        raise BadRequest("Security group id should be uuid", type="HTTPBadRequest")
    row = find(tx, SECURITY_GROUP, group_id)
    if row is None or not (call.caller.is_admin or row["project_id"] == call.caller.project_id):
        raise NotFound(f"Security group {group_id} not found.", type="SecurityGroupNotFound")
    return row


def _words(call: Call) -> Values:
    """Name and description of a group: any text, blanks too, as Neutron takes them. Raises: BadRequest."""
    body = wrapped(call, "security_group").only((), ("name", "description"))
    words = {name: body.text(name) for name in ("name", "description")}
    for name, value in words.items():
        if value is None:
            raise invalid(name, value, "None is not of type 'string'")
    return words


def _cidr(text: str | None) -> str:
    """The addresses that a rule names, every IPv4 address unless told. Raises: BadRequest."""
    if not text:
        return "0.0.0.0/0"
    cidr = unquote(text)
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        network = None
    if network is None or "/" not in cidr:
        raise BadRequest(f"{cidr} is not a valid IP network.", type="InvalidCidr")
    if network.prefixlen == 0 and cidr.partition("/")[0] not in ("0.0.0.0", "::"):
        raise BadRequest(f"Bad prefix for network in cidr {cidr}", type="HTTPBadRequest")
    return cidr


def _service(body: Body, *, is_open: bool) -> Values:
    """Protocol and ports of a rule as the network service takes them; -1 is any type of ICMP.

    Without all three an open rule, which names a group, lets everything in; any other is refused.

    Raises: BadRequest.
    Source: nova/network/security_group_api.py `_new_ingress_rule`.
    """
    protocol = (body.text("ip_protocol") or "").lower()
    low, high = (None if body.raw.get(name) is None else body.integer(name) for name in ("from_port", "to_port"))
    if is_open and low is None and high is None and protocol in _RANGES:
        low, high = (-1, -1) if protocol == "icmp" else _RANGES[protocol]
    if not protocol or low is None or high is None:
        if not is_open:
            raise BadRequest("Not enough parameters to build a valid rule.", type="HTTPBadRequest")
        return {"protocol": None, "port_range_min": None, "port_range_max": None}
    if protocol not in _RANGES:
        raise BadRequest(f"Invalid IP protocol {protocol}.", type="InvalidIpProtocol")
    least, most = _RANGES[protocol]
    if not (least <= low <= most and least <= high <= most):
        reason = (
            "For ICMP, the type:code must be valid"
            if protocol == "icmp"
            else f"Valid {protocol.upper()} ports should be between {least}-{most}"
        )
        raise BadRequest(f"Invalid port range {low}:{high}. {reason}", type="InvalidPortRange")
    if low > high and protocol != "icmp":
        raise BadRequest(
            f"Invalid port range {low}:{high}. Former value cannot be greater than the later", type="InvalidPortRange"
        )
    return {
        "protocol": protocol,
        "port_range_min": None if low == -1 else low,
        "port_range_max": None if high == -1 else high,
    }


def _limit_exceeded(error: ApiError) -> Forbidden:
    """Nova took every conflict that Neutron answers for a full quota."""
    return Forbidden(error.message, type="SecurityGroupLimitExceeded")


def _images(call: Call, tx: Tx, *, detail: bool) -> Reply:
    only_until(call, _LAST)
    if not call.policy.check(call.caller, "get_images", {"project_id": call.caller.project_id}):
        raise Forbidden("You are not authorized to complete get_images action.", type="Forbidden")
    words = {name: word for name in ("name", "status") if (word := call.get(name)) is not None}
    rows = image_lists.images_of_project(tx, call.caller, words)
    return Reply(200, {"images": [_image(call, row, detail=detail) for row in rows]})


def _image(call: Call, row: ImageRow, *, detail: bool) -> dict[str, Any]:
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
