"""Images as volumes need them: may the caller have the data, how does a host fetch them, what does an image tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import and_, or_, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import BadRequest
from deuteron.model.image_rows import ImageRow
from deuteron.model.intent import ImageRef
from deuteron.model.luks import HEADER_BYTES
from deuteron.rules.image import images
from deuteron.rules.volume.faults import invalid_input
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field
from deuteron.store.volume_tables import volumes

GIB: Final = 1024**3
_DESCRIBED: Final = ("checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")
_PLAIN: Final = ("aki", "ari")
_VOLUME_TYPE: Final = "cinder_img_volume_type"
"""The property of images. Source: cinder/doc/source/cli/cli-cinder-create-volume.rst (`cinder_img_volume_type`)."""


def usable(tx: Tx, caller: Caller, reference: str, size_gib: int) -> ImageRow:
    """The image, checked against the size of a volume. Raises: BadRequest."""
    image_id = reference.rpartition("/")[2]
    row = images.seen(tx, caller, image_id) if is_uuid(image_id) else None
    if row is None:
        raise BadRequest("Invalid image identifier or unable to access requested image.", type="HTTPBadRequest")
    if row["status"] != "active" or not row["sha256"]:
        raise invalid_input(f"Image {row['id']} is not active.")
    if not row["is_inspected"] or row["disk_format"] in _PLAIN:
        raise BadRequest(
            f"Image {row['id']} is unacceptable: its data are not a plain disk that passed inspection.",
            type="ImageUnacceptable",
        )
    held = -(-(row["virtual_size"] or row["size"] or 0) // GIB)
    if held > size_gib:
        raise invalid_input(f"Size of specified image {held}GB is larger than volume size {size_gib}GB.")
    if row["min_disk"] > size_gib:
        raise invalid_input(
            f"Volume size {size_gib}GB cannot be smaller than the image minDisk size {row['min_disk']}GB."
        )
    return row


def refuse_without_header(row: ImageRow, size_gib: int) -> None:
    """Raises: BadRequest for an image that leaves no room for what an encrypted volume has before its data."""
    held = row["virtual_size"] or row["size"] or 0
    if held > size_gib * GIB - HEADER_BYTES:
        raise invalid_input(
            f"Image {row['id']} of {held} bytes does not fit into an encrypted volume of {size_gib}GB, whose header "
            f"has {HEADER_BYTES} bytes of it."
        )


def reference(row: ImageRow) -> ImageRef:
    return ImageRef(row["id"], row["disk_format"] or "raw", row["size"] or 0, row["sha256"] or "", row["virtual_size"])


def description(row: ImageRow) -> dict[str, str]:
    """What a volume keeps of what its image says of itself."""
    columns: Mapping[str, object] = row
    own = {name: str(columns[name]) for name in _DESCRIBED if columns[name] is not None}
    named = {"image_id": row["id"], **({"image_name": row["name"]} if row["name"] else {})}
    return {**{key: str(value) for key, value in (row["properties"] or {}).items()}, **own, **named}


def volume_type(row: ImageRow) -> str | None:
    """The type, by id or name, that volumes of the image have unless another is asked for; None when it says none."""
    value = (row["properties"] or {}).get(_VOLUME_TYPE)
    return None if value is None else str(value)


def uses_image(tx: Tx, host: str, image_id: str) -> bool:
    """Whether a volume of the host is to be made of the image, or anew of it."""
    is_new = and_(volumes.c.task == "create", text_field(volumes.c.image, "id") == image_id)
    is_anew = text_field(volumes.c.reimage, "image_id") == image_id
    found = select(volumes.c.id).where(volumes.c.host == host, or_(is_new, is_anew))
    return tx.first(found.limit(1)) is not None
