"""The password of a guest, encrypted with its key pair's key: one that it chose for itself and gave to the metadata
service, or that it was told to set.

Source: nova/api/metadata/password.py.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
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


def keep(tx: Tx, row: ServerRow, encrypted: str) -> None:
    """What the guest was told to set, instead of what it gave."""
    _write(tx, row, encrypted)


def encrypted(key: str | None, password: str) -> str | None:
    """The password for the owner of a key pair, in base64; None where it cannot be: another kind of key, or too long.

    Source: nova/crypto.py `ssh_encrypt_text`.
    """
    if key is None or not key.startswith("ssh-rsa"):
        return None
    try:
        public = load_ssh_public_key(key.encode())
        if not isinstance(public, RSAPublicKey):
            return None
        text = base64.b64encode(public.encrypt(password.encode(), PKCS1v15())).decode()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return text if len(text) <= MOST_BYTES else None


def clear(tx: Tx, row: ServerRow) -> None:
    """Forget it. What the guest lets in is not changed by that."""
    _write(tx, row, None)


def _write(tx: Tx, row: ServerRow, password: str | None) -> None:
    # No host and no time of change has to do with it.
    tx.execute(update(servers).where(servers.c["id"] == row.id).values(password=password))
