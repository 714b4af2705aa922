"""The requests about QoS specs, which are administrators' alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, lists
from deuteron.model.codecs import ListOf, Text
from deuteron.model.errors import BadRequest
from deuteron.model.volume import QOS_SPECS
from deuteron.model.volume.codecs import Flag
from deuteron.model.volume.rows import QosSpecsRow
from deuteron.model.volume.types import NAME, QOS_PAIRS
from deuteron.rules.volume import qos_specs
from deuteron.store.database import Tx

_RULE: Final = "volume_extension:qos_specs_manage:"
_KEYS: Final = ListOf(Text(255, min_length=1), unique=True)


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}get_all")
    rows, further = lists.page(call, tx, QOS_SPECS, "qos-specs", (), known=("id", "name", "consumer"))
    return Reply(200, {"qos_specs": [_view(row) for row in rows], **further})


def show(call: Call, tx: Tx) -> Reply:
    return _shown(call, _find(call, tx, "get"))


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}create")
    given = bodies.wrapped(call, "qos_specs")
    name = bodies.value("name", NAME, given.get("name"))
    specs = bodies.value("qos_specs", QOS_PAIRS, {key: raw for key, raw in given.items() if key != "name"})
    return _shown(call, qos_specs.create(tx, name, specs))


def update(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "update")
    given = bodies.wrapped(call, "qos_specs")
    qos_specs.update(tx, row, bodies.value("qos_specs", QOS_PAIRS, given))
    return Reply(200, {"qos_specs": given})


def remove_keys(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "delete")
    body = bodies.document(call, ("keys",))
    qos_specs.remove_keys(tx, row, bodies.value("keys", _KEYS, body.get("keys")))
    return Reply(202)


def remove(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "delete")
    qos_specs.remove(tx, row, forced=bodies.value("force", Flag(), call.get("force", "false")))
    return Reply(202)


def list_associations(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "get_all")
    shown = [
        {"association_type": "volume_type", "name": kind["name"], "id": kind["id"]}
        for kind in qos_specs.associated(tx, row)
    ]
    return Reply(200, {"qos_associations": shown})


def associate(call: Call, tx: Tx) -> Reply:
    qos_specs.associate(tx, _find(call, tx, "update"), _type_id(call))
    return Reply(202)


def disassociate(call: Call, tx: Tx) -> Reply:
    qos_specs.disassociate(tx, _find(call, tx, "update"), _type_id(call))
    return Reply(202)


def disassociate_all(call: Call, tx: Tx) -> Reply:
    qos_specs.disassociate_all(tx, _find(call, tx, "update"))
    return Reply(202)


def _find(call: Call, tx: Tx, rule: str) -> QosSpecsRow:
    access.require(call, _RULE + rule)
    return qos_specs.find(tx, call.params["id"])


def _type_id(call: Call) -> str:
    type_id = call.get("vol_type_id")
    if not type_id:
        raise BadRequest("Volume Type id must not be None.", type="HTTPBadRequest")
    return type_id


def _view(row: QosSpecsRow | Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "name", "consumer", "specs")}


def _shown(call: Call, row: QosSpecsRow) -> Reply:
    return Reply(200, {"qos_specs": _view(row), "links": lists.links(call, f"qos-specs/{row['id']}")})
