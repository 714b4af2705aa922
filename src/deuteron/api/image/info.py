"""What a client asks of the service itself: how data are imported, where they are kept, what a project uses."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.image import staging
from deuteron.model.errors import NotFound
from deuteron.rules.image import limits
from deuteron.store.database import Tx


def import_methods(call: Call, tx: Tx) -> Reply:
    value = {"description": "Import methods available.", "type": "array", "value": list(staging.methods(call))}
    return Reply(200, {"import-methods": value})


def stores(call: Call, tx: Tx) -> Reply:
    """Raises: NotFound always."""
    raise NotFound("Multi backend is not supported at this site.")


def usage(call: Call, tx: Tx) -> Reply:
    """Of the caller's project: what it uses of each limit; a limit of -1 is none."""
    found = limits.usage(tx, call.settings.operator.image, call.caller.project_id)
    return Reply(200, {"usage": {name: {"usage": used, "limit": limit} for name, (used, limit) in found.items()}})
