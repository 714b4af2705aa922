"""POST /servers/{id}/action: what people ask of a server.

Each action is one function `(call, tx, row, body) -> Reply`: it reads its argument and calls the rule. The console's
text is asked of the host while the client waits, so the whole path is asynchronous and each action runs in a write
transaction of its own.

Source: nova/api/openstack/compute/servers.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, consoles, drives, fixed_ips, floating_ips, guests, shapes, views
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.servers import MAX_USER_DATA, flavor_reference, hostname
from deuteron.model.errors import BadRequest, Conflict, NotFound, Unavailable
from deuteron.rules.compute import actions, block_devices, evacuations, images, live_moves, servers, shelves, snapshots
from deuteron.rules.compute import shapes as server_shapes
from deuteron.rules.compute.actions import STEPS, Rebuild, Step
from deuteron.rules.compute.faults import invalid, wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.live_moves import Asked
from deuteron.rules.compute.moving_volumes import NotBound
from deuteron.rules.compute.states import require_unlocked
from deuteron.store.database import Tx

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
    if name in guests.ACTIONS:
        return await guests.ACTIONS[name](call, argument)
    if name in consoles.OLD_ACTIONS:
        return await consoles.act(call, name, argument)
    action = ACTIONS.get(name)
    if action is None:
        raise BadRequest(f"There is no such action: {name}", type="NoSuchActionError")

    def run(tx: Tx) -> Reply:
        return action(call, tx, access.server_for(call, tx, _RULES[name]), argument)

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


def _step(step: Step) -> Action:
    def take(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
        actions.take(tx, call.caller, call.request_id, row, step)
        return Reply(202)

    return take


def _reboot(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    kind = Body("reboot", body).only((), ("type",)).raw["type"]
    kind = kind.upper() if isinstance(kind, str) else kind
    if kind not in ("SOFT", "HARD"):
        raise invalid("type", kind, f"'{kind}' is not one of ['HARD', 'Hard', 'hard', 'SOFT', 'Soft', 'soft']")
    actions.reboot(tx, call.caller, call.request_id, row, "SOFT" if kind == "SOFT" else "HARD")
    return Reply(202)


def _lock(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    reason = None
    if call.version >= 73 and body is not None:
        reason = Body("lock", body).only(("locked_reason",)).text("locked_reason", least=1)
    actions.lock(tx, call.caller, call.request_id, row, reason)
    return Reply(202)


def _unlock(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    if row.locked and row.locked_by == "admin":
        access.require(call, "os-lock-server:unlock:unlock_override", project_id=row.project_id)
    actions.unlock(tx, call.caller, call.request_id, row)
    return Reply(202)


def _rebuild(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = _read_rebuild(call, Body("rebuild", body))
    fresh = actions.rebuild(tx, call.caller, call.request_id, row, wanted)
    short = views.after_change(call, tx, fresh)
    short.pop("OS-EXT-SRV-ATTR:user_data", None)
    if call.version >= 54:
        short["key_name"] = fresh.key_name
    if call.version >= 57:
        short["user_data"] = fresh.user_data
    short["adminPass"] = wanted.password
    return Reply(202, {"server": short}, {"location": f"{call.base_url}/compute/v2.1/servers/{row.id}"})


def _read_rebuild(call: Call, wanted: Body) -> Rebuild:
    """What the body asks for. Raises: BadRequest."""
    if wanted.raw.get("trusted_image_certificates"):
        raise BadRequest("Certified images are not available in this cloud.", type="HTTPBadRequest")
    if "preserve_ephemeral" in wanted and wanted.boolean("preserve_ephemeral"):
        raise BadRequest(
            "Keeping the ephemeral disk over a rebuild is not available in this cloud.", type="HTTPBadRequest"
        )
    values: dict[str, Any] = {}
    if "name" in wanted:
        values["name"] = wanted.name()
    if "description" in wanted:
        values["description"] = wanted.text("description")
    if "accessIPv4" in wanted:
        values["access_ipv4"] = wanted.address("accessIPv4", 4)
    if "accessIPv6" in wanted:
        values["access_ipv6"] = wanted.address("accessIPv6", 6)
    if "OS-DCF:diskConfig" in wanted:
        values["disk_config"] = wanted.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL")
    if "user_data" in wanted:
        values["user_data"] = wanted.base64("user_data", MAX_USER_DATA)
    if "hostname" in wanted:
        values["hostname"] = hostname(call, wanted)
    return Rebuild(
        image=wanted.raw["imageRef"],
        password=wanted.text("adminPass") or servers.make_password(),
        may_reimage=call.version >= 93,
        files=drives.files_of(call, wanted),
        metadata=wanted.metadata() if "metadata" in wanted else None,
        has_key="key_name" in wanted,
        key_name=wanted.text("key_name", least=1),
        values=values,
    )


def _reset_state(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    state = Body("os-resetState", body).only((), ("state",)).choice("state", ("active", "error"), "error")
    actions.reset_state(tx, call.settings, call.caller, call.request_id, row, state)
    return Reply(202)


def _inject_network_info(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    """Nova asks Network anew which interfaces the server has. Nothing of them is kept here that could be behind, so
    that it is as is asked for already; inside of a guest it changes nothing with Nova's libvirt either."""
    require_unlocked(call.caller, row)
    return Reply(202)


def _force_delete(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    servers.remove(tx, call.settings, call.caller, call.request_id, row)
    return Reply(202)


def _restore(call: Call, tx: Tx, row: ServerRow, body: Any) -> NoReturn:
    """No deletion is deferred here, which is Nova's default (`reclaim_instance_interval` 0): there is none to undo."""
    raise wrong_state("restore", row.id, "vm_state", row.vm_state)


def _add_group(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    return _set_group(call, tx, row, Body("addSecurityGroup", body), adds=True)


def _remove_group(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    return _set_group(call, tx, row, Body("removeSecurityGroup", body), adds=False)


def _set_group(call: Call, tx: Tx, row: ServerRow, body: Body, *, adds: bool) -> Reply:
    name = body.only((), ("name",)).text("name", least=1) or ""
    actions.set_group(tx, call.settings, call.caller, row, name, adds=adds)
    return Reply(202)


def _create_image(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("createImage", body)
    name, metadata = wanted.name(), _image_metadata(call, tx, wanted)
    if block_devices.root_of(tx, row.id) is not None:
        access.require(call, "servers:create_image:allow_volume_backed", project_id=row.project_id)
    image_id = snapshots.create_image(tx, call.settings, call.caller, call.request_id, row, name, metadata)
    return _image_reply(call, image_id, f"{call.base_url}/image/images/{image_id}")


def _create_backup(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    require_unlocked(call.caller, row)
    wanted = Body("createBackup", body)
    name, metadata = wanted.name(), _image_metadata(call, tx, wanted)
    kind, rotation = wanted.text("backup_type") or "", wanted.integer("rotation", least=0)
    asked = (tx, call.settings, call.caller, call.request_id)
    image_id = snapshots.create_backup(*asked, row, name, metadata, kind, rotation)
    return _image_reply(call, image_id, f"{call.base_url}/compute/v2.1/images/{image_id}" if rotation else None)


def _rescue(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("rescue", {} if body is None else body)
    password = wanted.text("adminPass") or servers.make_password()
    image_id = wanted.uuid("rescue_image_ref") if "rescue_image_ref" in wanted else None
    asked = (tx, call.caller, call.request_id, row, image_id, password)
    server_shapes.rescue(*asked, with_root_volume=call.version >= 87)
    return Reply(200, {"adminPass": password})


def _unrescue(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    server_shapes.unrescue(tx, call.caller, call.request_id, row)
    return Reply(202)


def _resize(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("resize", body)
    if "OS-DCF:diskConfig" in wanted:
        wanted.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL")
    flavor_id = flavor_reference(wanted.raw["flavorRef"])
    server_shapes.resize(tx, call.settings, call.caller, call.request_id, row, flavor_id)
    return Reply(202)


def _confirm_resize(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    server_shapes.confirm(tx, call.caller, call.request_id, row)
    return Reply(204)


def _revert_resize(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    try:
        server_shapes.revert(tx, call.settings, call.caller, call.request_id, row)
    except NotBound as error:
        raise Conflict(str(error), type="PortBindingFailed") from None
    return Reply(202)


def _migrate(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    host = None
    if call.version >= 56 and body is not None:
        host = Body("migrate", body).only(("host",)).text("host", least=1)
    if host is not None:
        access.require(call, "os-migrate-server:migrate:host", project_id=row.project_id)
    server_shapes.migrate(tx, call.settings, call.caller, call.request_id, row, host)
    return Reply(202)


def _migrate_live(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("os-migrateLive", body)
    host = None if wanted.raw["host"] is None else wanted.text("host", least=1)
    is_open = call.version >= 25 and wanted.raw["block_migration"] == "auto"
    copies_disks = is_open or wanted.boolean("block_migration")
    is_forced = wanted.boolean("force")
    if is_forced and host is None:
        raise BadRequest("Can't force to a non-provided destination", type="HTTPBadRequest")
    if host is not None:
        access.require(call, "os-migrate-server:migrate_live:host", project_id=row.project_id)
    over_commit = wanted.boolean("disk_over_commit")
    asked = Asked(host, copies_disks, is_open, is_forced, over_commit, is_late=call.version >= 34)
    live_moves.migrate(tx, call.settings, call.caller, call.request_id, row, asked)
    return Reply(202)


def _shelve(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    shelves.shelve(tx, call.settings, call.caller, call.request_id, row)
    return Reply(202)


def _shelve_offload(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    shelves.offload(call.caller, row)
    return Reply(202)


def _unshelve(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    host, zone = None, None
    if call.version >= 77 and body is not None:
        wanted = Body("unshelve", body)
        names = ("availability_zone", "host") if call.version >= 91 else ("availability_zone",)
        if not wanted.only(names, names[:1] if call.version < 91 else ()).raw:
            raise invalid("unshelve", {}, "{} does not have enough properties")
        if "availability_zone" in wanted:
            zone = {"availability_zone": wanted.text("availability_zone", least=1)}
        host = wanted.text("host", least=1)
        if row.vm_state != "shelved_offloaded":
            raise Conflict(
                f"Specifying an availability zone or a host when unshelving server {row.id} with status "
                f'"{row.vm_state.upper()}" is not supported. The server status must be SHELVED_OFFLOADED.',
                type="UnshelveInstanceInvalidState",
            )
        if host is not None:
            access.require(call, "os-shelve:unshelve_to_host", project_id=row.project_id)
    try:
        shelves.unshelve(tx, call.settings, call.caller, call.request_id, row, host, zone)
    except NotBound as error:
        raise Conflict(str(error), type="PortBindingFailed") from None
    return Reply(202)


def _evacuate(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    wanted = Body("evacuate", body)
    host = wanted.text("host", least=1)
    if wanted.boolean("onSharedStorage"):
        raise BadRequest("Disks are not on a storage that hosts share in this cloud.", type="HTTPBadRequest")
    if wanted.boolean("force"):
        raise BadRequest("Placing without asking whether there is room is not done here.", type="HTTPBadRequest")
    password = wanted.text("adminPass") or servers.make_password()
    asked = (tx, call.settings, call.caller, call.request_id)
    try:
        evacuations.evacuate(*asked, row, host, password, stays_off=call.version >= 95)
    except NotBound as error:
        raise Conflict(str(error), type="PortBindingFailed") from None
    return Reply(200, None if call.version >= 14 else {"adminPass": password})


def _image_metadata(call: Call, tx: Tx, wanted: Body) -> dict[str, str]:
    """Properties for an image of a server. Raises: BadRequest; Forbidden for more than the quota, until 2.38."""
    metadata = wanted.metadata()
    if call.version < 39:
        images.check_metadata(tx, call.caller, metadata)
    images.refuse_attributes(metadata)
    return metadata


def _image_reply(call: Call, image_id: str, location: str | None) -> Reply:
    if call.version >= 45:
        return Reply(202, {"image_id": image_id})
    return Reply(202, None, {} if location is None else {"location": location})


ACTIONS: Final[Mapping[str, Action]] = {
    "os-stop": _step(STEPS["stop"]),
    "os-start": _step(STEPS["start"]),
    "reboot": _reboot,
    "pause": _step(STEPS["pause"]),
    "unpause": _step(STEPS["unpause"]),
    "suspend": _step(STEPS["suspend"]),
    "resume": _step(STEPS["resume"]),
    "lock": _lock,
    "unlock": _unlock,
    "rebuild": _rebuild,
    "os-resetState": _reset_state,
    "injectNetworkInfo": _inject_network_info,
    "forceDelete": _force_delete,
    "restore": _restore,
    "addSecurityGroup": _add_group,
    "removeSecurityGroup": _remove_group,
    "addFixedIp": fixed_ips.add,
    "removeFixedIp": fixed_ips.take,
    "addFloatingIp": floating_ips.add,
    "removeFloatingIp": floating_ips.take,
    "createImage": _create_image,
    "createBackup": _create_backup,
    "rescue": _rescue,
    "unrescue": _unrescue,
    "resize": _resize,
    "confirmResize": _confirm_resize,
    "revertResize": _revert_resize,
    "migrate": _migrate,
    "os-migrateLive": _migrate_live,
    "evacuate": _evacuate,
    "shelve": _shelve,
    "shelveOffload": _shelve_offload,
    "unshelve": _unshelve,
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
    "injectNetworkInfo": "os-admin-actions:inject_network_info",
    "forceDelete": "servers:delete",
    "restore": "os-deferred-delete:restore",
    "addSecurityGroup": "os-security-groups:add",
    "removeSecurityGroup": "os-security-groups:remove",
    "addFixedIp": "os-multinic:add",
    "removeFixedIp": "os-multinic:remove",
    "addFloatingIp": "os-floating-ips:add",
    "removeFloatingIp": "os-floating-ips:remove",
    "createImage": "servers:create_image",
    "createBackup": "os-create-backup",
    "rescue": "os-rescue",
    "unrescue": "os-unrescue",
    "resize": "servers:resize",
    "confirmResize": "servers:confirm_resize",
    "revertResize": "servers:revert_resize",
    "migrate": "os-migrate-server:migrate",
    "os-migrateLive": "os-migrate-server:migrate_live",
    "evacuate": "os-evacuate",
    "shelve": "os-shelve:shelve",
    "shelveOffload": "os-shelve:shelve_offload",
    "unshelve": "os-shelve:unshelve",
}
