"""Block device mappings as bodies give them, in the newer form and in the older one.

Source: nova/api/openstack/compute/schemas/servers.py; nova/api/openstack/compute/servers.py `_process_bdms_for_create`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from deuteron.api.call import Call
from deuteron.api.compute import access, bodies
from deuteron.api.compute.bodies import Body
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import mappings
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.mappings import Mapping

MAX_DEVICES: Final = 255
_COMMON: Final = ("volume_size", "device_name", "delete_on_termination", "no_device")
_LEGACY: Final = (*_COMMON, "virtual_name", "volume_id", "snapshot_id", "connection_info")
_NEW: Final = ("source_type", "uuid", "image_id", "destination_type", "guest_format", "device_type", "disk_bus",
               "boot_index")  # fmt: skip
_TEXTS: Final = ("guest_format", "device_type", "disk_bus", "virtual_name")
_NAME: Final = re.compile(r"[a-zA-Z0-9._/-]+")
_ID: Final = re.compile(r"[a-zA-Z0-9._-]{1,255}")
_ONLY: Final = {"disk_bus": mappings.BUS, "device_type": mappings.DEVICE_TYPE}


def requested(call: Call, body: Body) -> tuple[tuple[Mapping, ...], bool]:
    """The devices that a create body names, and whether in the older form. Raises: BadRequest, Forbidden."""
    legacy = [_values(call, item, legacy=True) for item in body.objects("block_device_mapping", MAX_DEVICES)]
    newer = [_values(call, item, legacy=False) for item in body.objects("block_device_mapping_v2", MAX_DEVICES)]
    if legacy and newer:
        raise BadRequest(
            "Using different block_device_mapping syntaxes is not allowed in the same request.", type="HTTPBadRequest"
        )
    image_named = bool(body.raw.get("imageRef"))
    found = tuple(map(mappings.from_legacy, legacy)) or tuple(
        mappings.from_request(each, image_named=image_named) for each in newer
    )
    if any(each.is_volume for each in found):
        access.require(call, "servers:create:attach_volume")
    return found, bool(legacy)


def _values(call: Call, item: Body, *, legacy: bool) -> dict[str, Any]:
    """One device with values of the right types. Raises: BadRequest."""
    known = list(_LEGACY)
    if not legacy:
        known += _NEW
        known += ["tag"] if call.version == 32 or call.version >= 42 else []
        known += ["volume_type"] if call.version >= 67 else []
    item.only(known)
    if item.raw.get("connection_info") is not None:
        raise invalid("connection_info", item.raw["connection_info"], "the host finds out how it reaches a volume")
    found: dict[str, Any] = {"no_device": bool(item.raw.get("no_device"))}
    if "delete_on_termination" in item:
        found["delete_on_termination"] = item.boolean("delete_on_termination")
    if "volume_size" in item:
        found["volume_size"] = item.integer("volume_size", least=1, most=mappings.MOST_SIZE)
    if "boot_index" in item and item.raw["boot_index"] is not None:
        found["boot_index"] = item.integer("boot_index")
    for name in _TEXTS:
        if name in item:
            found[name] = _text(item, name)
    if "device_name" in item:
        found["device_name"] = _matching(item, "device_name", _NAME)
    if "uuid" in item:
        found["uuid"] = _matching(item, "uuid", _ID)
    for name in ("volume_id", "snapshot_id", "image_id"):
        value = item.raw.get(name)
        if name in item and not (isinstance(value, str) and is_uuid(value)):
            raise invalid(name, value, f"'{quoted(value)}' is not a 'uuid'")
        if name in item:
            found[name] = value
    for name, values in (("source_type", mappings.SOURCES), ("destination_type", mappings.TARGETS)):
        if name in item:
            found[name] = item.choice(name, values, "")
    if item.raw.get("tag") is not None:
        found["tag"] = bodies.tag(item.raw["tag"])
    if "volume_type" in item:
        found["volume_type"] = item.text("volume_type")
    return found if legacy else _newer(found)


def _newer(found: dict[str, Any]) -> dict[str, Any]:
    """Raises: BadRequest for what the older form alone has, and for devices that no guest gets here."""
    odd = [name for name in ("virtual_name", "volume_id", "snapshot_id", "image_id") if name in found]
    if odd:
        raise mappings.malformed(f"Following fields are invalid: {' '.join(odd)}")
    for name, only in _ONLY.items():
        if found.get(name) not in (None, "", only):
            raise BadRequest(
                f"Block Device Mapping is invalid: The provided {name.replace('_', ' ')} {quoted(found[name])} is not "
                f"valid: it is '{only}' here",
                type="InvalidBDMDiskBus" if name == "disk_bus" else "InvalidBDMFormat",
            )
    return found


def _text(item: Body, name: str) -> str:
    value = item.text(name)
    if value is None:
        raise invalid(name, value, "None is not of type 'string'")
    return value


def _matching(item: Body, name: str, form: re.Pattern[str]) -> str:
    value = item.raw[name]
    if not isinstance(value, str) or len(value) > mappings.MOST_NAME or not form.fullmatch(value):
        raise invalid(name, value, f"{quoted(value)} does not match '{form.pattern}'")
    return value
