"""Interfaces as bodies ask for them: networks, ports and addresses of a new server, and one more of a server."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from deuteron.api.call import Call
from deuteron.api.compute import bodies
from deuteron.api.compute.bodies import Body
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.interfaces import MayChoose, Request, Wanted

MAX_NETWORKS: Final = 32
"""Of one server: no guest has places on its bus for more network cards."""


def requested(call: Call, body: Body) -> Request:
    """The interfaces that a create body means. Raises: BadRequest."""
    raw = body.raw.get("networks")
    if isinstance(raw, str) and call.version >= 37:
        if raw not in ("none", "auto"):
            raise invalid("networks", raw, f"'{raw}' is not one of ['none', 'auto']")
        return () if raw == "none" else "auto"
    if raw is None:
        if call.version >= 37:
            raise invalid("server", body.raw, "'networks' is a required property")
        return "any"
    wanted: list[Wanted] = []
    for item in body.objects("networks", MAX_NETWORKS):
        item.only(["fixed_ip", "port", "uuid"] + (["tag"] if call.version >= 32 else []))
        tag = bodies.tag(item.raw["tag"]) if item.raw.get("tag") is not None else None
        if item.raw.get("port") is not None:
            if item.raw.get("fixed_ip"):
                raise BadRequest(
                    f"Specified Fixed IP '{item.raw['fixed_ip']}' cannot be used with port '{item.raw['port']}': "
                    "the two cannot be specified together.",
                    type="HTTPBadRequest",
                )
            wanted.append(Wanted(port_id=item.uuid("port"), tag=tag))
            continue
        if "uuid" not in item or item.raw["uuid"] is None:
            raise BadRequest("Bad networks format: network uuid is not in proper format (None)", type="HTTPBadRequest")
        if not isinstance(item.raw["uuid"], str) or not is_uuid(item.raw["uuid"]):
            raise invalid("uuid", item.raw["uuid"], f"'{quoted(item.raw['uuid'])}' is not a 'uuid'")
        wanted.append(Wanted(network_id=item.raw["uuid"], fixed_ip=address_of(item.raw.get("fixed_ip")), tag=tag))
    return tuple(wanted) or "any"


def address_of(raw: Any) -> str | None:
    """The address that a body gives, None when it gives none. Raises: BadRequest."""
    if raw in (None, ""):
        return None
    try:
        return str(ipaddress.ip_address(raw if isinstance(raw, str) else ""))
    except ValueError:
        raise invalid("fixed_ip", raw, f"'{raw}' is not a 'ip-address'") from None


def may_choose(call: Call) -> MayChoose:
    """The network service's policy about who chooses addresses."""

    def check(owner: str | None) -> bool:
        target = {"project_id": call.caller.project_id, "network:project_id": owner}
        return call.policy.check(call.caller, "create_port:fixed_ips:ip_address", target)

    return check
