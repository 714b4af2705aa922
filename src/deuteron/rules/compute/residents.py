"""What a host may ask for because of the servers on it."""

from __future__ import annotations

from sqlalchemy import or_, select

from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field


def uses_image(tx: Tx, host: str, image_id: str) -> bool:
    """Whether a server of the host is made of the image, as its disk, kernel or RAM disk, or rescued with it."""
    parts = [text_field(servers.c[name], "id") for name in ("image", "kernel", "ramdisk")]
    parts += [text_field(servers.c["rescue"], name) for name in ("image_id", "kernel_id", "ramdisk_id")]
    found = select(servers.c["id"]).where(servers.c["host"] == host, or_(*(part == image_id for part in parts)))
    return tx.first(found.limit(1)) is not None
