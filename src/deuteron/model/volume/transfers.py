"""Transfers: a volume on its way from one project to another.

Source: Cinder API v3, api-ref "Volume transfers"; cinder/api/views/transfers.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, Text, Uuid
from deuteron.model.resource import REQUIRED, Attribute, Resource
from deuteron.model.volume.attributes import shown as _a
from deuteron.model.volume.codecs import Flag

if TYPE_CHECKING:
    from deuteron.model.volume.rows import TransferRow


TRANSFER: Resource[TransferRow] = Resource(
    "volume",
    "transfer",
    "volume-transfers",
    "A volume that its project gives to whoever has the key.",
    (
        _a("id", Uuid(), "Its id."),
        _a("created_at", Text(), "When it was offered, UTC."),
        _a("name", Text(255, nullable=True), "A name; it need not be unique.", create=True),
        _a("volume_id", Uuid(), "The volume.", create=True, default=REQUIRED, refers_to="volume"),
        _a("no_snapshots", Flag(), "Whether its snapshots stay where they are.", create=True, default=False),
        _a("source_project_id", Text(), "Whose it is.", refers_to="project"),
        _a("destination_project_id", Text(nullable=True), "Nobody's yet.", stored=False),
        _a("accepted", Boolean(), "Not yet: then there is no transfer any more.", stored=False),
        Attribute("updated_at", Text(nullable=True), "Its last change.", read=False),
        Attribute("key_hash", Text(), "Of the key, with its salt.", read=False),
    ),
    indexes=(("source_project_id", "created_at", "id"), ("created_at", "id"), ("volume_id",), ("name",)),
    missing=("TransferNotFound", "Transfer {} could not be found."),
    table="volume_transfers",
    followed=False,
)

SINCE: Final = {"no_snapshots": 55, "source_project_id": 57, "destination_project_id": 57, "accepted": 57}
"""The microversion in which an attribute came."""
