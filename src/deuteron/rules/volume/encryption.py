"""How volumes of a type are encrypted: what administrators may say of it, and what hosts can do of that.

Anything is said of a type that Cinder's schema takes. A volume is made where it is LUKS, done by the host of the guest
(`front-end`), with AES in XTS: that is what every host has in its QEMU. All else is refused when a volume is asked for.

Source: cinder/api/contrib/volume_type_encryption.py; cinder/volume/volume_types.py `volume_types_encryption_changed`;
os_brick/encryptors/__init__.py LEGACY_PROVIDER_CLASS_TO_FORMAT_MAP.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.volume import VOLUME_TYPE
from deuteron.model.volume.rows import VolumeTypeRow
from deuteron.rules.volume import kinds, types
from deuteron.store.database import Tx

FIELDS: Final = ("provider", "control_location", "cipher", "key_size")
_LUKS: Final = frozenset({
    "luks", "LuksEncryptor", "nova.volume.encryptors.luks.LuksEncryptor", "os_brick.encryptors.luks.LuksEncryptor",
})  # fmt: skip
CIPHER: Final = "aes-xts-plain64"
KEY_BITS: Final = (512, 256)
"""Of both halves of a key for XTS; the first where a type says nothing."""


def shown(row: VolumeTypeRow) -> dict[str, object]:
    """All that a type says of it, as Cinder's row has it; nothing where its volumes are not encrypted."""
    if row["encryption"] is None:
        return {}
    return {"volume_type_id": row["id"], "deleted": False, "deleted_at": None, **row["encryption"]}


def create(tx: Tx, row: VolumeTypeRow, values: Mapping[str, object]) -> VolumeTypeRow:
    """Raises: BadRequest while volumes have the type, and for one that says it already."""
    _refuse_used(tx, row, "create")
    if row["encryption"] is not None:
        raise BadRequest(
            f"Volume type encryption for type {row['id']} already exists.", type="VolumeTypeEncryptionExists"
        )
    blank: dict[str, object] = dict.fromkeys(FIELDS)
    made = {"encryption_id": str(uuid.uuid4()), "created_at": kinds.moment(tx.now), "updated_at": None}
    return kinds.change(tx, VOLUME_TYPE, row, {"encryption": {**made, **blank, **values}})


def update(tx: Tx, row: VolumeTypeRow, values: Mapping[str, object]) -> None:
    """Raises: BadRequest while volumes have the type; NotFound."""
    _refuse_used(tx, row, "update")
    if row["encryption"] is None:
        raise missing(row)
    changed = {**row["encryption"], **values, "updated_at": kinds.moment(tx.now)}
    kinds.change(tx, VOLUME_TYPE, row, {"encryption": changed})


def remove(tx: Tx, row: VolumeTypeRow) -> None:
    """Raises: BadRequest while volumes have the type; NotFound."""
    _refuse_used(tx, row, "delete")
    if row["encryption"] is None:
        raise missing(row)
    kinds.change(tx, VOLUME_TYPE, row, {"encryption": None})


def missing(row: VolumeTypeRow) -> NotFound:
    return NotFound(f"Volume type encryption for type {row['id']} does not exist.", type="VolumeTypeEncryptionNotFound")


def key_bits(kind: VolumeTypeRow) -> int | None:
    """How long the key of a new volume's cipher is; None where it is not encrypted.

    Raises: BadRequest for a type whose volumes no host can encrypt.
    """
    asked = kind["encryption"]
    if asked is None:
        return None
    if asked["provider"] not in _LUKS:
        raise _refused(kind, f"provider {quoted(asked['provider'])}", "luks")
    if asked["control_location"] != "front-end":
        raise _refused(kind, f"control location {quoted(asked['control_location'])}", "front-end")
    if asked["cipher"] not in (None, "", CIPHER):
        raise _refused(kind, f"cipher {quoted(asked['cipher'])}", CIPHER)
    bits = KEY_BITS[0] if asked["key_size"] is None else int(asked["key_size"])
    if bits not in KEY_BITS:
        raise _refused(kind, f"key size {bits}", " or ".join(str(each) for each in sorted(KEY_BITS)))
    return bits


def refuse_shared(kind: VolumeTypeRow, *, is_shared: bool) -> None:
    """Raises: BadRequest for encrypted volumes that several servers may have: Cinder has none of these either."""
    if kind["encryption"] is not None and (is_shared or types.is_multiattach(kind)):
        raise BadRequest("Invalid volume: Multiattach cannot be used with encrypted volumes.", type="InvalidVolume")


def is_changed(tx: Tx, one_id: str | None, other: VolumeTypeRow) -> bool:
    """Whether volumes of the two types are encrypted differently, or only those of one are."""
    one = None if one_id is None else kinds.seen(tx, VOLUME_TYPE, one_id)
    return _said(one) != _said(other)


def _said(kind: VolumeTypeRow | None) -> dict[str, object] | None:
    asked = None if kind is None else kind["encryption"]
    return None if asked is None else {name: asked[name] for name in FIELDS}


def _refused(kind: VolumeTypeRow, what: str, accepted: str) -> ApiError:
    return BadRequest(
        f"Invalid volume type: volumes of type {kind['id']} cannot be encrypted as it says, by {what}: hosts of this "
        f"cloud do {accepted}.",
        type="InvalidVolumeType",
    )


def _refuse_used(tx: Tx, row: VolumeTypeRow, verb: str) -> None:
    types.refuse_used(tx, row, f"Cannot {verb} encryption specs. Volume type in use.", type="HTTPBadRequest")
