"""Good bodies of the routes of Block Storage; see `bodies` for `$kind`, `$unique` and `$uuid`.

The paths begin with the service's prefix: `/v3` alone is Identity's.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

_V = "/volume/v3"
_RECORD = base64.b64encode(
    json.dumps({"id": str(uuid.UUID(int=1)), "size": 1, "host": "h1", "container": "c"}).encode()
).decode()
_VOLUME = {
    "size": 1,
    "name": "x",
    "description": "y",
    "metadata": {"k": "v"},
    "availability_zone": "nova",
    "volume_type": "$volume_type",
    "multiattach": False,
    "scheduler_hints": {"different_host": "$volume"},
}
_SNAPSHOT = {"volume_id": "$volume", "name": "x", "description": "y", "metadata": {"k": "v"}, "force": True}
_VOLUME_ACTIONS: list[Any] = [
    {"os-extend": {"new_size": 2}},
    {
        "os-volume_upload_image": {
            "image_name": "$unique",
            "force": True,
            "container_format": "bare",
            "disk_format": "raw",
            "visibility": "private",
            "protected": False,
        }
    },
    {"os-update_readonly_flag": {"readonly": True}},
    {"os-set_bootable": {"bootable": True}},
    {"os-set_image_metadata": {"metadata": {"min_ram": "1"}}},
    {"os-show_image_metadata": None},
    {"os-unset_image_metadata": {"key": "min_ram"}},
    {"os-retype": {"new_type": "$volume_type", "migration_policy": "never"}},
    {"os-reset_status": {"status": "available", "attach_status": "detached", "migration_status": "none"}},
    {"os-force_delete": {}},
    {"os-unmanage": None},
    {"revert": {"snapshot_id": "$volume_snapshot"}},
    {"os-attach": {"instance_uuid": "$uuid", "mountpoint": "/dev/vdb", "host_name": "h1", "mode": "rw"}},
    {"os-detach": {"attachment_id": "$uuid"}},
    {"os-force_detach": {"attachment_id": "$uuid", "connector": {"host": "h1"}}},
    {"os-reserve": None},
    {"os-unreserve": None},
    {"os-begin_detaching": None},
    {"os-roll_detaching": None},
    {"os-initialize_connection": {"connector": {"host": "h1"}}},
    {"os-terminate_connection": {"connector": {"host": "h1"}}},
    {"os-migrate_volume": {"host": "h1"}},
]
_ATTACHMENT = {
    "volume_uuid": "$volume",
    "instance_uuid": "$uuid",
    "connector": {"host": "h1", "mountpoint": "/dev/vdb", "mode": "rw"},
    "mode": "rw",
}
_BACKUP = {
    "volume_id": "$volume",
    "name": "x",
    "description": "y",
    "container": "c",
    "incremental": True,
    "force": True,
    "snapshot_id": "$volume_snapshot",
    "metadata": {"k": "v"},
    "availability_zone": "nova",
}
_GROUP_TYPE = {"name": "$unique", "description": "y", "is_public": True, "group_specs": {"k": "v"}}
_MANAGED = {
    "host": "h1@file",
    "ref": {"source-name": "x.qcow2"},
    "name": "x",
    "description": "y",
    "volume_type": "$volume_type",
    "availability_zone": "nova",
    "bootable": True,
    "metadata": {"k": "v"},
}
_TRANSFER = {"transfer": {"volume_id": "$volume", "name": "x", "no_snapshots": True}}
_TYPE = {
    "name": "$unique",
    "description": "y",
    "os-volume-type-access:is_public": True,
    "extra_specs": {"multiattach": "<is> False"},
}
BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", _V + "/volumes"): [
        {"volume": _VOLUME},
        {"volume": {"size": 1, "imageRef": "$image"}},
        {"volume": {"snapshot_id": "$volume_snapshot", "size": 2}},
        {"volume": {"source_volid": "$volume"}},
        {"volume": {"backup_id": "$backup"}},
        {"volume": {"size": 1, "volume_type": "$volume_type", "group_id": "$volume_group"}},
        {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {"same_host": ["$volume"]}},
    ],
    ("PUT", _V + "/volumes/{id}"): [{"volume": {"name": "y", "description": "z", "metadata": {"k": "v"}}}],
    ("POST", _V + "/volumes/{id}/action"): _VOLUME_ACTIONS,
    ("POST", _V + "/volumes/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/volumes/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/volumes/{id}/metadata/{key}"): [{"meta": {"x": "v"}}],
    ("POST", _V + "/snapshots"): [{"snapshot": _SNAPSHOT}],
    ("PUT", _V + "/snapshots/{id}"): [{"snapshot": {"name": "y", "description": "z"}}],
    ("POST", _V + "/snapshots/{id}/action"): [
        {"os-reset_status": {"status": "creating"}},
        {"os-update_snapshot_status": {"status": "creating", "progress": "80%"}},
        {"os-force_delete": {}},
        {"os-unmanage": {}},
    ],
    ("POST", _V + "/snapshots/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/snapshots/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/snapshots/{id}/metadata/{key}"): [{"meta": {"x": "v"}}],
    ("POST", _V + "/attachments"): [{"attachment": _ATTACHMENT}, {"attachment": {"volume_uuid": "$volume"}}],
    ("PUT", _V + "/attachments/{id}"): [{"attachment": {"connector": {"host": "h1"}}}],
    ("POST", _V + "/attachments/{id}/action"): [{"os-complete": {}}],
    ("POST", _V + "/backups"): [{"backup": _BACKUP}, {"backup": {"volume_id": "$volume"}}],
    ("PUT", _V + "/backups/{id}"): [{"backup": {"name": "y", "description": "z", "metadata": {"k": "v"}}}],
    ("POST", _V + "/backups/{id}/restore"): [{"restore": {"name": "x"}}, {"restore": {"volume_id": "$volume"}}],
    ("POST", _V + "/backups/{id}/action"): [{"os-reset_status": {"status": "available"}}, {"os-force_delete": {}}],
    ("POST", _V + "/backups/import_record"): [
        # An object without anything, and one of the right shape, in JSON in base 64.
        {"backup-record": {"backup_service": "cinder.backup.drivers.deuteron", "backup_url": "e30="}},
        {"backup-record": {"backup_service": "cinder.backup.drivers.deuteron", "backup_url": _RECORD}},
    ],
    ("POST", _V + "/group_types"): [{"group_type": _GROUP_TYPE}],
    ("PUT", _V + "/group_types/{id}"): [{"group_type": {"name": "$unique", "description": "z", "is_public": True}}],
    ("POST", _V + "/group_types/{id}/group_specs"): [{"group_specs": {"k": "v"}}],
    ("PUT", _V + "/group_types/{id}/group_specs/{key}"): [{"x": "v"}],
    ("POST", _V + "/groups"): [{"group": {"group_type": "$group_type", "volume_types": ["$volume_type"], "name": "x"}}],
    ("POST", _V + "/groups/action"): [
        {"create-from-src": {"source_group_id": "$volume_group", "name": "x", "description": "y"}},
        {"create-from-src": {"group_snapshot_id": "$uuid"}},
    ],
    ("PUT", _V + "/groups/{id}"): [{"group": {"name": "y", "add_volumes": "$volume", "remove_volumes": "$uuid"}}],
    ("POST", _V + "/groups/{id}/action"): [
        {"delete": {"delete-volumes": True}},
        {"reset_status": {"status": "available"}},
        {"enable_replication": {}},
        {"failover_replication": {"allow_attached_volume": True, "secondary_backend_id": "x"}},
    ],
    ("POST", _V + "/group_snapshots"): [{"group_snapshot": {"group_id": "$volume_group", "name": "x"}}],
    ("POST", _V + "/group_snapshots/{id}/action"): [{"reset_status": {"status": "available"}}],
    ("POST", _V + "/os-volume-transfer"): [_TRANSFER],
    ("POST", _V + "/volume-transfers"): [_TRANSFER],
    ("POST", _V + "/os-volume-transfer/{id}/accept"): [{"accept": {"auth_key": "0123456789abcdef"}}],
    ("POST", _V + "/volume-transfers/{id}/accept"): [{"accept": {"auth_key": "0123456789abcdef"}}],
    **{
        ("POST", f"{_V}/{path}"): [{"volume": _MANAGED}, {"volume": {"host": "h1@file", "ref": {"source-name": "x"}}}]
        for path in ("os-volume-manage", "manageable_volumes")
    },
    **{
        ("POST", f"{_V}/{path}"): [
            {"snapshot": {"volume_id": "$volume", "ref": {"source-name": "x"}, "name": "x", "metadata": {"k": "v"}}}
        ]
        for path in ("os-snapshot-manage", "manageable_snapshots")
    },
    ("PUT", _V + "/os-hosts/{name}"): [{"status": "enable"}],
    ("PUT", _V + "/clusters/{id}"): [{"name": "c", "binary": "cinder-volume", "disabled_reason": "x"}, {"name": "c"}],
    ("POST", _V + "/workers/cleanup"): [
        {"resource_type": "Volume", "is_up": True, "disabled": False, "host": "h1@file", "binary": "cinder-volume"},
        {"resource_id": "$volume", "service_id": "x", "cluster_name": "c"},
    ],
    ("POST", _V + "/types/{id}/encryption"): [
        {
            "encryption": {
                "provider": "luks",
                "cipher": "aes-xts-plain64",
                "key_size": 256,
                "control_location": "front-end",
            }
        }
    ],
    ("PUT", _V + "/types/{id}/encryption/{key}"): [{"encryption": {"key_size": 512, "cipher": None}}],
    ("PUT", _V + "/os-services/{action}"): [
        {"host": "h1@file", "binary": "cinder-volume"},
        {"host": "h1@file", "binary": "cinder-volume", "disabled_reason": "x"},
        {"binary": "*", "server": "h1", "prefix": "x", "level": "DEBUG"},
    ],
    ("POST", _V + "/types"): [{"volume_type": _TYPE}],
    ("PUT", _V + "/types/{id}"): [{"volume_type": {"name": "$unique", "description": "z", "is_public": True}}],
    ("POST", _V + "/types/{id}/action"): [
        {"addProjectAccess": {"project": "$project"}},
        {"removeProjectAccess": {"project": "$project"}},
    ],
    ("POST", _V + "/types/{id}/extra_specs"): [{"extra_specs": {"k": "v"}}],
    ("PUT", _V + "/types/{id}/extra_specs/{key}"): [{"x": "v"}],
    ("PUT", _V + "/default-types/{id}"): [{"default_type": {"volume_type": "$volume_type"}}],
    ("POST", _V + "/qos-specs"): [{"qos_specs": {"name": "$unique", "consumer": "front-end", "total_iops_sec": "100"}}],
    ("PUT", _V + "/qos-specs/{id}"): [{"qos_specs": {"consumer": "both", "k": "v"}}],
    ("PUT", _V + "/qos-specs/{id}/delete_keys"): [{"keys": ["k"]}],
    ("PUT", _V + "/os-quota-sets/{id}"): [{"quota_set": {"volumes": -1, "gigabytes": -1, "snapshots": -1}}],
    ("PUT", _V + "/os-quota-class-sets/{id}"): [{"quota_class_set": {"volumes": -1, "gigabytes": -1}}],
}
