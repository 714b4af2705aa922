"""What a host may ask for because of the servers on it."""

from __future__ import annotations

from sqlalchemy import or_, select

from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field


def uses_image(tx: Tx, host: str, image_id: str) -> bool:
    """Whether a server of the host is made of the image, as its disk, kernel or RAM disk."""
    parts = [text_field(servers.c[name], "id") for name in ("image", "kernel", "ramdisk")]
    found = select(servers.c["id"]).where(servers.c["host"] == host, or_(*(part == image_id for part in parts)))
    return tx.first(found.limit(1)) is not None
