"""Servers as requests ask for them: create, show, change, delete.

Source: nova/api/openstack/compute/servers.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, bodies, devices, drives, interfaces, paging, shapes, views
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import lifecycle, placement, servers
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.servers import NewServers, Where
from deuteron.rules.compute.states import require_unlocked
from deuteron.store.database import Tx

MAX_USER_DATA: Final = 65535
MAX_AT_ONCE: Final = 100
MAX_GROUPS: Final = 100


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server", shapes.HINTS), shapes.CREATE, call.version)
    access.require(call, "servers:create")
    new = _read(call, body)
    made = servers.create(tx, call.settings, call.caller, call.request_id, new, interfaces.may_choose(call))
    if body.boolean("return_reservation_id"):
        return Reply(202, {"reservation_id": made.reservation_id})
    answer: dict[str, Any] = {
        "id": made.first_id,
        "links": paging.links(call, f"servers/{made.first_id}"),
        "OS-DCF:diskConfig": new.disk_config,
        "security_groups": [{"name": group} for group in made.groups],
        "adminPass": new.password,
    }
    return Reply(202, {"server": answer}, {"location": f"{call.base_url}/compute/v2.1/servers/{made.first_id}"})


def _read(call: Call, body: Body) -> NewServers:
    """What the body asks for. Raises: BadRequest, and Forbidden for a host that the caller may not name."""
    _refuse_not_built(body)
    name, flavor = body.name(), flavor_reference(body.raw["flavorRef"])
    named, is_legacy = devices.requested(call, body)
    if not body.raw.get("imageRef") and not named:
        raise BadRequest("Missing imageRef attribute", type="HTTPBadRequest")
    least, most = _counts(body)
    return NewServers(
        name=name,
        flavor=flavor,
        image=body.raw.get("imageRef"),
        networks=interfaces.requested(call, body),
        key_name=body.text("key_name", least=1),
        metadata=body.metadata(),
        groups=tuple(group.text("name") or "" for group in body.objects("security_groups", MAX_GROUPS)),
        where=_where(call, body),
        least=least,
        most=most,
        description=body.text("description") if call.version >= 19 else None,
        hostname=hostname(call, body),
        user_data=body.base64("user_data", MAX_USER_DATA),
        tags=tuple(_tags(body)),
        access_ipv4=body.address("accessIPv4", 4),
        access_ipv6=body.address("accessIPv6", 6),
        disk_config=body.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL"),
        config_drive=body.boolean("config_drive"),
        password=body.text("adminPass") or servers.make_password(),
        files=drives.files_of(call, body),
        devices=named,
        devices_are_legacy=is_legacy,
        may_ask=call.version >= 72,
        may_share=call.version >= 60,
    )


def show(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:show")
    return Reply(200, {"server": views.details(call, tx, [row], single=True)[0]})


def update(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server"), shapes.UPDATE, call.version)
    row = access.server_for(call, tx, "servers:update")
    values: dict[str, Any] = {}
    if "name" in body:
        values["name"] = body.name()
    if "description" in body:
        values["description"] = body.text("description")
    if "accessIPv4" in body:
        values["access_ipv4"] = body.address("accessIPv4", 4)
    if "accessIPv6" in body:
        values["access_ipv6"] = body.address("accessIPv6", 6)
    if "OS-DCF:diskConfig" in body:
        values["disk_config"] = body.choice("OS-DCF:diskConfig", ("AUTO", "MANUAL"), "MANUAL")
    if "hostname" in body:
        values["hostname"] = hostname(call, body)
    if "pinned_availability_zone" in body:
        zone = body.text("pinned_availability_zone", least=1)
        values["availability_zone"] = placement.pinned(tx, row, zone)
    lifecycle.set_server(tx, row.id, **values)
    fresh = access.server_for(call, tx, "servers:update")
    return Reply(200, {"server": views.after_change(call, tx, fresh)})


def remove(call: Call, tx: Tx) -> Reply:
    row = access.server_for(call, tx, "servers:delete")
    require_unlocked(call.caller, row)
    servers.remove(tx, call.settings, call.caller, call.request_id, row)
    return Reply(204)


def _refuse_not_built(body: Body) -> None:
    """Refuse what this cloud cannot do, by name, rather than ignore it."""
    if body.raw.get("trusted_image_certificates"):
        raise BadRequest("Certified images are not available in this cloud.", type="HTTPBadRequest")


def flavor_reference(reference: Any) -> str:
    """The id of the flavor that a body names. Raises: BadRequest."""
    if not isinstance(reference, str | int) or isinstance(reference, bool) or reference == "":
        raise invalid("flavorRef", reference, f"{quoted(reference)} is not of type 'string'")
    # Older clients give the whole address of the flavor.
    return str(reference).rsplit("/", 1)[-1]


def _tags(body: Body) -> list[str]:
    raw = body.raw.get("tags", [])
    if not isinstance(raw, list) or len(raw) > 50:
        raise invalid("tags", raw, "at most 50 tags are expected, in a list")
    return list(dict.fromkeys(bodies.tag(item) for item in raw))


def _counts(body: Body) -> tuple[int, int]:
    least = body.integer("min_count", least=1, default=1)
    most = body.integer("max_count", least=1, default=least)
    if least > most:
        raise BadRequest("min_count must be <= max_count", type="HTTPBadRequest")
    if most > MAX_AT_ONCE:
        raise invalid("max_count", most, f"{most} is greater than the maximum of {MAX_AT_ONCE}")
    return least, most


def _where(call: Call, body: Body) -> Where:
    """Where the body asks for servers. Raises: BadRequest, Forbidden."""
    zone, host = body.text("availability_zone", least=1), None
    if zone is not None:
        zone, _, rest = zone.partition(":")
        host = rest.partition(":")[0] or None
    named = [found for field in ("host", "hypervisor_hostname") if (found := body.text(field, least=1)) is not None]
    if host is not None or named:
        access.require(call, "servers:create:forced_host")
    hints = _hints(call)
    return Where(
        zone,
        host,
        tuple(named),
        group=hints.get("group"),
        same_host=_hinted(hints, "same_host"),
        different_host=_hinted(hints, "different_host"),
        hints={name: value if isinstance(value, list) else [value] for name, value in hints.items()},
    )


def _hints(call: Call) -> dict[str, Any]:
    """Raises: BadRequest for a hint that no placement looks at; Nova takes those and does nothing."""
    whole = call.json()
    for name in shapes.HINTS:
        if name in whole:
            return Body(name, whole[name]).only(_HINTS).raw
    return {}


_HINTS: Final = ("group", "same_host", "different_host")
_MOST_HINTED: Final = 100


def _hinted(hints: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """The servers that a hint names; None without the hint. Raises: BadRequest."""
    if name not in hints:
        return None
    given = [hints[name]] if isinstance(hints[name], str) else hints[name]
    if not isinstance(given, list) or not 0 < len(given) <= _MOST_HINTED or not all(map(_is_id, given)):
        raise invalid(name, quoted(hints[name]), f"an id of a server, or a list of 1 to {_MOST_HINTED}, is expected")
    return tuple(given)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and is_uuid(value)


def hostname(call: Call, body: Body) -> str | None:
    """The host name that a body gives. Raises: BadRequest."""
    text = body.text("hostname", least=1, most=63 if call.version < 94 else 255)
    if text is not None and not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)*", text):
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    if text is not None and call.version < 94 and "." in text:
        raise invalid("hostname", text, f"'{text}' is not a 'hostname'")
    return text
