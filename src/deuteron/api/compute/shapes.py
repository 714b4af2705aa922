"""What bodies of requests may hold, by microversion: which names, which of them must be there, which may be null.

Checked first of all, before the object of the path is looked up, as Nova validates its schemas. Values are read where
they are used, each with its own rules (`bodies`).

Source: nova/api/openstack/compute/schemas/*.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import MAXIMUM
from deuteron.model.codecs import quoted
from deuteron.rules.compute.faults import invalid

Kind = Literal["plain", "object", "array"]


@dataclass(frozen=True)
class Field:
    """One name: its first and last microversion, the first in which it must be there, and what it may be."""

    first: int = 1
    last: int = MAXIMUM
    required: int | None = None
    null: bool = False
    kind: Kind = "plain"


Shape = Mapping[str, Field]

_PLAIN: Final = Field()
_REQUIRED: Final = Field(required=1)
_CERTIFICATES: Final = Field(63, null=True, kind="array")
_FILES: Final = Field(last=56, kind="array")
_COMMON: Final[Shape] = {
    "adminPass": _PLAIN,
    "metadata": Field(kind="object"),
    "OS-DCF:diskConfig": _PLAIN,
    "accessIPv4": _PLAIN,
    "accessIPv6": _PLAIN,
    "personality": _FILES,
    "description": Field(19, null=True),
    "trusted_image_certificates": _CERTIFICATES,
    "hostname": Field(90),
}

CREATE: Final[Shape] = {
    **_COMMON,
    "name": _REQUIRED,
    "flavorRef": _REQUIRED,
    "imageRef": _PLAIN,
    "networks": Field(required=37, kind="array"),
    "security_groups": Field(kind="array"),
    "key_name": _PLAIN,
    "user_data": _PLAIN,
    "availability_zone": _PLAIN,
    "config_drive": _PLAIN,
    "min_count": _PLAIN,
    "max_count": _PLAIN,
    "return_reservation_id": _PLAIN,
    "block_device_mapping": Field(kind="array"),
    "block_device_mapping_v2": Field(kind="array"),
    "tags": Field(52, kind="array"),
    "host": Field(74),
    "hypervisor_hostname": Field(74),
}
HINTS: Final = ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")
"""What stands beside `server` in the body of a create."""
UPDATE: Final[Shape] = {
    name: _COMMON[name] for name in ("OS-DCF:diskConfig", "accessIPv4", "accessIPv6", "description", "hostname")
} | {"name": _PLAIN, "pinned_availability_zone": Field(104, null=True)}
REBUILD: Final[Shape] = {
    **_COMMON,
    "imageRef": _REQUIRED,
    "name": _PLAIN,
    "preserve_ephemeral": _PLAIN,
    "key_name": Field(54, null=True),
    "user_data": Field(57, null=True),
}

ACTIONS: Final[Mapping[str, Shape]] = {
    "reboot": {"type": _REQUIRED},
    "changePassword": {"adminPass": _REQUIRED},
    "rebuild": REBUILD,
    "os-resetState": {"state": _REQUIRED},
    "addSecurityGroup": {"name": _REQUIRED},
    "removeSecurityGroup": {"name": _REQUIRED},
    "addFixedIp": {"networkId": _REQUIRED},
    "removeFixedIp": {"address": _REQUIRED},
    "addFloatingIp": {"address": _REQUIRED, "fixed_address": _PLAIN},
    "removeFloatingIp": {"address": _REQUIRED},
    "os-getConsoleOutput": {"length": Field(null=True)},
    "evacuate": {
        "host": Field(null=True),
        "adminPass": _PLAIN,
        "onSharedStorage": Field(last=13, required=1),
        "force": Field(29, last=67),
    },
    "os-migrateLive": {
        "host": Field(required=1, null=True),
        "block_migration": _REQUIRED,
        "disk_over_commit": Field(last=24, required=1),
        "force": Field(30, last=67),
    },
    "rescue": {"adminPass": _PLAIN, "rescue_image_ref": _PLAIN},
    "resize": {"flavorRef": _REQUIRED, "OS-DCF:diskConfig": _PLAIN},
    "createImage": {"name": _REQUIRED, "metadata": Field(kind="object")},
    "createBackup": {
        "name": _REQUIRED,
        "backup_type": _REQUIRED,
        "rotation": _REQUIRED,
        "metadata": Field(kind="object"),
    },
}
"""Actions whose argument is an object. `lock` takes one or null from 2.73 on, and anything before."""
_MAY_BE_NULL: Final = ("rescue",)
LOCK: Final[Shape] = {"locked_reason": Field(73)}

FLAVOR: Final[Shape] = {
    "name": _REQUIRED,
    "ram": _REQUIRED,
    "vcpus": _REQUIRED,
    "disk": _REQUIRED,
    "id": Field(null=True),
    "OS-FLV-EXT-DATA:ephemeral": _PLAIN,
    "swap": _PLAIN,
    "rxtx_factor": Field(last=101),
    "os-flavor-access:is_public": _PLAIN,
    "description": Field(55, null=True),
}
FLAVOR_UPDATE: Final[Shape] = {"description": Field(55, required=55, null=True)}
SERVICE: Final[Shape] = {
    "host": Field(last=52, required=1),
    "binary": Field(last=52, required=1),
    "disabled_reason": _PLAIN,
    "forced_down": Field(11),
    "status": Field(53),
}
AGGREGATE: Final[Shape] = {"name": _REQUIRED, "availability_zone": Field(null=True)}
AGGREGATE_CHANGE: Final[Shape] = {"name": _PLAIN, "availability_zone": Field(null=True)}
AGGREGATE_ACTIONS: Final[Mapping[str, Shape]] = {
    "add_host": {"host": _REQUIRED},
    "remove_host": {"host": _REQUIRED},
    "set_metadata": {"metadata": Field(required=1, kind="object")},
}
AGGREGATE_IMAGES: Final[Shape] = {"cache": Field(required=81, kind="array")}
KEYPAIR: Final[Shape] = {"name": _REQUIRED, "public_key": Field(required=92), "type": Field(2), "user_id": Field(10)}
GROUP: Final[Shape] = {
    "name": _REQUIRED,
    "policies": Field(last=63, required=1, kind="array"),
    "policy": Field(64, required=64),
    "rules": Field(64, kind="object"),
}


def check(body: Body, shape: Shape, version: int) -> Body:
    """Refuse names that the microversion does not know, the lack of those it wants, and values of a wrong kind.

    Raises: BadRequest.
    """
    known = {name: field for name, field in shape.items() if field.first <= version <= field.last}
    required = [name for name, field in known.items() if field.required is not None and version >= field.required]
    body.only(known, required)
    for name, value in body.raw.items():
        if name in known:
            _check_kind(name, value, known[name])
    return body


def check_action(name: str, argument: Any, version: int) -> None:
    """As `check`, for the argument of an action of a server. Raises: BadRequest."""
    if name in _MAY_BE_NULL and argument is None:
        return
    if name in ACTIONS:
        check(Body(name, argument), ACTIONS[name], version)
    elif name == "lock" and version >= 73 and argument is not None:
        check(Body(name, argument), LOCK, version)


def _check_kind(name: str, value: Any, field: Field) -> None:
    if value is None:
        if not field.null:
            raise invalid(name, value, "None is not of a type that is expected here; leave it out")
    elif field.kind == "object" and not isinstance(value, dict):
        raise invalid(name, value, f"{quoted(value)} is not of type 'object'")
    elif isinstance(value, dict) and field.kind != "object":
        raise invalid(name, value, f"{quoted(value)} is not of type '{'array' if field.kind == 'array' else 'string'}'")
    elif isinstance(value, list) and field.kind != "array":
        raise invalid(name, value, f"{quoted(value)} is not of type 'string'")
