"""Remote consoles: where a browser finds a server's screen or terminal, with a token that opens it once.

The host is asked whether the guest has such a console, while the client waits. Types whose hypervisors are gone, or are
not here (`rdp-html5`, `webmks`), are not available; nor is `spice-direct`, for which guests' screens would have to
listen on ports of their hosts (decisions/0033), and which Nova has switched off unless it is told otherwise.

`xvpvnc` was Nova's type for a client that is no browser, with a proxy of its own at a port. Here it is that where an
operator gave viewers a port (`api/console/viewers`), and unavailable elsewhere, as in Nova since its proxy is gone.

Source: nova/api/openstack/compute/remote_consoles.py, console_auth_tokens.py, schemas/remote_consoles.py (34.0.0).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_until
from deuteron.api.console.viewers import address
from deuteron.model.errors import BadRequest, NotFound, Unavailable
from deuteron.rules.compute import consoles
from deuteron.rules.compute.consoles import Grant
from deuteron.rules.compute.faults import not_built
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.database import Tx

RULE: Final = "os-remote-consoles"
TIMEOUT_S: Final = 15.0
ACTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "os-getVNCConsole": ("vnc", ("novnc", "xvpvnc")),
    "os-getSPICEConsole": ("spice", ("spice-html5",)),
    "os-getSerialConsole": ("serial", ("serial",)),
}
"""Until 2.5: the protocol, and the types that the body may name."""
OLD_ACTIONS: Final = (*ACTIONS, "os-getRDPConsole")
_TYPES: Final = {"novnc": "vnc", "xvpvnc": "vnc", "spice-html5": "spice", "serial": "serial"}
"""What there is, with its protocol."""
_PROTOCOLS: Final = ("vnc", "spice", "serial", "rdp")
_KNOWN: Final = ("novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5")


async def act(call: Call, name: str, argument: Any) -> Reply:
    """An action of `OLD_ACTIONS`. Raises: NotFound from 2.6 on; BadRequest for what is gone; as `_url`."""
    only_until(call, 5)
    if name not in ACTIONS:
        raise BadRequest("The consoles of RDP went with the hypervisor that had them.", type="HTTPBadRequest")
    protocol, types = ACTIONS[name]
    wanted = Body(name, argument).only(("type",), ("type",)).choice("type", types, types[0])
    return Reply(200, {"console": {"type": wanted, "url": await _url(call, protocol, wanted)}})


async def create(call: Call) -> Reply:
    """POST /servers/{id}/remote-consoles. Raises: NotFound before 2.6; as `_url`."""
    if call.version < 6:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    await call.read_body()
    whole = Body("remote_console", call.json()).only(("remote_console",), ("remote_console",))
    body = Body("remote_console", whole.raw["remote_console"]).only(("protocol", "type"), ("protocol", "type"))
    protocols = (*_PROTOCOLS, "mks") if call.version >= 8 else _PROTOCOLS
    types = (*_KNOWN, "webmks") if call.version >= 8 else _KNOWN
    if call.version >= 99:
        types = (*types, "spice-direct")
    protocol = body.choice("protocol", protocols, "")
    wanted = body.choice("type", types, "")
    url = await _url(call, protocol, wanted)
    return Reply(200, {"remote_console": {"protocol": protocol, "type": wanted, "url": url}})


async def show_token(call: Call) -> Reply:
    """GET /os-console-auth-tokens/{token}, for administrators. A guest's console is at no port: it is 0.

    Raises: BadRequest before 2.31, as since RDP is gone; NotFound.
    """
    access.require(call, "os-console-auth-tokens")
    if call.version < 31:
        raise BadRequest("The server could not comply with the request since it is either malformed or otherwise "
                         "incorrect.", type="HTTPBadRequest")  # fmt: skip

    def find() -> Grant | None:
        with call.store.read() as tx:
            return consoles.find(tx, call.params["token"])

    grant = await asyncio.get_running_loop().run_in_executor(None, find)
    if grant is None:
        raise NotFound("Token not found", type="HTTPNotFound")
    shown = {"instance_uuid": grant.server_id, "host": grant.host, "port": 0, "internal_access_path": None}
    return Reply(200, {"console": shown})


async def _url(call: Call, protocol: str, wanted: str) -> str:
    """Raises: NotFound, Forbidden for the server; Conflict when no guest runs; BadRequest for what it does not have."""

    def find() -> ServerRow:
        with call.store.read() as tx:
            row = access.server_for(call, tx, RULE)
            is_here = wanted != "xvpvnc" or call.settings.operator.vnc.port is not None
            if protocol == "rdp" or _TYPES.get(wanted) != protocol or not is_here:
                raise consoles.unavailable(wanted if protocol != "rdp" else protocol)
            consoles.require_ready(row, f"get_{protocol}_console")
            return row

    row = await asyncio.get_running_loop().run_in_executor(None, find)
    assert row.host is not None
    try:
        state = await call.parts.hub.ask(row.host, f"console_{protocol}", row.id, timeout_s=TIMEOUT_S)
    except Unavailable as error:
        if error.type == "HostAnswer":
            raise not_built(f"A console of a guest of host {row.host}", "The same version has to run there.") from None
        raise
    if state == "none":
        raise consoles.unavailable(wanted)
    if state != "there":
        raise consoles.not_ready(row.id)
    grant = Grant(row.id, row.host, protocol)

    def make(tx: Tx) -> str:
        return consoles.make(tx, grant, access.server_for(call, tx, RULE).project_id)

    token = await asyncio.wrap_future(call.store.submit(make))
    if wanted == "xvpvnc":
        return address(call.settings.operator.vnc, token)
    path = f"console/{protocol}?token={token}"
    if protocol == "vnc":
        return f"{call.base_url}/console/novnc/vnc_lite.html?path={quote(path, safe='')}"
    if protocol == "spice":
        return f"{call.base_url}/console/spice/spice_auto.html?path={quote(path, safe='')}"
    scheme, _, rest = call.base_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/{path}"
