"""Transfers: a project offers a volume, and who has the key takes it over with its snapshots, or without.

The key is told once; what is kept of it is a hash.

Source: cinder/transfer/api.py.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest
from deuteron.model.scalars import CLOUD
from deuteron.model.volume import SNAPSHOT, TRANSFER, VOLUME
from deuteron.model.volume.rows import TransferRow, VolumeRow
from deuteron.rules.volume import faults, kinds, loads, volumes
from deuteron.store.database import Tx


def find(tx: Tx, caller: Caller, transfer_id: str) -> TransferRow:
    """The transfer, if the caller's project offers it. Raises: NotFound."""
    row = kinds.find(tx, TRANSFER, transfer_id)
    if not volumes.is_seen(caller, row["source_project_id"]):
        raise faults.missing(TRANSFER, transfer_id)
    return row


def create(
    tx: Tx, volume: VolumeRow, name: str | None, *, no_snapshots: bool, may_be_encrypted: bool
) -> tuple[TransferRow, str]:
    """The offer, and its key. Raises: BadRequest for a volume or a snapshot in no state for it."""
    if volume["encryption_key_id"] is not None:
        if not may_be_encrypted:
            raise faults.invalid_volume("transferring encrypted volume is not supported")
        if no_snapshots and volumes.snapshots_of(tx, volume):
            raise faults.invalid_volume("an encrypted volume is transferred with its snapshots: they have its key")
    if volume["group_id"] is not None:
        raise faults.invalid_volume(f"Volume {volume['id']} is in group {volume['group_id']}, which stays")
    if volume["status"] != "available":
        raise faults.invalid_volume(f"status must be available, and is {volume['status']}")
    for each in () if no_snapshots else volumes.snapshots_of(tx, volume):
        if each["status"] != "available":
            raise faults.invalid_snapshot(f"snapshot: {each['id']} status must be available")
    key = secrets.token_hex(8)
    kinds.change(tx, VOLUME, volume, {"status": "awaiting-transfer"})
    row = kinds.add(
        tx,
        TRANSFER,
        {
            "name": name,
            "volume_id": volume["id"],
            "no_snapshots": no_snapshots,
            "source_project_id": volume["project_id"],
            "key_hash": _hash(key, secrets.token_hex(8)),
        },
    )
    return row, key


def remove(tx: Tx, row: TransferRow) -> None:
    """The offer is withdrawn."""
    kinds.remove(tx, TRANSFER, row["id"])
    volume = kinds.seen(tx, VOLUME, row["volume_id"])
    if volume is not None and volume["status"] == "awaiting-transfer":
        kinds.change(tx, VOLUME, volume, {"status": "available"})


def accept(tx: Tx, caller: Caller, transfer_id: str, key: str) -> TransferRow:
    """The volume is the caller's project's. Raises: NotFound; BadRequest for another key; TooLarge for a quota."""
    row = kinds.find(tx, TRANSFER, transfer_id)
    salt = row["key_hash"].partition("$")[0]
    if not hmac.compare_digest(_hash(key, salt), row["key_hash"]):
        raise BadRequest(
            f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key.", type="InvalidAuthKey"
        )
    volume = kinds.find(tx, VOLUME, row["volume_id"])
    if volume["status"] != "awaiting-transfer":
        raise faults.invalid_volume(f"status must be awaiting-transfer, and is {volume['status']}")
    project_id, owner = caller.project_id or CLOUD, {"project_id": caller.project_id, "user_id": caller.user_id}
    own = [each for each in volumes.snapshots_of(tx, volume) if each["project_id"] == volume["project_id"]]
    moved = () if row["no_snapshots"] else tuple(own)
    kind, gib = volume["volume_type_id"], sum(each["size"] for each in moved)
    if project_id != volume["project_id"]:
        loads.check(tx, project_id, kind, "volumes", count=1, gib=volume["size"])
        loads.count(tx, volume["project_id"], kind, "volumes", -1, -volume["size"])
        loads.count(tx, project_id, kind, "volumes", 1, volume["size"])
        loads.check(tx, project_id, kind, "snapshots", count=len(moved), gib=gib)
        loads.count(tx, volume["project_id"], kind, "snapshots", -len(moved), -gib)
        loads.count(tx, project_id, kind, "snapshots", len(moved), gib)
    for each in moved:
        kinds.change(tx, SNAPSHOT, each, owner)
    kinds.change(tx, VOLUME, volume, {**owner, "status": "available"})
    kinds.remove(tx, TRANSFER, row["id"])
    return row


def _hash(key: str, salt: str) -> str:
    # The key is random: there is no dictionary of it to try.
    return f"{salt}${hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()}"
