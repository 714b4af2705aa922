"""Good bodies of the routes of Block Storage; see `bodies` for `$kind`, `$unique` and `$uuid`.

The paths begin with the service's prefix: `/v3` alone is Identity's.
"""

from __future__ import annotations

from typing import Any

_V = "/volume/v3"
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
    {"os-attach": {"instance_uuid": "$uuid", "mountpoint": "/dev/vdb"}},
    {"os-migrate_volume": {"host": "h1"}},
]
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
    ],
    ("POST", _V + "/snapshots/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/snapshots/{id}/metadata"): [{"metadata": {"k": "v"}}],
    ("PUT", _V + "/snapshots/{id}/metadata/{key}"): [{"meta": {"x": "v"}}],
    ("POST", _V + "/os-volume-transfer"): [_TRANSFER],
    ("POST", _V + "/volume-transfers"): [_TRANSFER],
    ("POST", _V + "/os-volume-transfer/{id}/accept"): [{"accept": {"auth_key": "0123456789abcdef"}}],
    ("POST", _V + "/volume-transfers/{id}/accept"): [{"accept": {"auth_key": "0123456789abcdef"}}],
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
    ("POST", _V + "/qos-specs"): [{"qos_specs": {"name": "$unique", "consumer": "front-end", "total_iops_sec": "100"}}],
    ("PUT", _V + "/qos-specs/{id}"): [{"qos_specs": {"consumer": "both", "k": "v"}}],
    ("PUT", _V + "/qos-specs/{id}/delete_keys"): [{"keys": ["k"]}],
    ("PUT", _V + "/os-quota-sets/{id}"): [{"quota_set": {"volumes": -1, "gigabytes": -1, "snapshots": -1}}],
    ("PUT", _V + "/os-quota-class-sets/{id}"): [{"quota_class_set": {"volumes": -1, "gigabytes": -1}}],
}
