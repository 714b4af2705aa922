"""Extensions: what clients look for in the list, with Cinder's aliases. Only what works is listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.model.errors import NotFound
from deuteron.store.database import Tx

EXTENSIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "backups": ("Backups", "Backups of volumes.", "2012-12-12T00:00:00+00:00"),
    "capabilities": ("Capabilities", "What back ends can do.", "2015-08-31T00:00:00+00:00"),
    "os-admin-actions": ("AdminActions", "Resetting states, deleting by force.", "2012-08-25T00:00:00+00:00"),
    "os-availability-zone": ("AvailabilityZones", "The availability zone.", "2013-06-27T00:00:00+00:00"),
    "os-extended-services": ("ExtendedServices", "Why a service is disabled.", "2014-01-10T00:00:00-00:00"),
    "os-extended-snapshot-attributes": (
        "ExtendedSnapshotAttributes",
        "Project and progress of snapshots.",
        "2012-06-19T00:00:00+00:00",
    ),
    "os-services": ("Services", "Services of hosts.", "2012-10-28T00:00:00-00:00"),
    "os-snapshot-actions": ("SnapshotActions", "Status of snapshots.", "2013-07-16T00:00:00+00:00"),
    "os-vol-host-attr": ("VolumeHostAttribute", "Where a volume is.", "2011-11-03T00:00:00+00:00"),
    "os-vol-image-meta": ("VolumeImageMetadata", "What its image said of itself.", "2012-12-07T00:00:00+00:00"),
    "os-vol-mig-status-attr": ("VolumeMigStatusAttribute", "Status of migrations.", "2013-08-08T00:00:00+00:00"),
    "os-vol-tenant-attr": ("VolumeTenantAttribute", "Whose a volume is.", "2011-11-03T00:00:00+00:00"),
    "os-volume-actions": ("VolumeActions", "Actions of volumes.", "2012-05-31T00:00:00+00:00"),
    "os-volume-transfer": ("VolumeTransfer", "Volumes go to other projects.", "2013-05-29T00:00:00+00:00"),
    "scheduler-stats": ("Scheduler_stats", "Pools of back ends.", "2014-09-07T00:00:00+00:00"),
    "os-hosts": ("Hosts", "Hosts with what they keep.", "2011-06-29T00:00:00+00:00"),
    "os-snapshot-manage": ("SnapshotManage", "Snapshots that were there.", "2014-12-31T00:00:00+00:00"),
    "os-snapshot-unmanage": ("SnapshotUnmanage", "Snapshots given out of hand.", "2014-12-31T00:00:00+00:00"),
    "os-volume-manage": ("VolumeManage", "Disks that were there.", "2014-02-10T00:00:00+00:00"),
    "os-volume-unmanage": ("VolumeUnmanage", "Volumes given out of hand.", "2012-05-31T00:00:00+00:00"),
    "os-volume-encryption-metadata": (
        "VolumeEncryptionMetadata",
        "How a volume is encrypted, and with which key.",
        "2013-07-10T00:00:00+00:00",
    ),
    "os-quota-class-sets": ("QuotaClasses", "Quotas of classes.", "2012-03-12T00:00:00+00:00"),
    "os-quota-sets": ("Quotas", "Quotas of projects.", "2011-08-08T00:00:00+00:00"),
    "os-types-extra-specs": ("TypesExtraSpecs", "Extra specs of types.", "2011-08-24T00:00:00+00:00"),
    "os-types-manage": ("TypesManage", "Making and deleting types.", "2011-08-24T00:00:00+00:00"),
    "os-used-limits": ("UsedLimits", "What is used of the limits.", "2013-10-03T00:00:00+00:00"),
    "os-volume-type-access": ("VolumeTypeAccess", "Which projects may use a type.", "2014-06-26T00:00:00Z"),
    "qos-specs": ("Qos_specs_manage", "QoS specs.", "2013-08-02T00:00:00+00:00"),
}
"""Alias to Cinder's name, a word on what is there, and when Cinder last changed it."""


def list_all(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"extensions": [_view(alias) for alias in EXTENSIONS]})


def show(call: Call, tx: Tx) -> Reply:
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    return Reply(200, {"extension": _view(alias)})


def _view(alias: str) -> dict[str, Any]:
    name, description, updated = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "updated": updated, "links": []}
