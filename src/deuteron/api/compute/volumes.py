"""Volumes of a server: listed, attached, described, detached.

Source: nova/api/openstack/compute/volume_attachments.py; nova/api/openstack/compute/schemas/volumes.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, bodies
from deuteron.api.compute.bodies import Body
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import BadRequest, Conflict
from deuteron.rules.compute import block_devices
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.store.database import Tx

_STATES: Final = ("active", "paused", "stopped", "resized", "shelved_offloaded")
_DEVICE: Final = re.compile(r"(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$")
MOST: Final = 1000
T = TypeVar("T")


def list_all(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-volumes-attachments:index")
    found = [_shown(call, each) for each in block_devices.of_server(tx, row.id)]
    return Reply(200, {"volumeAttachments": part(call, found)})


def show(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-volumes-attachments:show")
    return Reply(200, {"volumeAttachment": _shown(call, block_devices.find(tx, row.id, call.params["volume"]))})


def attach(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-volumes-attachments:create")
    body = bodies.wrapped(call, "volumeAttachment")
    more = [name for name, since in (("tag", 49), ("delete_on_termination", 79)) if call.version >= since]
    body.only(["device", *more], ("volumeId",))
    volume_id = body.uuid("volumeId") or ""
    device = body.text("device")
    if device is not None and not _DEVICE.match(device):
        raise invalid("device", device, f"'{quoted(device)}' is no path of a device like /dev/vdb")
    tag = bodies.tag(body.raw["tag"]) if body.raw.get("tag") is not None else None
    require_unlocked(call.caller, row)
    require_state(row, "attach_volume", _STATES)
    made = block_devices.attach(
        tx,
        call.settings,
        call.caller,
        call.request_id,
        row,
        volume_id,
        device=device,
        tag=tag,
        delete_on_termination=body.boolean("delete_on_termination"),
        may_share=call.version >= 60,
    )
    # Since 2.101 who asks does not hear which device it will be, and looks for itself.
    return Reply(202) if call.version >= 101 else Reply(200, {"volumeAttachment": _shown(call, made)})


def update(call: Call, tx: Tx) -> Reply:
    """Whether the volume goes with the server, since 2.85.

    Another volume in its place is for Block Storage to ask alone, as in Nova, while it takes data from the one to the
    other; ours does that without Compute, so that nobody may.
    """
    body = bodies.wrapped(call, "volumeAttachment")
    more = ["device", "tag", "serverId", "id", "delete_on_termination"] if call.version >= 85 else []
    body.only(more, ("volumeId",))
    is_other = body.uuid("volumeId") != call.params["volume"] or call.version < 85
    row = access.server_for(call, tx, f"os-volumes-attachments:{'swap' if is_other else 'update'}")
    held = block_devices.find(tx, row.id, call.params["volume"])
    if call.version >= 85:
        _refuse_changes(body, held)
    if is_other:
        raise Conflict(
            f"volume {held.volume_id} is not migrating; this API should only be called by Cinder. Detach the volume, "
            "and attach the other.",
            type="HTTPConflict",
        )
    if "delete_on_termination" in body:
        block_devices.set_delete_on_termination(tx, held, body.boolean("delete_on_termination"))
    return Reply(202)


def detach(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "os-volumes-attachments:delete")
    require_unlocked(call.caller, row)
    block_devices.find(tx, row.id, call.params["volume"])
    require_state(row, "detach_volume", _STATES)
    block_devices.detach(tx, call.caller, call.request_id, row, call.params["volume"])
    return Reply(202)


def _refuse_changes(body: Body, held: Any) -> None:
    """Raises: BadRequest for anything else than it is."""
    known = {"device": held.device, "tag": held.tag, "serverId": held.server_id, "id": held.volume_id}
    for name, value in known.items():
        if name in body and body.raw[name] != value:
            raise BadRequest(
                f"The {name} property of a volume attachment cannot be changed: it is {quoted(value)}",
                type="HTTPBadRequest",
            )


def part(call: Call, found: Sequence[T]) -> Sequence[T]:
    """What `limit` and `offset` of the query leave of a list that is short as it is."""
    limit, offset = _number(call, "limit", MOST), _number(call, "offset", 0)
    return found[offset : offset + limit]


def _number(call: Call, name: str, default: int) -> int:
    given = call.get(name)
    return default if given is None else min(whole_number(given) or 0, MOST)


def _shown(call: Call, row: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"volumeId": row.volume_id, "serverId": row.server_id, "device": row.device}
    if call.version < 89:
        shown["id"] = row.volume_id
    else:
        shown |= {"attachment_id": row.attachment_id, "bdm_uuid": row.id}
    if call.version >= 70:
        shown["tag"] = row.tag
    if call.version >= 79:
        shown["delete_on_termination"] = bool(row.delete_on_termination)
    return shown
