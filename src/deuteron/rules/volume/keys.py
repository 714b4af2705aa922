"""Keys of encrypted volumes and of their backups: each a secret of its own, kept encrypted with the cloud's key.

    STATE/api/volume-key    the cloud's key, 0600, made once; the key table says nothing to whoever lacks it
    volume_keys             an id, which answers may show, and the secret, which none does

What opens a volume's data is a text of 256 random bits. Hosts that need one ask for it (`api.hosts.volume_keys`); it is
in no intent and no report. A copy has an id of its own and the same secret, as its data are encrypted with that.

Crash: the file is there whole, by one rename, before a key is made with it. It is never made anew while there are
keys: these would be lost with it, and so may come back with it.

Source: cinder/volume/flows/api/create_volume.py `_get_encryption_key_id`; cinder/keymgr.
"""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path
from typing import Final

import structlog
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import delete, select

from deuteron.model.errors import Unavailable
from deuteron.model.settings import Settings
from deuteron.rules.identity.keys import write_key
from deuteron.store.database import Tx
from deuteron.store.volume_tables import keys

log = structlog.get_logger("deuteron.volume")

FILE: Final = "volume-key"
_SECRET_BYTES: Final = 32


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the cloud's key where there is none. Raises: OSError."""
    path = _path(settings)
    if path.exists():
        return
    if tx.first(select(keys.c.id).limit(1)) is not None:
        log.error("the key of encrypted volumes is lost: they can be used again when it is back", file=str(path))
        return
    write_key(path)


def make(tx: Tx, settings: Settings) -> str:
    """A new one; its id. Raises: Unavailable."""
    return _add(tx, _own(settings).encrypt(secrets.token_hex(_SECRET_BYTES).encode()).decode())


def copy(tx: Tx, key_id: str) -> str:
    """Another with the same secret; its id. Raises: Unavailable."""
    return _add(tx, _kept(tx, key_id))


def forget(tx: Tx, key_id: str | None) -> None:
    """Nobody has data of it any more."""
    if key_id is not None:
        tx.execute(delete(keys).where(keys.c.id == key_id))


def are_same(tx: Tx, one: str, other: str) -> bool:
    """Whether what is encrypted with one can be read with the other. Raises: Unavailable."""
    return _kept(tx, one) == _kept(tx, other)


def secret(tx: Tx, settings: Settings, key_id: str) -> str:
    """What opens the data, for the hosts that have these. Raises: Unavailable."""
    try:
        return _own(settings).decrypt(_kept(tx, key_id).encode()).decode()
    except InvalidToken:
        raise Unavailable(f"key {key_id} was made with another key of the cloud than {FILE}") from None


def _add(tx: Tx, kept: str) -> str:
    key_id = str(uuid.uuid4())
    tx.insert(keys, {"id": key_id, "secret": kept})
    return key_id


def _kept(tx: Tx, key_id: str) -> str:
    found: str | None = tx.scalar(select(keys.c.secret).where(keys.c.id == key_id))
    if found is None:
        raise Unavailable(f"there is no key {key_id} any more")
    return found


def _own(settings: Settings) -> Fernet:
    try:
        return Fernet(_path(settings).read_bytes().strip())
    except (OSError, ValueError):
        raise Unavailable("the key of this cloud's encrypted volumes cannot be read") from None


def _path(settings: Settings) -> Path:
    return Path(settings.state_dir) / FILE
