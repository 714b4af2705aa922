"""Quotas and limits as the Compute API shows them, by microversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import wrapped
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import quotas
from deuteron.rules.compute.quotas import DEFAULTS
from deuteron.store.database import Tx

_NETWORK: Final = ("floating_ips", "fixed_ips", "security_groups", "security_group_rules")
_LONGEST_ID: Final = 255
_INJECTED: Final = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")


def show(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:show", project_id=project_id)
    return Reply(200, {"quota_set": {"id": project_id, **_limits(call, tx, project_id, call.get("user_id"))}})


def show_detail(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:detail", project_id=project_id)
    have = quotas.used(tx, project_id, call.get("user_id"))
    limits = _limits(call, tx, project_id, call.get("user_id"))
    detail = {name: {"limit": value, "in_use": have.get(name, 0), "reserved": 0} for name, value in limits.items()}
    return Reply(200, {"quota_set": {"id": project_id, **detail}})


def show_defaults(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:defaults")
    found = quotas.class_limits(tx, quotas.DEFAULT_CLASS)
    return Reply(200, {"quota_set": {"id": call.params["id"], **{name: found[name] for name in _names(call)}}})


def show_class(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-class-sets:show")
    return Reply(200, {"quota_class_set": {"id": call.params["id"], **_class_limits(call, tx)}})


def update_class(call: Call, tx: Tx) -> Reply:
    """The answer has no id, and below 2.50 takes quotas of groups that it does not show, as in Nova.

    Source: nova/api/openstack/compute/quota_classes.py, schemas/quota_classes.py.
    """
    names = _names(call) if call.version >= 50 else list(DEFAULTS)
    body = wrapped(call, "quota_class_set").only(names)
    wanted = {name: body.integer(name, least=-1, most=2**31 - 1) for name in names if name in body}
    access.require(call, "os-quota-class-sets:update")
    class_name = call.params["id"]
    if len(class_name) > _LONGEST_ID:
        raise BadRequest(f"the name of the class is too long: {quoted(class_name)}", type="HTTPBadRequest")
    quotas.change_class(tx, class_name, wanted)
    return Reply(200, {"quota_class_set": _class_limits(call, tx)})


def _class_limits(call: Call, tx: Tx) -> dict[str, int]:
    found = quotas.class_limits(tx, call.params["id"])
    return {name: found[name] for name in _class_names(call)}


def _class_names(call: Call) -> list[str]:
    """Below 2.50 those of networks are there, whatever quotas of projects show, and those of groups are not."""
    if call.version >= 50:
        return _names(call)
    return [name for name in DEFAULTS if not name.startswith("server_group")]


def update(call: Call, tx: Tx) -> Reply:
    body = wrapped(call, "quota_set").only((*_names(call), "force"))
    forced = body.boolean("force")
    wanted = {name: body.integer(name, least=-1, most=2**31 - 1) for name in _names(call) if name in body}
    access.require(call, "os-quota-sets:update")
    project_id = call.params["id"]
    user_id = _user(call)
    if user_id is None:
        quotas.change(tx, project_id, wanted, forced=forced)
    else:
        quotas.change_of_user(tx, project_id, user_id, wanted, forced=forced)
    return Reply(200, {"quota_set": _limits(call, tx, project_id, user_id)})


def reset(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:delete")
    quotas.reset(tx, call.params["id"], _user(call))
    return Reply(202)


def _user(call: Call) -> str | None:
    """Whose quotas within the project are meant; None for those of the project. Raises: BadRequest."""
    user_id = call.get("user_id") or None
    if user_id is not None and len(user_id) > _LONGEST_ID:
        raise BadRequest(f"user_id is too long: {quoted(user_id)}", type="HTTPBadRequest")
    return user_id


_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "ram": ("maxTotalRAMSize",),
    "instances": ("maxTotalInstances",),
    "cores": ("maxTotalCores",),
    "key_pairs": ("maxTotalKeypairs",),
    "floating_ips": ("maxTotalFloatingIps",),
    "metadata_items": ("maxServerMeta", "maxImageMeta"),
    "injected_files": ("maxPersonality",),
    "injected_file_content_bytes": ("maxPersonalitySize",),
    "security_groups": ("maxSecurityGroups",),
    "security_group_rules": ("maxSecurityGroupRules",),
    "server_groups": ("maxServerGroups",),
    "server_group_members": ("maxServerGroupMembers",),
}
_USED: Final[Mapping[str, str]] = {
    "ram": "totalRAMUsed",
    "cores": "totalCoresUsed",
    "instances": "totalInstancesUsed",
    "floating_ips": "totalFloatingIpsUsed",
    "security_groups": "totalSecurityGroupsUsed",
    "server_groups": "totalServerGroupsUsed",
}
"""Source: nova/api/openstack/compute/views/limits.py."""


def show_limits(call: Call, tx: Tx) -> Reply:
    """The quotas of a project and what it has, under other names."""
    access.require(call, "limits")
    project_id = call.caller.project_id or ""
    other = call.get("tenant_id")
    if other is not None:
        if other != project_id:
            access.require(call, "limits:other_project")
        project_id = other
    have = quotas.used(tx, project_id)
    absolute: dict[str, int] = {}
    for name, value in _limits(call, tx, project_id).items():
        absolute |= {shown: value for shown in _LIMITS.get(name, ()) if shown != "maxImageMeta" or call.version < 39}
        if name in _USED:
            absolute[_USED[name]] = have.get(name, 0)
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


def _names(call: Call) -> list[str]:
    hidden: set[str] = set()
    if call.version >= 36:
        hidden |= set(_NETWORK)
    if call.version >= 57:
        hidden |= set(_INJECTED)
    return [name for name in DEFAULTS if name not in hidden]


def _limits(call: Call, tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    found = quotas.limits(tx, project_id, user_id)
    return {name: found[name] for name in _names(call)}
