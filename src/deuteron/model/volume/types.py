"""Volume types, and the QoS specs that they may be associated with.

Source: Cinder API v3, api-ref "Volume types", "QoS specs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, ListOf, Text, Uuid
from deuteron.model.resource import REQUIRED, Resource
from deuteron.model.volume.attributes import shown as _a
from deuteron.model.volume.codecs import Flag, Pairs

if TYPE_CHECKING:
    from deuteron.model.volume.rows import QosSpecsRow, VolumeTypeRow

DEFAULT_TYPE: Final = "__DEFAULT__"
"""The type of volumes that name none. Source: cinder/volume/volume_types.py DEFAULT_VOLUME_TYPE."""
CONSUMERS: Final = ("back-end", "front-end", "both")
SPECS: Final = Pairs(r"[a-zA-Z0-9\-_:.]{1,255}", null_values=True)
"""Extra specs as their own path takes them; with a type they may have blanks and slashes in their keys."""
QOS_PAIRS: Final = Pairs(null_values=True)
NAME: Final = Text(255, min_length=1, pattern=r"[\s\S]*\S[\s\S]*")


VOLUME_TYPE: Resource[VolumeTypeRow] = Resource(
    "volume",
    "volume_type",
    "types",
    "What a volume is to be like: a name, and what the back end is told of it.",
    (
        _a("id", Uuid(), "Its id."),
        _a("name", NAME, "Unique among types.", create=True, update=True, default=REQUIRED),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("is_public", Flag(), "Whether every project may use it.", update=True),
        _a("os-volume-type-access:is_public", Flag(), "The same.", create=True, default=True, stored=False),
        _a("extra_specs", Pairs(null_values=True), "What the back end is told.", create=True, default={}),
        _a("qos_specs_id", Text(nullable=True), "Its QoS specs.", refers_to="qos_specs"),
        _a("projects", ListOf(Text()), "Projects that may use it where it is not public.", read=False),
        _a("encryption", Anything(), "How its volumes are encrypted, where they are.", read=False),
        _a("created_at", Text(), "When it was made, UTC.", read=False),
        _a("updated_at", Text(nullable=True), "Its last change.", read=False),
    ),
    unique=(("name",),),
    indexes=(("qos_specs_id",),),
    missing=("VolumeTypeNotFound", "Volume type {} could not be found."),
    table="volume_types",
    followed=False,
)

QOS_SPECS: Resource[QosSpecsRow] = Resource(
    "volume",
    "qos_specs",
    "qos-specs",
    "Limits for volumes of the types that are associated with it.",
    (
        _a("id", Uuid(), "Its id."),
        _a("name", NAME, "Unique among them.", create=True, default=REQUIRED),
        _a("consumer", Text(), "Who obeys: back-end, front-end or both."),
        _a("specs", QOS_PAIRS, "Keys and values."),
        _a("created_at", Text(), "When it was made, UTC.", read=False),
        _a("updated_at", Text(nullable=True), "Its last change.", read=False),
    ),
    unique=(("name",),),
    missing=("QoSSpecsNotFound", "No such QoS spec {}."),
    table="volume_qos_specs",
    followed=False,
)
