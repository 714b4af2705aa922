"""What people do to a server: each checks the state in Nova's words and writes what should be; the host does the rest.

Source: nova/compute/api.py (`check_instance_state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid
from deuteron.model.compute import File, Flavor
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.network import PORT
from deuteron.model.settings import Settings
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.compute import (
    block_devices,
    drives,
    history,
    images,
    interfaces,
    keypairs,
    lifecycle,
    live_moves,
    placement,
    quotas,
    root_reimages,
    servers,
)
from deuteron.rules.compute.images import Bootable
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network.kinds import find as find_network_row
from deuteron.store.database import Tx


@dataclass(frozen=True)
class Step:
    """An action that changes the power: the states in which it is allowed, and what it writes."""

    action: str
    vm_states: tuple[str, ...]
    task_state: str
    power: str


STEPS: Final[Mapping[str, Step]] = {
    "stop": Step("stop", ("active", "error"), "powering-off", "shutdown"),
    "start": Step("start", ("stopped",), "powering-on", "running"),
    "pause": Step("pause", ("active",), "pausing", "paused"),
    "unpause": Step("unpause", ("paused",), "unpausing", "running"),
    "suspend": Step("suspend", ("active",), "suspending", "suspended"),
    "resume": Step("resume", ("suspended",), "resuming", "running"),
}


@dataclass(frozen=True)
class Rebuild:
    """What a server is made anew of; `values` are columns that the request sets beside it."""

    image: Any
    password: str
    may_reimage: bool = False
    """Whether another image may be asked for where the root disk is a volume: since 2.93."""
    files: tuple[File, ...] = ()
    metadata: Mapping[str, str] | None = None
    has_key: bool = False
    """Whether the request names a key, or takes it away."""
    key_name: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def take(tx: Tx, caller: Caller, request_id: str, row: ServerRow, step: Step) -> None:
    """Raises: Conflict in a state in which the step cannot be taken."""
    require_unlocked(caller, row)
    require_state(row, step.action, step.vm_states)
    _ask(tx, caller, request_id, row, step.action, task_state=step.task_state, power=step.power)


def reboot(tx: Tx, caller: Caller, request_id: str, row: ServerRow, kind: Literal["SOFT", "HARD"]) -> None:
    """Raises: Conflict."""
    require_unlocked(caller, row)
    if kind == "SOFT":
        require_state(row, "reboot", ("active",))
    else:
        require_state(
            row,
            "reboot",
            ("active", "stopped", "paused", "suspended", "error"),
            (None, "rebooting", "rebooting_hard", "pausing", "powering-on", "powering-off"),
        )
    _ask(
        tx,
        caller,
        request_id,
        row,
        "reboot",
        task_state="rebooting" if kind == "SOFT" else "rebooting_hard",
        power="running",
        reboot_kind=kind,
        reboot_generation=row.reboot_generation + 1,
    )


def lock(tx: Tx, caller: Caller, request_id: str, row: ServerRow, reason: str | None) -> None:
    by = "owner" if row.project_id == caller.project_id and not caller.is_admin else "admin"
    history.begin(tx, caller, request_id, row.id, "lock", row.host)
    lifecycle.set_server(tx, row.id, locked=True, locked_by=by, locked_reason=reason)


def unlock(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Whether the caller may undo an administrator's lock is for policy to say."""
    history.begin(tx, caller, request_id, row.id, "unlock", row.host)
    lifecycle.set_server(tx, row.id, locked=False, locked_by=None, locked_reason=None)


def rebuild(tx: Tx, caller: Caller, request_id: str, row: ServerRow, wanted: Rebuild) -> ServerRow:
    """The server with what it is to be made of. Raises: Conflict, BadRequest, Forbidden, NotFound for a key."""
    require_unlocked(caller, row)
    require_state(row, "rebuild", ("active", "stopped", "error"))
    root, flavor = block_devices.root_of(tx, row.id), msgspec.convert(row.flavor, Flavor)
    if root is None:
        image: Bootable | None = images.bootable(tx, caller, wanted.image, flavor)
        refused = _refused(tx, caller, row, wanted)
    else:
        refused = _refused(tx, caller, row, wanted) if wanted.may_reimage else None
        image = None if refused else _of_root(tx, caller, request_id, row, root, wanted)
    if refused is not None or image is None:
        # As in Nova nobody waits for the answer: the server stays what it is, and the action says why.
        history.begin(tx, caller, request_id, row.id, "rebuild", row.host)
        history.finish(tx, row.id, refused)
        return row
    drives.check_files(tx, row.project_id, caller.user_id, wanted.files)
    values: dict[str, Any] = {
        **image.columns(),
        **drives.columns(bool(row.config_drive), image.demands_config_drive, wanted.files, wanted.password),
        **wanted.values,
        "build_generation": row.build_generation + 1,
    }
    if wanted.metadata is not None:
        quotas.check_metadata(tx, row.project_id, caller.user_id, wanted.metadata)
        values["metadata"] = dict(wanted.metadata)
    if wanted.has_key:
        values |= {"key_name": wanted.key_name, "key_data": None, "key_type": None}
        if wanted.key_name is not None:
            # As in Nova, a key of who asks: servers are a project's, keys a user's.
            key = keypairs.find(tx, caller.user_id, wanted.key_name)
            values |= {"key_data": key.public_key, "key_type": key.type}
    # A server that failed before it ran is to run afterwards; a stopped one stays stopped.
    power = {} if row.vm_state != "error" else {"power": "running"}
    _ask(tx, caller, request_id, row, "rebuild", task_state="rebuilding", fault=None, **power, **values)
    return servers.find(tx, row.id)


def _refused(tx: Tx, caller: Caller, row: ServerRow, wanted: Rebuild) -> str | None:
    """Why the server's host cannot run it with the image that it is to be rebuilt with."""
    is_named = isinstance(wanted.image, str) and is_uuid(wanted.image)
    seen = images.find(tx, caller, wanted.image) if is_named else None
    refused = None if seen is None else placement.refusal(tx, row, seen["properties"] or {})
    return None if refused is None else refused.message


def _of_root(tx: Tx, caller: Caller, request_id: str, row: ServerRow, root: VolumeRow, wanted: Rebuild) -> Bootable:
    """What a server boots whose root volume stays as it is, or is made of another image. Raises: BadRequest."""
    described, flavor = root["image_metadata"], msgspec.convert(row.flavor, Flavor)
    if wanted.image == described.get("image_id"):
        made = images.of_volume(tx, caller, described, flavor, root["size"])
    elif wanted.may_reimage:
        made = root_reimages.begin(tx, caller, request_id, root, flavor, wanted.image)
    else:
        raise BadRequest("Unable to rebuild with a different image for a volume-backed server.", type="HTTPBadRequest")
    return replace(made, image_id=row.image_id)


def reset_state(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, state: str) -> None:
    """Say that the server is `active` or in `error`, whatever its host says; it does not go on to another host."""
    row = live_moves.call_off(tx, settings, row, "its state was reset")
    history.begin(tx, caller, request_id, row.id, "reset_state", row.host)
    history.finish(tx, row.id)
    # As in Nova a deletion under way is undone in name only: the host goes on with it, and its report ends it.
    task = row.task_state if row.task_state == "deleting" else None
    lifecycle.set_server(tx, row.id, vm_state=state, task_state=task, state_reset=True)


def set_group(tx: Tx, settings: Settings, caller: Caller, row: ServerRow, name: str, *, adds: bool) -> None:
    """Add a security group to each of the server's ports, or take it from them. Raises: NotFound, BadRequest."""
    try:
        group = interfaces.groups_for(tx, row.project_id, [name])[0]
    except BadRequest as error:
        raise NotFound(error.message, type=error.type) from None
    touched = False
    for nic in lifecycle.nics(row):
        port = find_network_row(tx, PORT, nic.port_id)
        if port is None or port["device_id"] != row.id:
            continue
        have = list(port["security_groups"] or ())
        if adds == (group in have) or (adds and not (port["port_security_enabled"] and port["fixed_ips"])):
            touched = touched or (adds and group in have)
            continue
        touched = True
        groups = [*have, group] if adds else [item for item in have if item != group]
        network_ports.update_port(tx, settings, caller, port, {"security_groups": groups})
    if not touched:
        if adds:
            raise BadRequest(
                f"Security group {name} cannot be added to instance {row.id}: it has no port with an address.",
                type="SecurityGroupCannotBeApplied",
            )
        raise NotFound(f"Security group {name} not associated with the instance {row.id}", type="SecurityGroupNotFound")
    tx.changed("server", row.id)


def _ask(tx: Tx, caller: Caller, request_id: str, row: ServerRow, action: str, **values: Any) -> None:
    """Write what should be; the host's report ends the action."""
    history.begin(tx, caller, request_id, row.id, action, row.host)
    lifecycle.set_server(tx, row.id, state_reset=False, **values)
