"""QoS specs: limits, and the volume types that they are for. Administrators' alone.

Source: cinder/volume/qos_specs.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.volume import QOS_SPECS, VOLUME_TYPE
from deuteron.model.volume.codecs import without_nulls
from deuteron.model.volume.rows import QosSpecsRow, VolumeTypeRow
from deuteron.model.volume.types import CONSUMERS
from deuteron.rules.volume import kinds
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import qos_specs, volume_types


def find(tx: Tx, specs_id: str) -> QosSpecsRow:
    """Raises: NotFound."""
    return kinds.find(tx, QOS_SPECS, specs_id)


def create(tx: Tx, name: str, specs: Mapping[str, str | None]) -> QosSpecsRow:
    """Raises: BadRequest for another consumer than there are, Conflict for a name that is taken."""
    name = name.strip()
    if query.first(tx, qos_specs, qos_specs.c.name == name) is not None:
        raise Conflict(f"QoS Specs {name} already exists.", type="QoSSpecsExists")
    values, consumer = _parts(specs)
    return kinds.add(tx, QOS_SPECS, {"name": name, "consumer": consumer or "back-end", "specs": values})


def update(tx: Tx, row: QosSpecsRow, specs: Mapping[str, str | None]) -> QosSpecsRow:
    """Add to what is there, and change it. Raises: BadRequest."""
    values, consumer = _parts(specs)
    merged = {**row["specs"], **values}
    return kinds.change(tx, QOS_SPECS, row, {"specs": merged, "consumer": consumer or row["consumer"]})


def remove_keys(tx: Tx, row: QosSpecsRow, keys: Sequence[str]) -> None:
    """Raises: NotFound for a key that is not there."""
    for key in keys:
        if key not in row["specs"]:
            raise NotFound(f"QoS spec {row['id']} has no spec with key {key}.", type="QoSSpecsKeyNotFound")
    left = {key: value for key, value in row["specs"].items() if key not in keys}
    kinds.change(tx, QOS_SPECS, row, {"specs": left})


def remove(tx: Tx, row: QosSpecsRow, *, forced: bool) -> None:
    """Raises: BadRequest while types are associated with it, unless they shall be no more."""
    if associated(tx, row) and not forced:
        raise BadRequest("Qos specs still in use.", type="QoSSpecsInUse")
    disassociate_all(tx, row)
    kinds.remove(tx, QOS_SPECS, row["id"])


def associated(tx: Tx, row: QosSpecsRow) -> list[VolumeTypeRow]:
    """The types that it is for, by name."""
    return query.rows(tx, volume_types, volume_types.c.qos_specs_id == row["id"], order_by=(volume_types.c.name,))


def associate(tx: Tx, row: QosSpecsRow, type_id: str) -> None:
    """Raises: NotFound; BadRequest for a type that has others."""
    kind = kinds.find(tx, VOLUME_TYPE, type_id)
    if kind["qos_specs_id"] not in (None, row["id"]):
        raise BadRequest(
            f"Invalid volume type: Type {type_id} is already associated with another qos specs: {kind['qos_specs_id']}",
            type="InvalidVolumeType",
        )
    kinds.change(tx, VOLUME_TYPE, kind, {"qos_specs_id": row["id"]})


def disassociate(tx: Tx, row: QosSpecsRow, type_id: str) -> None:
    """Raises: NotFound."""
    kind = kinds.find(tx, VOLUME_TYPE, type_id)
    if kind["qos_specs_id"] == row["id"]:
        kinds.change(tx, VOLUME_TYPE, kind, {"qos_specs_id": None})


def disassociate_all(tx: Tx, row: QosSpecsRow) -> None:
    for kind in associated(tx, row):
        kinds.change(tx, VOLUME_TYPE, kind, {"qos_specs_id": None})


def _parts(specs: Mapping[str, str | None]) -> tuple[dict[str, str], str | None]:
    """Keys and values, and who is to obey them."""
    values = without_nulls(specs)
    consumer = values.pop("consumer", None)
    if consumer is not None and consumer not in CONSUMERS:
        raise BadRequest(
            f"Invalid qos specs: the consumer is one of {', '.join(CONSUMERS)}, and not '{consumer}'",
            type="InvalidQoSSpecs",
        )
    return values, consumer
