"""Servers: made and removed.

Create is one transaction: image, flavor, key, networks and quota are checked, a host is chosen, ports are made
and bound there, and the row says what should be. The host hears of it after the commit. What nobody could have
asked differently is no refusal but a server in ERROR that says why: no host has room, no mechanism can bind.

Source: nova/compute/api.py.
"""

from __future__ import annotations

import re
import secrets
import string
import unicodedata
import uuid
from collections.abc import Mapping as Pairs
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from sqlalchemy import func, insert, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid
from deuteron.model.compute import File, Flavor, Nic
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.scalars import CLOUD
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    boots,
    claims,
    drives,
    flavors,
    groups,
    history,
    images,
    interfaces,
    keypairs,
    lifecycle,
    live_moves,
    loads,
    mappings,
    placement,
    quotas,
)
from deuteron.rules.compute.boots import Survey
from deuteron.rules.compute.faults import no_server
from deuteron.rules.compute.images import Bootable
from deuteron.rules.compute.interfaces import MayChoose, Request, Socket, Unbound, Unpromised, Wanted
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.mappings import Mapping
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.hosts import registry
from deuteron.rules.network import promises
from deuteron.store import query
from deuteron.store.compute_tables import deleted_servers, servers
from deuteron.store.database import Tx

MAX_PORTS_AT_ONCE: Final = 48
"""Ports of all servers of one request: all are made in one turn of the writer."""


@dataclass(frozen=True)
class Where:
    """Where new servers are asked to be."""

    zone: str | None = None
    """A zone that is there: its name, or "" where a host was named without one."""
    host: str | None = None
    """The host named beside the zone, which placement may find missing."""
    named_hosts: tuple[str, ...] = ()
    """Hosts that have to be there, of which the last one counts."""
    group: Any = None
    """The server group that a hint names."""
    same_host: tuple[str, ...] | None = None
    different_host: tuple[str, ...] | None = None
    """Servers that hints name."""
    hints: Pairs[str, list[str]] = field(default_factory=dict)
    """All hints as they are shown: each a list."""


@dataclass(frozen=True)
class NewServers:
    """What one request asks for: servers that differ in nothing but their number."""

    name: str
    flavor: str
    image: Any
    networks: Request
    key_name: str | None = None
    metadata: Pairs[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    """Security groups by name or id; none is the project's default."""
    where: Where = Where()
    least: int = 1
    most: int = 1
    description: str | None = None
    hostname: str | None = None
    user_data: str | None = None
    tags: tuple[str, ...] = ()
    access_ipv4: str = ""
    access_ipv6: str = ""
    disk_config: str = "MANUAL"
    config_drive: bool = False
    password: str = ""
    files: tuple[File, ...] = ()
    devices: tuple[Mapping, ...] = ()
    """What its disks are made of, as far as the request says."""
    devices_are_legacy: bool = False
    may_ask: bool = True
    """Whether its ports may ask their host for promises: since microversion 2.72."""
    may_share: bool = True
    """Whether it may have volumes that other servers have, too: since microversion 2.60."""


@dataclass(frozen=True)
class Created:
    first_id: str
    reservation_id: str
    groups: tuple[str, ...]


def find(tx: Tx, server_id: str) -> ServerRow:
    """The server, whoever may see it. Raises: NotFound."""
    row = tx.first(select(servers).where(servers.c["id"] == server_id))
    if row is None:
        raise no_server(server_id)
    return row


def find_gone(tx: Tx, server_id: str) -> ServerRow | None:
    """What is kept of a server that is gone."""
    return tx.first(select(deleted_servers).where(deleted_servers.c["id"] == server_id))


def create(
    tx: Tx, settings: Settings, caller: Caller, request_id: str, new: NewServers, may_choose: MayChoose
) -> Created:
    """New servers of the caller's project; some of them may be in ERROR. Raises: BadRequest, Forbidden, Conflict."""
    project_id = caller.project_id or CLOUD
    flavor = _flavor(tx, caller, new.flavor)
    image, found = _disks(tx, settings, caller, new, flavor)
    key = _key(tx, caller, new.key_name)
    quotas.check_metadata(tx, project_id, caller.user_id, new.metadata)
    wanted = interfaces.resolve(tx, caller, new.networks)
    asked = interfaces.requests(tx, wanted)
    if asked and not new.may_ask:
        raise BadRequest(
            "Creating servers with ports having resource requests, like a port with a QoS minimum bandwidth policy, is "
            "not supported until microversion 2.72.",
            type="CreateWithPortResourceRequestOldVersion",
        )
    group_ids = interfaces.groups_for(tx, project_id, new.groups) if new.groups else None
    wish = _wish(tx, settings, caller, new.where)
    wish = replace(wish, beside=found.hosts, image=image.inherited.properties)
    many = _count(tx, caller, new, flavor, wanted, wish, found)
    drives.check_files(tx, project_id, caller.user_id, new.files)
    reservation_id = "r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    common: dict[str, Any] = {
        "project_id": project_id,
        "user_id": caller.user_id,
        "description": new.description,
        "availability_zone": new.where.zone or None,
        "flavor": msgspec.to_builtins(flavor),
        "key_name": None if key is None else key.name,
        "key_data": None if key is None else key.public_key,
        "key_type": None if key is None else key.type,
        "user_data": new.user_data,
        "metadata": dict(new.metadata),
        "tags": list(new.tags),
        "security_groups": list(new.groups) or ["default"],
        "access_ipv4": new.access_ipv4,
        "access_ipv6": new.access_ipv6,
        "disk_config": new.disk_config,
        "reservation_id": reservation_id,
        "group_id": wish.group_id,
        "scheduler_hints": dict(new.where.hints),
        **image.columns(),
        **drives.columns(new.config_drive, image.demands_config_drive, new.files, new.password),
    }
    taken = loads.loads(tx, wish.group_id)
    hosts = placement.candidates(tx, settings)
    wish = replace(wish, lacks=promises.lacks(tx, hosts, asked))
    made: list[str] = []
    for index in range(many):
        server_id = str(uuid.uuid4())
        made.append(server_id)
        shown = new.name if new.most == 1 else f"{new.name}-{index + 1}"
        chosen = placement.choose(hosts, taken, flavor, placement.with_groups(tx, flavor, wish))
        host = None if isinstance(chosen, NoHost) else chosen
        hostname = new.hostname if new.hostname and new.most == 1 else hostname_of(shown, server_id)
        own = {"id": server_id, "name": shown, "launch_index": index, "hostname": hostname}
        _insert(tx, {**common, **own}, host)
        history.begin(tx, caller, request_id, server_id, "create", host)
        if isinstance(chosen, NoHost):
            lifecycle.set_server(tx, server_id, injected=None)  # no host will ever make its drive of it
            lifecycle.fail(tx, server_id, chosen.message, "; ".join(chosen.reasons))
            boots.give(tx, settings, caller, request_id, server_id, found, None)
        else:
            taken.setdefault(registry.host_id(chosen), loads.Load()).add(flavor, wish.group_id)
            if wish.policy == "affinity":
                wish = replace(wish, host=chosen)  # the others of the request belong beside it
            socket = Socket(server_id, project_id, chosen, hostname, group_ids)
            why = boots.give(tx, settings, caller, request_id, server_id, found, chosen)
            if why is not None:
                lifecycle.leave_host(tx, server_id)
                lifecycle.fail(tx, server_id, why)
                continue
            _plug_all(tx, settings, caller, socket, wanted, may_choose)
            if found.mappings and any(each.source != "volume" for each in found.mappings):
                boots.say_that_it_waits(tx, server_id)
    return Created(made[0], reservation_id, tuple(common["security_groups"]))


def remove(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Take the server from its host; where no host is there or awaited, it is gone at once.

    A host that is away for long removes the instance when it comes back: it is not in the intent any more.
    """
    row = live_moves.call_off(tx, settings, row, "it is deleted", "cancelled")
    history.begin(tx, caller, request_id, row.id, "delete", row.host)
    if row.host is None or not registry.is_awaited(tx, row.host):
        lifecycle.finish_delete(tx, settings, row)
    else:
        lifecycle.set_server(tx, row.id, task_state="deleting")


def make_password(length: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def hostname_of(name: str, server_id: str) -> str:
    """A host name from a server's name. Source: nova/utils.py sanitize_hostname (RFC 1123)."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[ _.]", "-", text)
    text = re.sub(r"[^\w-]+", "", text, flags=re.ASCII).lower().strip("-")[:63].rstrip("-")
    return text or f"server-{server_id}"


def _disks(tx: Tx, settings: Settings, caller: Caller, new: NewServers, flavor: Flavor) -> tuple[Bootable, Survey]:
    """What the servers boot, and their volumes. Raises: BadRequest, Forbidden."""
    seen = images.find(tx, caller, new.image) if isinstance(new.image, str) and is_uuid(new.image) else None
    of_image = () if seen is None else mappings.of_image(seen["properties"] or {})
    if not new.devices and not of_image:
        return images.bootable(tx, caller, new.image, flavor), Survey()
    named = new.image or None
    if named is not None and (seen is None or seen["status"] != "active"):
        images.bootable(tx, caller, named, flavor)  # which says why not
    legacy = new.devices_are_legacy
    merged = mappings.merged(named, of_image, new.devices, flavor, is_legacy=legacy, count=new.most)
    found = boots.survey(tx, settings, caller, merged, flavor, image=seen, may_share=new.may_share)
    if found.root is not None:
        return replace(found.root, image_id=named), found
    root = next(each for each in merged if each.is_root)
    if root.source != "image" or root.id != named:
        raise mappings.malformed(f"the root disk is made of the image that imageRef names, and not of {root.id}")
    return images.bootable(tx, caller, new.image, flavor), found


def _count(
    tx: Tx, caller: Caller, new: NewServers, flavor: Flavor, wanted: Sequence[Wanted], wish: Wish, found: Survey
) -> int:
    """How many servers are made of those asked for. Raises: BadRequest, Forbidden."""
    if new.most > 1 and any(want.port_id or want.fixed_ip for want in wanted):
        raise BadRequest(
            "Unable to launch multiple instances with a single configured port ID or fixed IP. "
            "Launch your instances one by one with different ports.",
            type="MultiplePortsNotApplicable",
        )
    project_id = caller.project_id or CLOUD
    many = quotas.check_servers(tx, project_id, caller.user_id, flavor, new.least, new.most)
    if wish.group_id is not None:
        quotas.check_group(tx, project_id, caller.user_id, wish.group_id, many)
    if many * len(wanted) > MAX_PORTS_AT_ONCE:
        raise BadRequest(
            f"{many} servers on {len(wanted)} networks need {many * len(wanted)} ports, at most {MAX_PORTS_AT_ONCE} "
            "are made in one request",
            type="HTTPBadRequest",
        )
    if many * len(found.mappings) > boots.MAX_AT_ONCE:
        raise BadRequest(
            f"{many} servers with {len(found.mappings)} volumes need {many * len(found.mappings)} volumes, at most "
            f"{boots.MAX_AT_ONCE} are made in one request",
            type="HTTPBadRequest",
        )
    return many


def _plug_all(
    tx: Tx, settings: Settings, caller: Caller, socket: Socket, wanted: Sequence[Wanted], may_choose: MayChoose
) -> None:
    """Make and bind the server's ports; what cannot be bound leaves no port behind and a server in ERROR."""
    server_id = socket.server_id
    made: list[Nic] = []
    try:
        for want in wanted:
            made.append(interfaces.plug(tx, settings, caller, socket, want, may_choose))
    except (Unbound, Unpromised) as error:
        why = str(error)
        if isinstance(error, Unbound):
            made.append(Nic(error.port_id, owned=all(want.port_id != error.port_id for want in wanted)))
        else:
            why = f"Build of instance {server_id} aborted: {error}"
        for nic in made:
            lifecycle.release_port(tx, settings, server_id, nic)
        lifecycle.leave_host(tx, server_id)
        lifecycle.fail(tx, server_id, why, why)
        return
    lifecycle.set_server(tx, server_id, nics=msgspec.to_builtins(made), task_state="spawning")


def _insert(tx: Tx, values: dict[str, Any], host: str | None) -> None:
    row = {
        "number": (tx.scalar(select(func.max(servers.c["number"]))) or 0) + 1,
        "created": history.stamp(tx.now),
        "updated": history.stamp(tx.now),
        "launched_at": None,
        "vm_state": "building",
        "task_state": "scheduling",
        "power_state": 0,
        "power": "running",
        "reboot_generation": 0,
        "reboot_kind": "HARD",
        "build_generation": 0,
        "shape_generation": 0,
        "host": host,
        "nics": [],
        "locked": False,
        "locked_by": None,
        "locked_reason": None,
        "fault": None,
        "progress": 0,
        "state_reset": False,
        **values,
    }
    tx.execute(insert(servers), row)
    loads.count_in_project(tx, row["project_id"], row["flavor"], 1)
    if host is not None:
        claims.begin(tx, row)
    tx.changed("server", row["id"])


def _flavor(tx: Tx, caller: Caller, flavor_id: str) -> Flavor:
    try:
        return flavors.embedded(flavors.find(tx, caller, flavor_id))
    except NotFound as error:
        raise BadRequest(error.message, type=error.type) from None


def _key(tx: Tx, caller: Caller, name: str | None) -> ServerRow | None:
    if name is None:
        return None
    try:
        return keypairs.find(tx, caller.user_id, name)
    except NotFound:
        raise BadRequest("Invalid key_name provided.", type="KeypairNotFound") from None


def _wish(tx: Tx, settings: Settings, caller: Caller, where: Where) -> Wish:
    """What the placement has to respect. Raises: BadRequest."""
    host = where.host
    in_zone = placement.zoned(tx, settings, Wish(), where.zone)
    for named in where.named_hosts:
        if registry.find(tx, settings, named) is None:
            raise BadRequest(f"Compute host {named} could not be found.", type="ComputeHostNotFound")
        host = named
    wish = replace(in_zone, host=host, only=_hosts_of(tx, caller, where.same_host))
    wish = replace(wish, not_on=_hosts_of(tx, caller, where.different_host) or frozenset())
    if where.group is None:
        return wish
    try:
        group = groups.find(tx, caller, where.group if isinstance(where.group, str) else "")
    except NotFound:
        message = f"Instance group {where.group} could not be found."
        raise BadRequest(message, type="InstanceGroupNotFound") from None
    if group.policy == "affinity" and host is None:
        host = groups.host_of(tx, group.id)
    most = int((group.rules or {}).get("max_server_per_host", 1))
    return replace(wish, host=host, group_id=group.id, policy=group.policy, most_per_host=most)


def _hosts_of(tx: Tx, caller: Caller, named: tuple[str, ...] | None) -> frozenset[str] | None:
    """Where the project's servers are that a hint names; None without the hint."""
    if named is None:
        return None
    found = select(servers.c["host"]).where(
        query.any_of(servers.c["id"], named),
        servers.c["project_id"] == caller.project_id,
        servers.c["host"].is_not(None),
    )
    return frozenset(tx.scalars(found))
