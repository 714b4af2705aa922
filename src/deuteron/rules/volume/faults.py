"""Cinder's errors: type, status and the sentences that many rules share.

Source: cinder/exception.py.
"""

from __future__ import annotations

from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.errors import ApiError, BadRequest, NotFound, TooLarge
from deuteron.model.resource import Resource, RowT
from deuteron.model.volume.rows import VolumeRow

TRAVEL: Final = "travel"
"""The task of a volume that goes to another host (`travels`)."""


class NotBuilt(ApiError):
    """Cinder can do it, this cloud cannot (yet), and says so."""

    status = 501
    default_type = "NotImplemented"


def refuse_on_its_way(row: VolumeRow) -> None:
    """Raises: BadRequest for a volume that goes to another host with its server."""
    if row["task"] == TRAVEL:
        raise invalid_volume(f"volume {row['id']} is on its way to another host. Try again when it is there.")


def not_built(what: str, instead: str = "") -> NotBuilt:
    return NotBuilt(f"{what} is not available in this cloud.{' ' + instead if instead else ''}")


def missing(resource: Resource[RowT], object_id: str) -> NotFound:
    kind, words = resource.missing or ("NotFound", "{} could not be found.")
    return NotFound(words.format(object_id), type=kind)


def invalid(path: str, value: object, why: str) -> BadRequest:
    """Of a value in a body."""
    return BadRequest(
        f"Invalid input for field/attribute {path}. Value: {quoted(value)}. {why}", type="ValidationError"
    )


def over_quota(message: str) -> TooLarge:
    return TooLarge(message, type="OverQuota")


def invalid_input(why: str) -> BadRequest:
    return BadRequest(f"Invalid input received: {why}", type="InvalidInput")


def invalid_volume(why: str) -> BadRequest:
    """Of a volume that is in no state for it."""
    return BadRequest(f"Invalid volume: {why}", type="InvalidVolume")


def invalid_backup(why: str) -> BadRequest:
    return BadRequest(f"Invalid backup: {why}", type="InvalidBackup")


def invalid_snapshot(why: str) -> BadRequest:
    return BadRequest(f"Invalid snapshot: {why}", type="InvalidSnapshot")


def no_cluster(name: object) -> NotFound:
    """Services here are in no clusters."""
    return NotFound(f"Cluster {quoted(name)} could not be found.", type="ClusterNotFound")
