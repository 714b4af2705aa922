"""File shares of servers, since 2.97: no server has one.

No host here gives guests any, and no service of the cloud has some. What Nova says then is what it says of hosts that
are not set up for them.

Source: nova/api/openstack/compute/server_shares.py; nova/virt/hardware.py `check_shares_supported` (33.0.0).
"""

from __future__ import annotations

import re
from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.codecs import quoted
from deuteron.model.errors import Conflict, NotFound
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state
from deuteron.store.database import Tx

_TAG: Final = re.compile("[a-zA-Z0-9-]{1,255}")


def list_all(call: Call, tx: Tx) -> Reply:
    _server(call, tx, "index")
    return Reply(200, {"shares": []})


def show(call: Call, tx: Tx) -> Reply:
    _server(call, tx, "show")
    raise _missing(call)


def create(call: Call, tx: Tx) -> Reply:
    only_from(call, 97)
    body = wrapped(call, "share").only(("tag",), ("share_id",))
    body.uuid("share_id")
    tag = body.text("tag", least=1)
    if tag is not None and _TAG.fullmatch(tag) is None:
        raise invalid("tag", tag, f"'{quoted(tag)}' does not match '^[a-zA-Z0-9-]*$'")
    require_state(_server(call, tx, "create"), "create share", ("stopped",))
    raise Conflict(
        "Feature not supported because either compute or instance are not configured correctly.",
        type="ForbiddenSharesNotConfiguredCorrectly",
    )


def remove(call: Call, tx: Tx) -> Reply:
    require_state(_server(call, tx, "delete"), "delete share", ("stopped", "error"))
    raise _missing(call)


def _server(call: Call, tx: Tx, rule: str) -> ServerRow:
    only_from(call, 97)
    return access.server_for(call, tx, f"os-server-shares:{rule}")


def _missing(call: Call) -> NotFound:
    return NotFound(f"Share {quoted(call.params['share'])} could not be found.", type="ShareNotFound")
