"""A server's interfaces: which networks a request means, the ports for them, and the addresses shown.

All network rules are the network service's own functions, called in the same transaction.

Source: nova/network/neutron.py; nova/api/openstack/compute/servers.py `_get_requested_networks`.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from deuteron.api.call import Call
from deuteron.api.compute import bodies
from deuteron.api.compute.bodies import Body
from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.compute import Nic
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.placement import ZONE
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network import sight
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, networks, ports, security_groups, subnets
from deuteron.store.query import Values

OWNER = f"compute:{ZONE}"
MAX_NETWORKS = 32
"""Of one server: no guest has places on its bus for more network cards."""


@dataclass(frozen=True)
class Wanted:
    """One interface that a request asks for: a port, or a network with perhaps an address."""

    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


def requested(call: Call, tx: Tx, body: Body) -> tuple[Wanted, ...]:
    """The interfaces that a create body means, checked.

    Raises: BadRequest, Forbidden, Conflict with Nova's words.
    """
    raw = body.raw.get("networks")
    if isinstance(raw, str) and call.version >= 37:
        if raw == "none":
            return ()
        if raw != "auto":
            raise invalid("networks", raw, f"'{raw}' is not one of ['none', 'auto']")
        found = available(tx, call.caller)
        if not found:
            raise BadRequest(
                "Unable to allocate a network automatically: the project has no network. Make one, or ask for 'none'.",
                type="UnableToAutoAllocateNetwork",
            )
        return _only(found)
    if raw is None:
        if call.version >= 37:
            raise invalid("server", body.raw, "'networks' is a required property")
        return _only(available(tx, call.caller))
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
    if not wanted:
        return _only(available(tx, call.caller))
    for want in wanted:
        check(tx, call.caller, want)
    given = [want.port_id for want in wanted if want.port_id is not None]
    if len(given) != len(set(given)):
        raise BadRequest(f"Port {given[0]} is asked for twice.", type="HTTPBadRequest")
    return tuple(wanted)


def check(tx: Tx, caller: Caller, want: Wanted) -> None:
    """Whether the caller may plug a server there. Raises: BadRequest, Forbidden, Conflict."""
    if want.port_id is not None:
        port = query.row_by_id(tx, ports, want.port_id)
        if port is None or not (caller.is_admin or port["project_id"] == caller.project_id):
            raise BadRequest(f"Port id {want.port_id} could not be found.", type="PortNotFound")
        if port["device_id"]:
            raise Conflict(f"Port {want.port_id} is still in use.", type="PortInUse")
        if not port["fixed_ips"] and _has_subnet(tx, port["network_id"]):
            raise BadRequest(f"Port {want.port_id} requires a FixedIP in order to be used.", type="PortRequiresFixedIP")
        return
    assert want.network_id is not None
    try:
        network = sight.network_for(tx, caller, want.network_id)
    except NotFound:
        raise BadRequest(f"Network {want.network_id} could not be found.", type="NetworkNotFound") from None
    if network["router:external"] and not sight.may_use(tx, caller, network):
        raise Forbidden(
            f"It is not allowed to create an interface on external network {want.network_id}",
            type="ExternalNetworkAttachForbidden",
        )
    if not _has_subnet(tx, want.network_id):
        raise BadRequest(
            f"Network {want.network_id} requires a subnet in order to boot instances on.", type="NetworkRequiresSubnet"
        )


def plug(
    tx: Tx, call: Call, server_id: str, project_id: str, want: Wanted, groups: Sequence[str] | None, host: str | None
) -> Nic:
    """Make or take the port of one interface, and bind it where the server is.

    Raises: BadRequest, Forbidden, Conflict when the network service refuses; Unbound when no mechanism can bind it.
    """
    values: Values = {"device_id": server_id, "device_owner": OWNER, "binding:host_id": host or ""}
    if want.port_id is not None:
        check(tx, call.caller, want)
        row = query.row_by_id(tx, ports, want.port_id)
        assert row is not None  # `check` found it
        row = network_ports.update_port(tx, call.settings, call.caller, row, values)
    else:
        values |= {"network_id": want.network_id, "project_id": project_id}
        if groups is not None:
            values["security_groups"] = list(groups)
        if want.fixed_ip is not None:
            _refuse_foreign_choice(tx, call, want)
            values["fixed_ips"] = [{"ip_address": want.fixed_ip}]
        try:
            row = network_ports.create_port(tx, call.settings, call.caller, values)
        except ApiError as error:
            raise _refusal(error, want) from None
    if row["binding:vif_type"] == "binding_failed":
        raise Unbound(row["id"], row["binding_refusal"] or "")
    return Nic(row["id"], owned=want.port_id is None, tag=want.tag)


def _refuse_foreign_choice(tx: Tx, call: Call, want: Wanted) -> None:
    """Choosing an address is for the network's owner, through Nova as through Neutron. Raises: Forbidden."""
    assert want.network_id is not None  # an address is chosen on a network
    owner = tx.scalar(select(networks.c["project_id"]).where(networks.c["id"] == want.network_id))
    target = {"project_id": call.caller.project_id, "network:project_id": owner}
    rule = "create_port:fixed_ips:ip_address"
    if not call.policy.check(call.caller, rule, target):
        raise Forbidden(
            f"rule:{rule} is disallowed by policy: network {want.network_id} is another project's, which alone chooses "
            "addresses on it",
            type="Forbidden",
        )


class Unbound(Exception):
    """No mechanism can bind the port on the host."""

    def __init__(self, port_id: str, reason: str) -> None:
        super().__init__(f"Binding failed for port {port_id}: {reason}")
        self.port_id = port_id


def groups_for(tx: Tx, caller: Caller, project_id: str, names: Sequence[str]) -> list[str]:
    """Ids of the project's security groups by name or id. Raises: BadRequest."""
    result: list[str] = []
    for name in names:
        rows = query.rows(
            tx,
            security_groups,
            security_groups.c["project_id"] == project_id,
            or_(security_groups.c["name"] == name, security_groups.c["id"] == name),
        )
        exact = [row for row in rows if row["id"] == name] or rows
        if not exact:
            raise BadRequest(
                f"Security group {name} not found for project {project_id}.", type="SecurityGroupNotFoundForProject"
            )
        if len(exact) > 1:
            raise Conflict(
                f"Multiple security groups found matching '{name}'. Use an ID to be more specific.",
                type="NoUniqueMatch",
            )
        if exact[0]["id"] not in result:
            result.append(exact[0]["id"])
    return result


@dataclass
class Plugged:
    """What is plugged into servers, for answers about many of them at once."""

    ports: dict[str, list[Values]]
    """By server, in the order of its interfaces."""
    network_names: dict[str, str]
    floating: dict[str, list[tuple[str, str]]]
    """By port: fixed and floating address."""
    group_names: dict[str, str]

    def addresses(self, server_id: str) -> dict[str, list[dict[str, Any]]]:
        result: dict[str, list[dict[str, Any]]] = {}
        for port in self.ports.get(server_id, ()):
            listed = result.setdefault(self.network_names.get(port["network_id"], ""), [])
            for item in port["fixed_ips"]:
                listed.append(_shown(item["ip_address"], "fixed", port["mac_address"]))
                for fixed, floating in self.floating.get(port["id"], ()):
                    if fixed == item["ip_address"]:
                        listed.append(_shown(floating, "floating", port["mac_address"]))
        return result

    def groups(self, server_id: str) -> list[str]:
        """Names of the security groups of its ports, as often as ports have them."""
        names: dict[str, None] = {}
        for port in self.ports.get(server_id, ()):
            for group in port["security_groups"] or ():
                names[self.group_names.get(group, group)] = None
        return list(names)


_SHOWN = ("id", "network_id", "mac_address", "fixed_ips", "security_groups", "device_id", "status")


def plugged(tx: Tx, server_nics: dict[str, list[Nic]]) -> Plugged:
    """What is plugged into the servers, with four queries however many there are."""
    found: dict[str, Values] = {}
    columns = [ports.c[name] for name in _SHOWN]
    for chunk in _chunks(server_nics):
        for row in tx.all(select(*columns).where(ports.c["device_id"].in_(chunk))):
            found[row[0]] = dict(zip(_SHOWN, row, strict=True))
    by_server: dict[str, list[Values]] = {}
    for server_id, nics in server_nics.items():
        rows = [found[nic.port_id] for nic in nics if nic.port_id in found]
        by_server[server_id] = [row for row in rows if row["device_id"] == server_id]
    names: dict[str, str] = {}
    for chunk in _chunks({row["network_id"] for row in found.values()}):
        names |= {
            row[0]: row[1]
            for row in tx.all(select(networks.c["id"], networks.c["name"]).where(networks.c["id"].in_(chunk)))
        }
    floating: dict[str, list[tuple[str, str]]] = defaultdict(list)
    statement = select(
        floatingips.c["port_id"], floatingips.c["fixed_ip_address"], floatingips.c["floating_ip_address"]
    )
    for chunk in _chunks(found):
        for port_id, fixed, address in tx.all(statement.where(floatingips.c["port_id"].in_(chunk))):
            floating[port_id].append((fixed, address))
    group_names: dict[str, str] = {}
    groups = select(security_groups.c["id"], security_groups.c["name"])
    for chunk in _chunks({group for row in found.values() for group in row["security_groups"] or ()}):
        group_names |= {row[0]: row[1] for row in tx.all(groups.where(security_groups.c["id"].in_(chunk)))}
    return Plugged(by_server, names, floating, group_names)


def _shown(address: str, kind: str, mac: str) -> dict[str, Any]:
    return {
        "version": 6 if ":" in address else 4,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def available(tx: Tx, caller: Caller) -> list[str]:
    """Networks that a server of the caller's project may be plugged into without being named."""
    own = networks.c["project_id"] == caller.project_id
    rows = tx.scalars(
        select(networks.c["id"])
        .where(
            own | networks.c["shared"] | networks.c["id"].in_(sight.shared_with(caller)), ~networks.c["router:external"]
        )
        .order_by(networks.c["id"])
    )
    return [network_id for network_id in rows if _has_subnet(tx, network_id)]


def _only(found: Sequence[str]) -> tuple[Wanted, ...]:
    if len(found) > 1:
        raise Conflict(
            "Multiple possible networks found, use a Network ID to be more specific.", type="NetworkAmbiguous"
        )
    return tuple(Wanted(network_id=network_id) for network_id in found)


def _has_subnet(tx: Tx, network_id: str) -> bool:
    return tx.first(select(subnets.c["id"]).where(subnets.c["network_id"] == network_id).limit(1)) is not None


def address_of(raw: Any) -> str | None:
    """The address that a body gives, None when it gives none. Raises: BadRequest."""
    if raw in (None, ""):
        return None
    try:
        return str(ipaddress.ip_address(raw if isinstance(raw, str) else ""))
    except ValueError:
        raise invalid("fixed_ip", raw, f"'{raw}' is not a 'ip-address'") from None


def _refusal(error: ApiError, want: Wanted) -> ApiError:
    """The network service's refusal in the words of Nova, where it has words of its own."""
    if error.type == "IpAddressAlreadyAllocated":
        return BadRequest(
            f"Fixed IP address {want.fixed_ip} is already in use on instance.", type="FixedIpAlreadyInUse"
        )
    if error.type in ("InvalidIpForNetwork", "InvalidIpForSubnet"):
        return BadRequest(
            f"Fixed IP {want.fixed_ip} is not a valid ip address for network {want.network_id}.", type="InvalidInput"
        )
    if error.type == "OverQuota":
        return Forbidden("Maximum number of ports exceeded", type="PortLimitExceeded")
    if error.type.startswith("IpAddressGenerationFailure"):
        return BadRequest(f"No more IP addresses available on network {want.network_id}.", type="NoMoreFixedIps")
    return error


def _chunks(ids: Collection[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[start : start + 500] for start in range(0, len(ordered), 500)]
