"""Images as servers need them: may the caller boot it, does the flavor hold it, and how does a host fetch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid
from deuteron.model.compute import Flavor, Inherited, PendingImage
from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.model.image import IMAGE
from deuteron.model.image_rows import ImageRow
from deuteron.model.intent import ImageRef
from deuteron.rules.compute import hardware, quotas
from deuteron.rules.image import images as image_rules
from deuteron.rules.image.stores import WITH_DATA
from deuteron.store.database import Tx

GIB = 1024**3
WARM_START = "hw_warm_start"
"""The property of images that can be started warm; ours, not Nova's."""
_NO_PROPERTIES = (
    "checksum",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "size",
    "image_id",
    "image_name",
)
"""What is kept with a volume of its image beside the image's properties."""


@dataclass(frozen=True)
class Bootable:
    """What a server keeps of its image."""

    image: ImageRef | None
    """None where the server's root disk is a volume."""
    kernel: ImageRef | None
    ramdisk: ImageRef | None
    kernel_args: str
    machine_type: str | None
    demands_config_drive: bool = False
    inherited: Inherited = field(default_factory=Inherited)
    image_id: str | None = None
    """What the server shows as its image although its root disk is a volume."""

    def columns(self) -> dict[str, Any]:
        """As columns of a server's row."""
        return {
            "image_id": self.image_id if self.image is None else self.image.id,
            "image": None if self.image is None else msgspec.to_builtins(self.image),
            "kernel": None if self.kernel is None else msgspec.to_builtins(self.kernel),
            "ramdisk": None if self.ramdisk is None else msgspec.to_builtins(self.ramdisk),
            "kernel_args": self.kernel_args,
            "machine_type": self.machine_type,
            "inherited": msgspec.to_builtins(self.inherited),
        }


def bootable(tx: Tx, caller: Caller, image_id: Any, flavor: Flavor) -> Bootable:
    """The image with its kernel and ramdisk, checked against the flavor.

    Raises: BadRequest for an image that is not there, not the caller's to see, not active, not fit to boot, or
    too big for the flavor.
    """
    row = _usable(tx, caller, image_id, "Image")
    if row["min_ram"] > flavor.ram:
        raise BadRequest("Flavor's memory is too small for requested image.", type="FlavorMemoryTooSmall")
    root = flavor.disk * GIB
    if root and row["min_disk"] > flavor.disk:
        raise BadRequest(
            f"The created instance's disk would be too small: flavor {flavor.name} has {flavor.disk} GiB, "
            f"image {row['id']} asks for {row['min_disk']} GiB.",
            type="FlavorDiskSmallerThanMinDisk",
        )
    size = row["virtual_size"] or row["size"] or 0
    if root and size > root:
        raise BadRequest(
            f"Flavor's disk is too small for requested image. Flavor disk is {root} bytes, image is {size} bytes.",
            type="FlavorDiskSmallerThanImage",
        )
    properties = row["properties"] or {}
    if not row["is_inspected"]:
        raise BadRequest(
            f"Image {row['id']} is unacceptable: its data are not a plain disk that passed inspection.",
            type="ImageUnacceptable",
        )
    made = _with_parts(
        tx, caller, row["id"], _reference(row), properties, row["min_ram"], max(row["min_disk"], flavor.disk),
        row["container_format"],
    )  # fmt: skip
    hardware.asked(flavor, properties)
    return made


def of_volume(tx: Tx, caller: Caller, described: Mapping[str, str], flavor: Flavor, size_gib: int) -> Bootable:
    """What a server that boots from a volume has of its image; `described` is what is kept of that. Of 0 is a volume
    whose size says nothing of it.

    Raises: BadRequest for what does not fit the flavor, or the size of a volume that is to be made.
    """
    min_ram, min_disk = _number(described, "min_ram"), _number(described, "min_disk")
    if min_ram > flavor.ram:
        raise BadRequest("Flavor's memory is too small for requested image.", type="FlavorMemoryTooSmall")
    if min_disk > size_gib > 0:
        raise BadRequest(
            f"Volume is smaller than the minimum size specified in image metadata. Volume size is {size_gib * GIB} "
            f"bytes, minimum size is {min_disk * GIB} bytes.",
            type="VolumeSmallerThanMinDisk",
        )
    properties = {key: value for key, value in described.items() if key not in _NO_PROPERTIES}
    hardware.asked(flavor, properties)
    return _with_parts(
        tx, caller, described.get("image_id"), None, properties, min_ram, min_disk, described.get("container_format")
    )


def _with_parts(
    tx: Tx,
    caller: Caller,
    image_id: str | None,
    image: ImageRef | None,
    properties: Mapping[str, str],
    min_ram: int,
    min_disk: int,
    container_format: str | None,
) -> Bootable:
    """The image, or the volume of it, with what else it names. Raises: BadRequest."""
    parts: dict[str, ImageRef | None] = {"kernel_id": None, "ramdisk_id": None}
    for name in parts:
        if properties.get(name):
            parts[name] = _reference(_usable(tx, caller, properties[name], f"Image {image_id} names as {name}"))
    base = {} if image_id is None else {"base_image_ref": image_id}
    return Bootable(
        image,
        parts["kernel_id"],
        parts["ramdisk_id"],
        str(properties.get("os_command_line") or ""),
        properties.get("hw_machine_type"),
        _demands_config_drive(properties),
        Inherited(min_ram, min_disk, container_format or "bare", {**properties, **base, **_made_by(caller)}),
    )


def _number(described: Mapping[str, str], name: str) -> int:
    value = described.get(name, "0")
    return int(value) if value.isdecimal() else 0


def find(tx: Tx, caller: Caller, image_id: str) -> ImageRow | None:
    """The image, if the caller may see it."""
    return image_rules.seen(tx, caller, image_id)


def check_metadata(tx: Tx, caller: Caller, properties: Mapping[str, str]) -> None:
    """Whether the caller may give an image these properties through the Compute API. Raises: Forbidden, BadRequest."""
    hard = quotas.limit(tx, caller.project_id or "", "metadata_items", caller.user_id)
    if 0 <= hard < len(properties):
        raise Forbidden("Image metadata limit exceeded", type="HTTPForbidden")
    refuse_attributes(properties)


def refuse_attributes(properties: Mapping[str, str]) -> None:
    """Raises: BadRequest for a property that would be one of the image's attributes."""
    for name in properties:
        if name in IMAGE.by_name:
            raise BadRequest(f"'{name}' is an attribute of images and no metadata", type="HTTPBadRequest")


def reference(tx: Tx, image_id: str) -> ImageRef:
    """The image as a host fetches it, whoever may see it. Raises: NotFound."""
    row = image_rules.find(tx, image_id)
    if row["status"] != "active":
        raise NotFound(f"image {image_id} has no data")
    return _reference(row)


def whole(tx: Tx, image_id: str) -> ImageRef | None:
    """The image as a host fetches it, if it is there, active and fit to be used."""
    try:
        row = image_rules.find(tx, image_id)
    except NotFound:
        return None
    return _reference(row) if row["status"] == "active" and row["is_inspected"] else None


def drop(tx: Tx, image_id: str) -> None:
    """Delete the image, whatever its state; nothing when it is gone."""
    try:
        image = image_rules.find(tx, image_id)
    except NotFound:
        return
    image_rules.remove(tx, image_rules.change(tx, image, {"protected": False}))


def drop_pending(tx: Tx, stored: object) -> None:
    """The image that was to be made of a server, its row's `snapshot`, is wanted no more; one that is whole stays."""
    if stored is None:
        return
    try:
        image = image_rules.find(tx, msgspec.convert(stored, PendingImage).image_id)
    except NotFound:
        return
    if image["status"] not in WITH_DATA:
        image_rules.remove(tx, image_rules.change(tx, image, {"protected": False}))


def starts_warm(inherited: Any) -> bool:
    """Whether servers of the image may go on from saved memory; `inherited` is what a server's row has of it."""
    properties = {} if inherited is None else msgspec.convert(inherited, Inherited).properties
    return properties.get(WARM_START, "").lower() == "true"


def _demands_config_drive(properties: Mapping[str, str]) -> bool:
    """Whether servers of the image have a config drive unasked. Raises: BadRequest."""
    wish = properties.get("img_config_drive", "optional")
    if wish not in ("optional", "mandatory"):
        raise BadRequest(f"Image's config drive option '{wish}' is invalid", type="InvalidImageConfigDrive")
    return bool(wish == "mandatory")


def _made_by(caller: Caller) -> dict[str, str]:
    """Who made the server, as Nova writes it into images of it. Source: nova/compute/api.py `create`."""
    return {
        "owner_user_name": caller.user_name,
        "owner_project_name": caller.project_name or "",
        "boot_roles": ",".join(sorted(caller.roles)),
    }


def _usable(tx: Tx, caller: Caller, image_id: Any, what: str) -> ImageRow:
    if not isinstance(image_id, str) or not is_uuid(image_id):
        raise BadRequest("Invalid imageRef provided.", type="HTTPBadRequest")
    row = find(tx, caller, image_id)
    if row is None:
        message = "Can not find requested image" if what == "Image" else f"{what}: Image {image_id} could not be found."
        raise BadRequest(message, type="ImageNotFound")
    if row["status"] != "active" or not row["sha256"]:
        raise BadRequest(f"Image {image_id} is not active.", type="ImageNotActive")
    return row


def _reference(row: ImageRow) -> ImageRef:
    return ImageRef(row["id"], row["disk_format"] or "raw", row["size"] or 0, row["sha256"] or "", row["virtual_size"])
