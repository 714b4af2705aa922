"""Block device mappings: what the disks of a new server are made of, as requests and images say it.

A request names them, an image that was made of a server with volumes too, and the flavor gives the rest. What stands in
both is taken from the request, device by device; what comes out is one list, checked, with one root in it.

Source: nova/block_device.py; nova/compute/api.py `_check_and_transform_bdm`, `_validate_bdm`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Pairs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest

SOURCES: Final = ("volume", "image", "snapshot", "blank")
TARGETS: Final = ("local", "volume")
MAPPINGS: Final = "block_device_mapping"
"""The property of an image that holds its mappings, as JSON."""
IS_NEW: Final = "bdm_v2"
"""The property that says that they are in the newer form."""
MOST_SIZE: Final = 0x7FFFFFFF
MOST_NAME: Final = 255
BUS: Final = "virtio"
DEVICE_TYPE: Final = "disk"
"""What every volume of a server is."""
_ROOT: Final = "vda"
_EPHEMERAL: Final = re.compile(r"ephemeral(\d|[1-9]\d+)")


@dataclass(frozen=True)
class Mapping:
    """One device. `source` and `target` are None where a device of the image is not to be there."""

    source: str | None
    target: str | None
    id: str | None = None
    boot_index: int | None = None
    """0 is the root; None and less is none to boot from."""
    size: int | None = None
    """GiB of a volume that is made; MiB of swap."""
    device: str | None = None
    delete_on_termination: bool = False
    volume_type: str | None = None
    tag: str | None = None
    guest_format: str | None = None

    @property
    def is_root(self) -> bool:
        return self.boot_index == 0

    @property
    def is_volume(self) -> bool:
        return self.target == "volume"

    @property
    def is_swap(self) -> bool:
        return self.source == "blank" and self.target == "local" and self.guest_format == "swap"

    @property
    def is_ephemeral(self) -> bool:
        return self.source == "blank" and self.target == "local" and self.guest_format != "swap"


def malformed(details: str) -> BadRequest:
    return BadRequest(f"Block Device Mapping is Invalid: {details}", type="InvalidBDMFormat")


def from_request(raw: Pairs[str, Any], *, image_named: bool) -> Mapping:
    """One item of `block_device_mapping_v2`, whose values have their types. Raises: BadRequest."""
    if raw.get("no_device"):
        return Mapping(None, None, device=_device(raw))
    source, target = raw.get("source_type"), raw.get("destination_type")
    if source is None:
        raise malformed("Some required fields are missing")
    object_id = raw.get("uuid")
    if source == "blank" and object_id:
        raise malformed("Invalid device UUID.")
    if source != "blank" and not object_id:
        raise malformed("Missing device UUID.")
    boot_index = None if raw.get("boot_index") is None else int(raw["boot_index"])
    if source == "image" and target == "local" and not (image_named and boot_index == 0):
        raise malformed("Mapping image to local is not supported.")
    if target == "local" and raw.get("volume_type"):
        raise malformed("Specifying a volume_type with destination_type=local is not supported.")
    if source == "volume" and raw.get("volume_type"):
        raise malformed("Specifying volume type to existing volume is not supported.")
    return _checked(_plain(raw, source, target, object_id, boot_index))


def from_legacy(raw: Pairs[str, Any]) -> Mapping:
    """One item of `block_device_mapping`, the older form. Raises: BadRequest."""
    virtual = raw.get("virtual_name") or ""
    if virtual == "swap" or _EPHEMERAL.fullmatch(virtual):
        made = _plain(raw, "blank", "local", None, None)
        return replace(made, guest_format="swap" if virtual == "swap" else None, delete_on_termination=True)
    if raw.get("snapshot_id"):
        return _plain(raw, "snapshot", "volume", raw["snapshot_id"], None)
    if raw.get("volume_id"):
        return _plain(raw, "volume", "volume", raw["volume_id"], None)
    if raw.get("no_device"):
        return Mapping(None, None, device=_device(raw))
    raise malformed("Unrecognized legacy format.")


class _Stored(msgspec.Struct):
    """One device as an image names it; what else stands there is another program's."""

    source_type: str | None = None
    destination_type: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    image_id: str | None = None
    boot_index: int | None = None
    volume_size: int | None = None
    device_name: str | None = None
    delete_on_termination: bool | None = None
    volume_type: str | None = None
    tag: str | None = None
    guest_format: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    virtual_name: str | None = None
    no_device: bool | None = None


def of_image(properties: Pairs[str, str]) -> tuple[Mapping, ...]:
    """The mappings that an image has. Raises: BadRequest for what is none."""
    stored = properties.get(MAPPINGS)
    if not stored:
        return ()
    try:
        items = msgspec.json.decode(stored, type=list[_Stored], strict=False)
    except msgspec.DecodeError:
        raise malformed(f"the image says {quoted(stored)}, and a list of mappings is expected") from None
    for item in items:
        if (item.disk_bus or BUS) != BUS or (item.device_type or DEVICE_TYPE) != DEVICE_TYPE:
            raise malformed(f"the image has a {item.device_type} on {item.disk_bus}, and disks on {BUS} are made here")
        if not 1 <= (item.volume_size or 1) <= MOST_SIZE or len(item.device_name or "") > MOST_NAME:
            raise malformed(f"the image has a device {quoted(item.device_name)} of {item.volume_size} GiB")
    if str(properties.get(IS_NEW, "")).lower() in ("true", "1", "yes", "on"):
        return tuple(map(_of_item, items))
    return _with_root([_checked(from_legacy(msgspec.structs.asdict(item))) for item in items], None)


def _of_item(item: _Stored) -> Mapping:
    raw = msgspec.structs.asdict(item)
    if item.no_device:
        return Mapping(None, None, device=_device(raw))
    if item.source_type not in SOURCES or item.destination_type not in (None, *TARGETS):
        raise malformed(f"the image has a device of source_type {quoted(item.source_type)}")
    object_id = None if item.source_type == "blank" else raw[f"{item.source_type}_id"]
    if object_id is None and item.source_type != "blank":
        raise malformed("Missing device UUID.")
    return _checked(_plain(raw, item.source_type, item.destination_type, object_id, item.boot_index))


def merged(
    image_id: str | None,
    of_the_image: Sequence[Mapping],
    asked: Sequence[Mapping],
    flavor: Flavor,
    *,
    is_legacy: bool,
    count: int,
) -> tuple[Mapping, ...]:
    """All devices of a new server. Raises: BadRequest for what does not go together."""
    if image_id is not None and any(each.is_volume and _short(each.device) == _ROOT for each in asked):
        raise BadRequest(
            f"The volume cannot be assigned the same device name as the root device {_ROOT}", type="InvalidRequest"
        )
    has_root = any(each.is_root for each in of_the_image)
    if is_legacy:
        asked = [replace(each, boot_index=-1) for each in asked] if has_root else _with_root(asked, image_id)
    elif has_root:
        asked = [each for each in asked if not (each.is_root and each.source == "image")]
    elif not asked and image_id is not None:
        asked = [Mapping("image", "local", image_id, 0, delete_on_termination=True)]
    named = {each.device for each in asked if each.device}
    found = (*asked, *(each for each in of_the_image if each.device not in named))
    if count > 1 and any(each.source == "volume" for each in found):
        raise BadRequest("Cannot attach one or more volumes to multiple instances", type="InvalidRequest")
    found = tuple(each for each in found if each.source is not None)
    _check(found, flavor)
    return found


def _check(found: Sequence[Mapping], flavor: Flavor) -> None:
    order = sorted(each.boot_index for each in found if each.boot_index is not None and each.boot_index >= 0)
    if order != list(range(len(order))) or not order:
        raise BadRequest(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination"
            " is not valid.",
            type="InvalidBDMBootSequence",
        )
    for each in found:
        if each.is_volume and each.source in ("image", "blank") and not each.size:
            words = {
                "image": "Images with destination_type 'volume' need to have a non-zero size specified",
                "blank": "Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size",
            }
            raise BadRequest(words[str(each.source)], type="InvalidBDM")
    ephemerals = [each for each in found if each.is_ephemeral]
    if sum(each.size or flavor.ephemeral for each in ephemerals) > flavor.ephemeral:
        raise BadRequest(
            "Ephemeral disks requested are larger than the instance type allows. If no size is given in one block "
            "device mapping, flavor ephemeral size will be used.",
            type="InvalidBDMEphemeralSize",
        )
    swaps = [each for each in found if each.is_swap]
    if len(swaps) > 1:
        raise malformed("More than one swap drive requested.")
    if any((each.size or 0) > flavor.swap for each in swaps):
        raise BadRequest("Swap drive requested is larger than instance type allows.", type="InvalidBDMSwapSize")
    for each, whole in [*((one, flavor.ephemeral) for one in ephemerals), *((one, flavor.swap) for one in swaps)]:
        if each.size not in (None, whole):
            raise malformed(
                f"a local disk of {each.size} is a part of the {whole} that flavor {flavor.name} gives, and only the "
                "whole is made here: leave volume_size out"
            )


def _with_root(found: Sequence[Mapping], image_id: str | None) -> tuple[Mapping, ...]:
    """Devices of the older form, of which the one that is called as the root is the root; else the image is."""
    placed = [
        replace(each, boot_index=0 if each.is_volume and _short(each.device) == _ROOT else -1)
        if each.source is not None
        else each
        for each in found
    ]
    if image_id is not None and not any(each.is_root for each in placed):
        placed.insert(0, Mapping("image", "local", image_id, 0, delete_on_termination=True))
    return tuple(placed)


def _plain(
    raw: Pairs[str, Any], source: str, target: str | None, object_id: str | None, boot_index: int | None
) -> Mapping:
    size = raw.get("volume_size")
    return Mapping(
        source,
        target or ("volume" if source in ("volume", "snapshot") else "local"),
        object_id,
        boot_index,
        None if size in (None, "") else int(size),
        _device(raw),
        bool(raw.get("delete_on_termination")),
        raw.get("volume_type") or None,
        raw.get("tag"),
        raw.get("guest_format") or None,
    )


def _checked(mapping: Mapping) -> Mapping:
    """Raises: BadRequest for what no device can be here."""
    if mapping.target == "local" and mapping.source in ("volume", "snapshot"):
        raise malformed(f"a {mapping.source} is no local disk: destination_type has to be 'volume'")
    if mapping.guest_format is not None and not mapping.is_swap:
        raise malformed(
            f"guest_format '{quoted(mapping.guest_format)}' is not made here: of local blank disks 'swap' is"
        )
    if mapping.id is not None and not is_uuid(str(mapping.id)):
        what = {"volume": "Volume", "snapshot": "Snapshot", "image": "Image"}[str(mapping.source)]
        raise BadRequest(
            f"Block Device Mapping is Invalid: failed to get {what.lower()} {quoted(mapping.id)}.",
            type=f"InvalidBDM{what}",
        )
    return mapping


def _device(raw: Pairs[str, Any]) -> str | None:
    name = raw.get("device_name")
    return f"/dev/{_short(name)}" if name else None


def _short(device: str | None) -> str | None:
    return None if device is None else device.removeprefix("/dev/")
