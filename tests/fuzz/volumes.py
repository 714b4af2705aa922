"""Block Storage for the fuzzers: good bodies of its routes, and objects to which they are sent.

The paths begin with the service's prefix: `/v3` alone is Identity's. See `bodies` for `$kind`, `$unique` and `$uuid`.
"""

from __future__ import annotations

from typing import Any

from tests.fuzz.world import World

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
    ("POST", _V + "/volume-transfers/{id}/accept"): [{"accept": {"auth_key": "0123456789abcdef"}}],
    ("PUT", _V + "/os-services/enable"): [{"host": "h1@file", "binary": "cinder-volume"}],
    ("PUT", _V + "/os-services/disable-log-reason"): [
        {"host": "h1@file", "binary": "cinder-volume", "disabled_reason": "x"}
    ],
    ("PUT", _V + "/os-services/set-log"): [{"binary": "*", "server": "h1", "prefix": "x", "level": "DEBUG"}],
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

_FURNITURE: dict[str, tuple[str, Any]] = {
    "volume_type": ("types", {"volume_type": {"name": "$unique"}}),
    "unused_type": ("types", {"volume_type": {"name": "$unique", "os-volume-type-access:is_public": False}}),
    "qos_specs": ("qos-specs", {"qos_specs": {"name": "$unique"}}),
    "volume": ("volumes", {"volume": {"size": 1, "name": "$unique"}}),
    "volume_snapshot": ("snapshots", {"snapshot": {"volume_id": "$volume", "force": True}}),
}
_KIND_OF = {"volumes": "volume", "snapshots": "volume_snapshot", "types": "unused_type", "qos-specs": "qos_specs"}
_PROJECTS = frozenset({"os-quota-sets", "os-quota-class-sets"})


async def furnish(here: World, number: int) -> None:
    """One volume, snapshot, type and QoS specs, where none is left; and quotas that leave room for more."""
    boundless = {"quota_set": dict.fromkeys(("volumes", "gigabytes", "snapshots"), -1)}
    await here.call("PUT", f"{_V}/os-quota-sets/{here.owners['admin project']}", boundless)
    for kind, (path, body) in _FURNITURE.items():
        if kind in here.ids:
            found = await here.call("GET", f"{_V}/{path}/{here.ids[kind]}")
            if found.status == 200:
                (item,) = (value for name, value in found.json.items() if name != "links")
                if item.get("status", "available") != "available":
                    await _reset(here, path, here.ids[kind])
                continue
        names = {**here.names(number), "unique": f"{kind}-{number}"}
        answer = await here.call("POST", f"{_V}/{path}", _filled(body, names))
        assert answer.status in (200, 202), (path, answer.status, answer.body)
        (item,) = (value for name, value in answer.json.items() if name != "links")
        here.ids[kind] = item["id"]
        if "status" in item:
            await _reset(here, path, here.ids[kind])


async def _reset(here: World, path: str, known: str) -> None:
    await here.call("POST", f"{_V}/{path}/{known}/action", {"os-reset_status": {"status": "available"}})


def made(here: World, path: str) -> str:
    """The path, with what is there in it."""
    segments = path.split("/")
    for place, segment in enumerate(segments):
        if segment.startswith("{"):
            kind = "project" if segments[place - 1] in _PROJECTS else _KIND_OF.get(segments[place - 1], "")
            segments[place] = here.ids.get(kind) or "x"
    return "/".join(segments)


def _filled(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    return names[value[1:]] if isinstance(value, str) and value.startswith("$") else value


__all__ = ["BODIES", "furnish", "made"]
