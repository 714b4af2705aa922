"""What a client asks of the service itself: how data are imported, what a project uses."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.image import stores
from deuteron.rules.image import limits
from deuteron.store.database import Tx


def import_methods(call: Call, tx: Tx) -> Reply:
    value = {"description": "Import methods available.", "type": "array", "value": list(stores.methods(call))}
    return Reply(200, {"import-methods": value})


def usage(call: Call, tx: Tx) -> Reply:
    """Of the caller's project: what it uses of each limit; a limit of -1 is none."""
    found = limits.usage(tx, call.settings.operator.image, call.caller.project_id)
    return Reply(200, {"usage": {name: {"usage": used, "limit": limit} for name, (used, limit) in found.items()}})
