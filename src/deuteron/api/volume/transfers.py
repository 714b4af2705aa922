"""The requests about transfers of volumes: under their first path, and from 3.55 on under another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, lists
from deuteron.model.codecs import Text
from deuteron.model.volume import TRANSFER
from deuteron.model.volume.rows import TransferRow
from deuteron.model.volume.transfers import SINCE
from deuteron.rules.volume import transfers, volumes
from deuteron.rules.volume.faults import invalid
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_KEY: Final = Text(255)


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "")
    return Reply(200, {"transfers": [_brief(call, row) for row in rows], **more})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "/detail")
    return Reply(200, {"transfers": [_shown(call, row) for row in rows], **more})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"transfer": _shown(call, _find(call, tx, "volume:get_transfer"))})


def create(call: Call, tx: Tx) -> Reply:
    """Offer a volume; the key is in this answer, and in no other."""
    body = bodies.wrapped(call, "transfer")
    if call.version < 55 and "no_snapshots" in body:
        raise invalid("transfer", body, "Additional properties are not allowed ('no_snapshots' was unexpected)")
    values = bodies.created(TRANSFER, body)
    volume = volumes.find(tx, call.caller, values["volume_id"])
    access.require(call, "volume:create_transfer", volume["project_id"])
    name = None if values["name"] is None else values["name"].strip()
    # Encrypted ones came with 3.70, and by the newer path alone.
    is_known = call.version >= 70 and "/volume-transfers" in call.path
    row, key = transfers.create(tx, volume, name, no_snapshots=values["no_snapshots"], may_be_encrypted=is_known)
    return Reply(202, {"transfer": {**_shown(call, row), "auth_key": key}})


def accept(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume:accept_transfer")
    body = bodies.wrapped(call, "accept")
    bodies.refuse_others(body, ("auth_key",), "accept")
    given = body.get("auth_key")
    # A key of digits alone is a number to some clients.
    key = str(given) if isinstance(given, int) and not isinstance(given, bool) and abs(given) < 10**18 else given
    row = transfers.accept(tx, call.caller, call.params["id"], bodies.value("auth_key", _KEY, key))
    return Reply(202, {"transfer": _brief(call, row)})


def remove(call: Call, tx: Tx) -> Reply:
    transfers.remove(tx, _find(call, tx, "volume:delete_transfer"))
    return Reply(202)


def _find(call: Call, tx: Tx, rule: str) -> TransferRow:
    row = transfers.find(tx, call.caller, call.params["id"])
    access.require(call, rule, row["source_project_id"])
    return row


def _list(call: Call, tx: Tx, tail: str) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    access.require(call, "volume:get_all_transfers")
    conditions = lists.of_projects(call, volume_tables.transfers, "source_project_id")
    path = f"os-volume-transfer{tail}"
    return lists.page(call, tx, TRANSFER, path, conditions, known=("name", "volume_id"), links_name="transfers")


def _brief(call: Call, row: TransferRow | Mapping[str, Any]) -> dict[str, Any]:
    links = lists.links(call, f"os-volume-transfer/{row['id']}")
    return {"id": row["id"], "volume_id": row["volume_id"], "name": row["name"], "links": links}


def _shown(call: Call, row: TransferRow | Mapping[str, Any]) -> dict[str, Any]:
    values = {**row, "destination_project_id": None, "accepted": False}
    shown = {
        name: values[name]
        for name, attribute in TRANSFER.by_name.items()
        if attribute.read and call.version >= SINCE.get(name, 0)
    }
    return {**shown, "links": lists.links(call, f"os-volume-transfer/{row['id']}")}
