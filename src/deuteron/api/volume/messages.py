"""The requests about messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, lists
from deuteron.model.errors import BadRequest
from deuteron.model.volume import MESSAGE
from deuteron.model.volume.rows import MessageRow
from deuteron.rules.volume import faults, messages
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_FILTERS = ("resource_uuid", "resource_type", "event_id", "request_id", "message_level")
_CONTROLS = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants")


def list_all(call: Call, tx: Tx) -> Reply:
    """Those of the project, or of all for an administrator; from 3.31 on filters that are not known are refused."""
    access.require(call, "message:get_all")
    unknown = sorted({name for name, _ in call.query} - {*_FILTERS, *_CONTROLS})
    if call.version >= 31 and unknown:
        raise BadRequest(
            f"Invalid filters {', '.join(unknown)[:200]} are found in query options.", type="HTTPBadRequest"
        )
    conditions = []
    if not call.caller.is_admin:
        conditions.append(volume_tables.messages.c.project_id == call.caller.project_id)
    known = _FILTERS if call.version >= 5 else ()
    rows, further = lists.page(call, tx, MESSAGE, "messages", conditions, known=known)
    return Reply(200, {"messages": [_shown(call, row) for row in rows], **further})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"message": _shown(call, _find(call, tx, "message:get"))})


def remove(call: Call, tx: Tx) -> Reply:
    messages.remove(tx, _find(call, tx, "message:delete"))
    return Reply(204)


def _find(call: Call, tx: Tx, rule: str) -> MessageRow:
    row = messages.find(tx, call.params["id"])
    if row["project_id"] != call.caller.project_id and not call.caller.is_admin:
        raise faults.missing(MESSAGE, row["id"])
    access.require(call, rule, row["project_id"])
    return row


def _shown(call: Call, row: MessageRow | Mapping[str, Any]) -> dict[str, Any]:
    values: Mapping[str, Any] = row
    shown = {name: values[name] for name, attribute in MESSAGE.by_name.items() if attribute.read}
    return {**shown, "links": lists.links(call, f"messages/{row['id']}")}
