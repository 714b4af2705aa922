"""The password that a guest chose for itself and gave to the metadata service, encrypted with its key pair's key.

Source: nova/api/metadata/password.py.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import update

from deuteron.model.errors import BadRequest, Conflict
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

MOST_BYTES: Final = 1020
"""Four parts of 255, as Nova stores it."""


def give(tx: Tx, row: ServerRow, password: bytes) -> None:
    """Keep what the guest gave; it may do so once. Raises: Conflict; BadRequest for what is too long or no text."""
    if row.password:
        raise Conflict("There was an instance password already; its owner may clear it", type="HTTPConflict")
    if len(password) > MOST_BYTES:
        raise BadRequest(
            f"Request is too large: {len(password)} bytes, at most {MOST_BYTES} are accepted.", type="HTTPBadRequest"
        )
    try:
        text = password.decode()
    except UnicodeDecodeError:
        raise BadRequest("the password is not UTF-8; base64 of its encrypted form is expected") from None
    if "\0" in text:
        raise BadRequest("the password holds a null character; base64 of its encrypted form is expected")
    _write(tx, row, text)


def clear(tx: Tx, row: ServerRow) -> None:
    """Forget it. What the guest lets in is not changed by that."""
    _write(tx, row, None)


def _write(tx: Tx, row: ServerRow, password: str | None) -> None:
    # No host and no time of change has to do with it.
    tx.execute(update(servers).where(servers.c["id"] == row.id).values(password=password))
