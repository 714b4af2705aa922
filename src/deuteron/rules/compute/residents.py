"""What a host may ask for because of the servers on it."""

from __future__ import annotations

from sqlalchemy import or_, select

from deuteron.store.compute_tables import block_devices, servers
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field


def uses_image(tx: Tx, host: str, image_id: str) -> bool:
    """Whether a server of the host is made of the image, as its disk, kernel or RAM disk, or rescued with it.

    A server that is on its way to the host, or may come back to it, is one of them.
    """
    parts = [text_field(servers.c[name], "id") for name in ("image", "kernel", "ramdisk")]
    parts += [text_field(servers.c["rescue"], name) for name in ("image_id", "kernel_id", "ramdisk_id")]
    here = or_(servers.c["host"] == host, servers.c["other_host"] == host)
    found = select(servers.c["id"]).where(here, or_(*(part == image_id for part in parts)))
    return tx.first(found.limit(1)) is not None


def has_volume(tx: Tx, host: str, volume_id: str) -> bool:
    """Whether a server of the host has the volume, as above."""
    here = or_(servers.c["host"] == host, servers.c["other_host"] == host)
    found = (
        select(servers.c["id"])
        .join(block_devices, block_devices.c["server_id"] == servers.c["id"])
        .where(here, block_devices.c["volume_id"] == volume_id)
    )
    return tx.first(found.limit(1)) is not None
