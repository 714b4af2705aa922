"""POST /os-server-external-events: what other services say of servers.

Source: nova/api/openstack/compute/server_external_events.py.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import Body
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import external_events
from deuteron.rules.compute.external_events import Event
from deuteron.rules.compute.faults import invalid
from deuteron.store.database import Tx

_NAMES: Final = {
    "network-changed": 1,
    "network-vif-plugged": 1,
    "network-vif-unplugged": 1,
    "network-vif-deleted": 1,
    "volume-extended": 51,
    "power-update": 76,
    "accelerator-request-bound": 82,
    "volume-reimaged": 93,
}
"""The microversion that brought each."""
_STATUSES: Final = ("failed", "completed", "in-progress")
_MOST: Final = 1000


def create(call: Call, tx: Tx) -> Reply:
    """Each event with the code that it would have had alone: 200 for all, or 207. Raises: BadRequest, Forbidden."""
    body = call.json()
    if not isinstance(body, dict):
        raise BadRequest("Malformed request body", type="MalformedRequestBody")
    events = Body("body", body, lenient=call.path.startswith("/v2/")).only((), ("events",)).objects("events", _MOST)
    if not events:
        raise invalid("events", [], "[] should be non-empty")
    read = [_event(call, item) for item in events]
    access.require(call, "os-server-external-events:create")
    shown: list[dict[str, Any]] = []
    for item, event in zip(events, read, strict=True):
        code = external_events.take(tx, event)
        shown.append({**item.raw, "code": code, "status": "completed" if code == 200 else "failed"})
    return Reply(200 if all(each["code"] == 200 for each in shown) else 207, {"events": shown})


def _event(call: Call, item: Body) -> Event:
    """Raises: BadRequest."""
    item.only(("status", "tag"), ("name", "server_uuid"))
    names = tuple(name for name, since in _NAMES.items() if call.version >= since)
    name = item.choice("name", names, "")
    server_id = item.uuid("server_uuid") or ""
    status = item.choice("status", _STATUSES, "completed")
    if "tag" in item and item.raw["tag"] is None:
        raise invalid("tag", None, "None is not of type 'string'")
    return Event(name, server_id, status, item.text("tag"))
