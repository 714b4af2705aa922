"""POST /servers/{id}/action: what people do to a server.

Each action is one function `(call, tx, row, body) -> Reply`; it checks the state in Nova's words, writes what
should be and the task, and the host does the rest. The console's text is asked of the host while the client
waits, so the whole path is asynchronous and each action runs in a write transaction of its own.

Source: nova/compute/api.py (`check_instance_state`); nova/api/openstack/compute/servers.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, drives, images, interfaces, keypairs, servers, shapes, views
from deuteron.api.compute.bodies import Body
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest, Conflict, NotFound, Unavailable
from deuteron.rules.compute import history, lifecycle, quotas
from deuteron.rules.compute.faults import invalid, not_built
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.network import ports as network_ports
from deuteron.store import query
from deuteron.store.compute_tables import servers as table
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports

Action = Callable[[Call, Tx, ServerRow, Any], Reply]

CONSOLE_TIMEOUT_S: Final = 15.0


async def act(call: Call) -> Reply:
    """Run the action that the body names. Raises: BadRequest for an unknown one."""
    await call.read_body()
    body = call.json()
    if not isinstance(body, dict) or len(body) != 1:
        raise BadRequest("Malformed request body: one action is expected", type="MalformedRequestBody")
    name, argument = next(iter(body.items()))
    shapes.check_action(name, argument, call.version)
    if name == "os-getConsoleOutput":
        return await _console(call, argument)
    action = ACTIONS.get(name)
    if action is None:
        refusal = NOT_BUILT.get(name)
        if refusal is None:
            raise BadRequest(f"There is no such action: {name}", type="NoSuchActionError")
        rule = "servers:show"
    else:
        rule = _RULES[name]

    def run(tx: Tx) -> Reply:
        row = access.server_for(call, tx, rule)
        if action is None:
            raise not_built(*NOT_BUILT[name])
        return action(call, tx, row, argument)

    return await asyncio.wrap_future(call.store.submit(run))


async def _console(call: Call, argument: Any) -> Reply:
    body = Body("os-getConsoleOutput", argument).only(("length",))
    lines = -1 if body.raw.get("length") is None else body.integer("length", least=-1)

    def find() -> ServerRow:
        with call.store.read() as tx:
            return access.server_for(call, tx, "os-console-output")

    row = await asyncio.get_running_loop().run_in_executor(None, find)
    if row.host is None or (row.launched_at is None and row.vm_state == "building" and row.task_state != "spawning"):
        raise Conflict(f"Instance {row.id} is not ready", type="InstanceNotReady")
    try:
        text = await call.parts.hub.ask(row.host, "console_log", row.id, lines, CONSOLE_TIMEOUT_S)
    except Unavailable as error:
        if error.type != "HostAnswer":
            raise
        raise NotFound(
            f"Guest does not have a console available: {error.message}", type="ConsoleNotAvailable"
        ) from None
    return Reply(200, {"output": text})


def _stop(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "stop", ("active", "error"))
    return _ask(call, tx, row, "stop", task_state="powering-off", power="shutdown")


def _start(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "start", ("stopped",))
    return _ask(call, tx, row, "start", task_state="powering-on", power="running")


def _reboot(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    kind = Body("reboot", body).only((), ("type",)).raw["type"]
    kind = kind.upper() if isinstance(kind, str) else kind
    if kind not in ("SOFT", "HARD"):
        raise invalid("type", kind, f"'{kind}' is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']")
    access.require_unlocked(call, row)
    if kind == "SOFT":
        access.require_state(row, "reboot", ("active",))
    else:
        access.require_state(
            row,
            "reboot",
            ("active", "stopped", "paused", "suspended", "error"),
            (None, "rebooting", "rebooting_hard", "pausing", "powering-on", "powering-off"),
        )
    return _ask(
        call,
        tx,
        row,
        "reboot",
        task_state="rebooting" if kind == "SOFT" else "rebooting_hard",
        power="running",
        reboot_kind=kind,
        reboot_generation=row.reboot_generation + 1,
    )


def _pause(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "pause", ("active",))
    return _ask(call, tx, row, "pause", task_state="pausing", power="paused")


def _unpause(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "unpause", ("paused",))
    return _ask(call, tx, row, "unpause", task_state="unpausing", power="running")


def _suspend(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "suspend", ("active",))
    return _ask(call, tx, row, "suspend", task_state="suspending", power="suspended")


def _resume(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    access.require_unlocked(call, row)
    access.require_state(row, "resume", ("suspended",))
    return _ask(call, tx, row, "resume", task_state="resuming", power="running")


def _lock(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    reason = None
    if call.version >= 73 and body is not None:
        reason = Body("lock", body).only(("locked_reason",)).text("locked_reason", least=1)
    by = "owner" if row.project_id == call.caller.project_id and not call.caller.is_admin else "admin"
    history.begin(tx, call.caller, call.request_id, row.id, "lock", row.host)
    lifecycle.set_server(tx, row.id, locked=True, locked_by=by, locked_reason=reason)
    return Reply(202)


def _unlock(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    if row.locked and row.locked_by == "admin":
        access.require(call, "os-lock-server:unlock:unlock_override", project_id=row.project_id)
    history.begin(tx, call.caller, call.request_id, row.id, "unlock", row.host)
    lifecycle.set_server(tx, row.id, locked=False, locked_by=None, locked_reason=None)
    return Reply(202)


def _rebuild(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("rebuild", body)
    if wanted.raw.get("trusted_image_certificates"):
        raise BadRequest("Certified images are not available in this cloud.", type="HTTPBadRequest")
    if "preserve_ephemeral" in wanted and wanted.boolean("preserve_ephemeral"):
        raise BadRequest(
            "Keeping the ephemeral disk over a rebuild is not available in this cloud.", type="HTTPBadRequest"
        )
    access.require_unlocked(call, row)
    access.require_state(row, "rebuild", ("active", "stopped", "error"))
    image = images.bootable(tx, call, wanted.raw["imageRef"], msgspec.convert(row.flavor, Flavor))
    password = wanted.text("adminPass") or servers.make_password()
    files = drives.files_of(call, tx, wanted, row.project_id)
    values: dict[str, Any] = {
        **image.columns(),
        **drives.columns(bool(row.config_drive), image.demands_config_drive, files, password),
        "build_generation": row.build_generation + 1,
    }
    if "name" in wanted:
        values["name"] = wanted.name()
    if "metadata" in wanted:
        values["metadata"] = wanted.metadata()
        quotas.check_metadata(tx, row.project_id, values["metadata"])
    if "description" in wanted:
        values["description"] = wanted.text("description")
    if "accessIPv4" in wanted:
        values["access_ipv4"] = wanted.address("accessIPv4", 4)
    if "accessIPv6" in wanted:
        values["access_ipv6"] = wanted.address("accessIPv6", 6)
    if "OS-DCF:diskConfig" in wanted:
        values["disk_config"] = wanted.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL")
    if "user_data" in wanted:
        values["user_data"] = wanted.base64("user_data", servers.MAX_USER_DATA)
    if "key_name" in wanted:
        key_name = wanted.text("key_name", least=1)
        # As in Nova, a key of who asks: servers are a project's, keys a user's.
        key = None if key_name is None else keypairs.find(tx, call.caller.user_id, key_name)
        values |= {"key_name": key_name, "key_data": None, "key_type": None}
        if key is not None:
            values |= {"key_data": key.public_key, "key_type": key.type}
    if "hostname" in wanted:
        values["hostname"] = servers.hostname(call, wanted)
    # A server that failed before it ran is to run afterwards; a stopped one stays stopped.
    power = {} if row.vm_state != "error" else {"power": "running"}
    _ask(call, tx, row, "rebuild", task_state="rebuilding", fault=None, **power, **values)
    fresh = tx.first(select(table).where(table.c["id"] == row.id))
    assert fresh is not None  # it was just written
    short = views.details(call, tx, [fresh], single=True)[0]
    if call.version < 75:
        short = {key: value for key, value in short.items() if key in views.SHORT}
    short.pop("OS-EXT-SRV-ATTR:user_data", None)
    if call.version >= 54:
        short["key_name"] = fresh.key_name
    if call.version >= 57:
        short["user_data"] = fresh.user_data
    short["adminPass"] = password
    return Reply(202, {"server": short}, {"location": f"{call.base_url}/compute/v2.1/servers/{row.id}"})


def _reset_state(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    state = Body("os-resetState", body).only((), ("state",)).choice("state", ("active", "error"), "error")
    history.begin(tx, call.caller, call.request_id, row.id, "reset_state", row.host)
    history.finish(tx, row.id)
    # As in Nova a deletion under way is undone in name only: the host goes on with it, and its report ends it.
    task = row.task_state if row.task_state == "deleting" else None
    lifecycle.set_server(tx, row.id, vm_state=state, task_state=task, state_reset=True)
    return Reply(202)


def _force_delete(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    servers.remove_server(call, tx, row)
    return Reply(202)


def _add_group(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    return _set_group(call, tx, row, Body("addSecurityGroup", body), adds=True)


def _remove_group(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    return _set_group(call, tx, row, Body("removeSecurityGroup", body), adds=False)


def _set_group(call: Call, tx: Tx, row: ServerRow, body: Body, *, adds: bool) -> Reply:
    """Add a group to each of the server's ports, or take it from them."""
    name = body.only((), ("name",)).text("name", least=1) or ""
    try:
        group = interfaces.groups_for(tx, call.caller, row.project_id, [name])[0]
    except BadRequest as error:
        raise NotFound(error.message, type=error.type) from None
    touched = False
    for nic in lifecycle.nics(row):
        port = query.row_by_id(tx, ports, nic.port_id)
        if port is None or port["device_id"] != row.id:
            continue
        have = list(port["security_groups"] or ())
        if adds == (group in have) or (adds and not (port["port_security_enabled"] and port["fixed_ips"])):
            touched = touched or (adds and group in have)
            continue
        touched = True
        groups = [*have, group] if adds else [item for item in have if item != group]
        network_ports.update_port(tx, call.settings, call.caller, port, {"security_groups": groups})
    if not touched:
        if adds:
            raise BadRequest(
                f"Security group {name} cannot be added to instance {row.id}: it has no port with an address.",
                type="SecurityGroupCannotBeApplied",
            )
        raise NotFound(f"Security group {name} not associated with the instance {row.id}", type="SecurityGroupNotFound")
    tx.changed("server", row.id)
    return Reply(202)


def _ask(call: Call, tx: Tx, row: ServerRow, action: str, **values: Any) -> Reply:
    """Write what should be; the host's report ends the action."""
    history.begin(tx, call.caller, call.request_id, row.id, action, row.host)
    lifecycle.set_server(tx, row.id, state_reset=False, **values)
    return Reply(202)


ACTIONS: Final[Mapping[str, Action]] = {
    "os-stop": _stop,
    "os-start": _start,
    "reboot": _reboot,
    "pause": _pause,
    "unpause": _unpause,
    "suspend": _suspend,
    "resume": _resume,
    "lock": _lock,
    "unlock": _unlock,
    "rebuild": _rebuild,
    "os-resetState": _reset_state,
    "forceDelete": _force_delete,
    "addSecurityGroup": _add_group,
    "removeSecurityGroup": _remove_group,
}
_RULES: Final = {
    "os-stop": "servers:stop",
    "os-start": "servers:start",
    "reboot": "servers:reboot",
    "pause": "os-pause-server:pause",
    "unpause": "os-pause-server:unpause",
    "suspend": "os-suspend-server:suspend",
    "resume": "os-suspend-server:resume",
    "lock": "os-lock-server:lock",
    "unlock": "os-lock-server:unlock",
    "rebuild": "servers:rebuild",
    "os-resetState": "os-admin-actions:reset_state",
    "forceDelete": "servers:delete",
    "addSecurityGroup": "os-security-groups:add",
    "removeSecurityGroup": "os-security-groups:remove",
}
NOT_BUILT: Final[Mapping[str, tuple[str, str]]] = {
    "createImage": ("Making an image of a server", ""),
    "createBackup": ("A backup of a server", ""),
    "resize": ("Resizing", "Make a new server of the other flavor."),
    "confirmResize": ("Resizing", ""),
    "revertResize": ("Resizing", ""),
    "migrate": ("Migration", ""),
    "os-migrateLive": ("Live migration", ""),
    "evacuate": ("Evacuation", ""),
    "rescue": ("Rescue mode", ""),
    "unrescue": ("Rescue mode", ""),
    "shelve": ("Shelving", ""),
    "shelveOffload": ("Shelving", ""),
    "unshelve": ("Shelving", ""),
    "restore": ("Restoring a deleted server", ""),
    "changePassword": ("Setting a password from outside", "Use a key pair."),
    "trigger_crash_dump": ("A crash dump", ""),
    "os-getVNCConsole": ("A VNC console", "Use the console log, or ssh through a floating IP."),
    "os-getSPICEConsole": ("A SPICE console", "Use the console log, or ssh through a floating IP."),
    "os-getSerialConsole": ("A serial console", "Use the console log, or ssh through a floating IP."),
    "os-getRDPConsole": ("An RDP console", ""),
    "addFloatingIp": ("Associating a floating IP here", "Use PUT /v2.0/floatingips/{id} of the network service."),
    "removeFloatingIp": ("Dissociating a floating IP here", "Use PUT /v2.0/floatingips/{id} of the network service."),
    "addFixedIp": ("Adding an address here", "Use PUT /v2.0/ports/{id} of the network service."),
    "removeFixedIp": ("Removing an address here", "Use PUT /v2.0/ports/{id} of the network service."),
}
"""Actions of Nova that this cloud refuses by name: what it is, and what to do instead."""
