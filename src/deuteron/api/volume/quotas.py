"""Quotas and limits as the Block Storage API shows them."""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.model.codecs import Text
from deuteron.model.volume.codecs import Flag
from deuteron.rules.volume import quotas
from deuteron.rules.volume.faults import invalid
from deuteron.store.database import Tx

_RULE: Final = "volume_extension:quotas:"
_CLASS_RULE: Final = "volume_extension:quota_classes:"
_CLASS_NAME: Final = Text(255, min_length=1)
_LIMITS: Final = {
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "snapshots": ("maxTotalSnapshots", "totalSnapshotsUsed"),
    "gigabytes": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    "backups": ("maxTotalBackups", "totalBackupsUsed"),
    "backup_gigabytes": ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
}
"""Source: cinder/api/views/limits.py, cinder/api/contrib/used_limits.py."""


def show(call: Call, tx: Tx) -> Reply:
    """The limits of a project; with `usage=true` what it has beside each."""
    project_id = call.params["id"]
    access.require(call, f"{_RULE}show", project_id)
    limits = quotas.limits(tx, project_id)
    shown: dict[str, Any] = dict(limits)
    if bodies.value("usage", Flag(), call.get("usage", "false")):
        have = quotas.used(tx, project_id, list(limits))
        shown = {name: {"limit": value, "in_use": have[name], "reserved": 0} for name, value in limits.items()}
    return Reply(200, {"quota_set": {**shown, "id": project_id}})


def show_defaults(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, f"{_RULE}show", project_id)
    return Reply(200, {"quota_set": {**quotas.class_limits(tx, quotas.DEFAULT_CLASS), "id": project_id}})


def update(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, f"{_RULE}update", project_id)
    given = bodies.wrapped(call, "quota_set")
    if not given:
        raise invalid("quota_set", given, "it names no limit, at least one is expected")
    given = {name: raw for name, raw in given.items() if name not in ("tenant_id", "skip_validation", "force")}
    quotas.change(tx, project_id, given)
    return Reply(200, {"quota_set": quotas.limits(tx, project_id)})


def reset(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}delete", call.params["id"])
    quotas.reset(tx, call.params["id"])
    return Reply(200)


def show_class(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_CLASS_RULE}get")
    name = call.params["id"]
    return Reply(200, {"quota_class_set": {**quotas.class_limits(tx, name), "id": name}})


def update_class(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_CLASS_RULE}update")
    name = bodies.value("quota_class_name", _CLASS_NAME, call.params["id"])
    quotas.change_class(tx, name, bodies.wrapped(call, "quota_class_set"))
    return Reply(200, {"quota_class_set": quotas.class_limits(tx, name)})


def show_limits(call: Call, tx: Tx) -> Reply:
    """The same of the caller's project, under other names; from 3.39 on administrators may name another."""
    project_id = call.caller.project_id or ""
    other = call.get("project_id")
    if other is not None and call.version >= 39 and call.caller.is_admin:
        project_id = other
    limits = quotas.limits(tx, project_id)
    absolute = {shown: limits[name] for name, (shown, _) in _LIMITS.items()}
    if access.allowed(call, "limits_extension:used_limits", project_id):
        have = quotas.used(tx, project_id, list(_LIMITS))
        absolute |= {shown: have[name] for name, (_, shown) in _LIMITS.items()}
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})
